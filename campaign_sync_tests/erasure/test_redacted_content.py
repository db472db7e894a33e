"""The content of files without erased people."""

import gzip
import io
import zlib
from datetime import UTC, datetime, timedelta

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from campaign_sync.delivered_files.csv_decoder import GZIP_MAGIC
from campaign_sync.delivered_files.raw_text import is_searchable, texts, without_damage
from campaign_sync.domain.entity import Entity, EntityType
from campaign_sync.domain.erasure import Erasure, ErasureKey
from campaign_sync.erasure.redacted_content import (
    Note,
    UnsearchableError,
    readable,
    redact_csv,
    redact_frame,
    redact_raw,
    redaction_notes,
    replace_subjects,
)
from campaign_sync.erasure.subjects import ErasedSubjects
from campaign_sync.inquiry.person_data import SearchedPerson, mentions
from campaign_sync.storage.csv_rows import CsvRows, csv_rows
from campaign_sync.storage.files import FileStorageError

KEY = ErasureKey("k" * 32)
NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
GONE = "quentin.zyxwutz@bücher.example"
ERASURE = Erasure("e1", NOW, "officer@host", "request 7", KEY.probe, KEY.subjects([GONE], ["contact:4711"]))
SUBJECTS = ErasedSubjects(KEY, [ERASURE])
OTHER = Erasure("e2", NOW, "officer@host", "request 8", KEY.probe, KEY.subjects(["anna@example.org"], ["lead:4712"]))
OTHERS = ErasedSubjects(KEY, [OTHER])
STORED = "quentin.zyxwutz@xn--bcher-kva.example"


def parquet(**columns: object) -> bytes:
    output = io.BytesIO()
    pd.DataFrame(columns).to_parquet(output, index=False)
    return output.getvalue()


def csv_text(*rows: list[str]) -> bytes:
    return b"".join(CsvRows(rows).pieces)


def test_rows_of_erased_people_leave_a_snapshot_unless_their_consent_is_newer() -> None:
    content = parquet(
        recipient_id=[STORED, "anna@example.org", "new@example.org", STORED],
        entity_type=["contact", "contact", "contact", "lead"],
        entity_id=["1", "4712", "4711", "9"],
        consent_at=pd.to_datetime([NOW - timedelta(days=1), NOW, NOW, NOW + timedelta(days=1)], utc=True),
        **{"list:Name": ["Zyxwutz", "Anna", "Zyxwutz", "Z."]},
    )
    redacted = redact_frame(content, SUBJECTS)

    assert redacted is not None
    assert redacted.matches == [(0, ERASURE), (2, ERASURE)]
    left = pd.read_parquet(io.BytesIO(redacted.content))
    assert left["entity_id"].tolist() == ["4712", "9"]
    assert left.dtypes.tolist() == pd.read_parquet(io.BytesIO(content)).dtypes.tolist()
    assert b"Zyxwutz" not in redacted.content
    assert redact_frame(redacted.content, SUBJECTS) is None


def test_a_frame_says_which_files_it_replaced() -> None:
    first: Note = {"file": "first", "digest": "1", "redacted_at": NOW.isoformat(), "erasures": [("e1", 2, 1)]}
    second: Note = {**first, "file": "second", "digest": "2"}
    frame = parquet(recipient_id=[STORED, "anna@example.org"], a=["y", "x"])
    redacted = redact_frame(frame, SUBJECTS)
    assert redacted is not None
    again = redact_frame(redacted.write(first), OTHERS)
    assert again is not None
    twice = again.write(second)
    assert [(note["file"], note["digest"]) for note in redaction_notes(twice)] == [("first", "1"), ("second", "2")]
    assert (pq.read_table(io.BytesIO(twice)).num_rows, redaction_notes(frame)) == (0, [])


TEXTS = st.none() | st.sampled_from([STORED, "anna@example.org", "", "ben@example.org"])
IDS = st.none() | st.sampled_from(["4711", "4712", "47:11", ""])


@given(st.lists(st.lists(st.tuples(TEXTS, st.sampled_from(["contact", "lead", None]), IDS), max_size=4), max_size=4))
def test_rows_are_found_in_every_file_of_many_as_in_each_alone(
    files: list[list[tuple[str | None, str | None, str | None]]],
) -> None:
    subjects = ErasedSubjects(KEY, [ERASURE, OTHER])
    for rows in files:
        columns = zip(*rows, strict=True) if rows else ([], [], [])
        names = ("recipient_id", "entity_type", "entity_id")
        table = pa.table(
            {name: pa.array(list(column), pa.string()) for name, column in zip(names, columns, strict=True)}
        )
        expected = [
            (position, erasure)
            for position, (address, kind, entity_id) in enumerate(rows)
            if (
                erasure := OTHER
                if (kind, entity_id) == ("lead", "4712")
                else ERASURE
                if address == STORED or (kind, entity_id) == ("contact", "4711")
                else OTHER
                if address == "anna@example.org"
                else None
            )
        ]
        assert list(subjects.in_rows(table)) == expected


def test_a_suppression_frame_keeps_its_rows_with_hashes() -> None:
    content = parquet(
        kind=["bounce", "unsubscribe"],
        address=[STORED, "anna@example.org"],
        entity_type=[None, "contact"],
        entity_id=[None, "4712"],
        opt_in_id=[None, None],
        since=pd.to_datetime([NOW, NOW], utc=True),
        source=["x", "y"],
    )
    redacted = replace_subjects(content, SUBJECTS)

    assert redacted is not None
    left = pd.read_parquet(io.BytesIO(redacted.content))
    assert left["address"].tolist() == [SUBJECTS.token_of_address(STORED), "anna@example.org"]
    assert b"zyxwutz" not in redacted.content


def test_a_row_as_received_keeps_its_times_and_numbers() -> None:
    rows = [
        ["recipient", "time", "mailing"],
        [GONE.upper(), "1764201600000", "300123", "Zyxwutz", "hard", "newsletter-nord"],
        ["anna@example.org", "2026-11-27T04:00:00Z", "4711", "Anna"],
        ["", "2026-11-27", "5", f"550 <{GONE}> unknown"],
        ["", "2026-11-27", "5", "Contact", "4711"],
        ["", "2026-11-27", "5", "lead", "4711"],
    ]
    redacted = redact_csv(csv_text(*rows), SUBJECTS, {"newsletter-nord"})

    assert redacted is not None
    token = SUBJECTS.token_of_address(GONE)
    assert list(csv_rows(redacted.content)) == [
        rows[0],
        [token, "1764201600000", "300123", "", "hard", "newsletter-nord"],
        rows[2],
        ["", "2026-11-27", "5", ""],
        ["", "2026-11-27", "5", "Contact", ""],
        rows[5],
    ]
    assert redact_csv(redacted.content, SUBJECTS, ()) is None


ENCODINGS = ("utf-8", "latin-1", "cp850", "mac-roman", "utf-16", "utf-16-be", "utf-32", "utf-32-be")


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("lost_bytes", [None, 0, 5, 8], ids=["plain", "packed", "cut off", "without its trailer"])
def test_a_file_that_cant_be_read_keeps_the_lines_of_others(encoding: str, lost_bytes: int | None) -> None:
    line = f"{GONE};Zyxwutz;4711;2026-11-27;bo@example.org\r\n"
    of_record = "contact;4711;Zyxwutz\r\n"
    others = "anna@example.org;Anna;4711;2026-11-27\r\n"
    text = others + line + others + of_record
    content = text.encode(encoding)
    if lost_bytes is not None:
        content = gzip.compress(content)
        content = content[: len(content) - lost_bytes]
    redacted = redact_raw(content, SUBJECTS)

    assert redacted is not None
    assert sorted(line for line, _ in redacted.matches) == [1, 3]
    plain = redacted.content
    if lost_bytes:
        with pytest.raises(EOFError):
            gzip.decompress(plain)
        plain = zlib.decompressobj(wbits=31).decompress(plain)
    elif lost_bytes == 0:
        plain = gzip.decompress(plain)
    token = SUBJECTS.token_of_address(GONE)
    assert plain.decode(encoding) == (
        f"{others}{token};xxxxxxx;xxxx;2026-11-27;bo@example.org\r\n{others}xxxxxxx;xxxx;xxxxxxx\r\n"
    )
    assert redact_raw(redacted.content, SUBJECTS) is None

    asked = SearchedPerson(frozenset([STORED]), frozenset(), by_address=True)
    assert mentions(content, asked)
    assert not mentions(redacted.content, asked)
    by_record = SearchedPerson(frozenset(), frozenset([Entity(EntityType.CONTACT, "4711")]), by_address=False)
    assert mentions(content, by_record)
    assert not mentions(redacted.content, by_record)


@pytest.mark.parametrize("damage", [b"\xff", b"\0", b""], ids=["other bytes", "zeros", "cut off"])
@pytest.mark.parametrize("named", [False, True])
def test_a_damaged_packed_file_never_counts_as_searched(named: bool, damage: bytes) -> None:
    others = "".join(f"anna{number}@example.org;{number**3}\r\n" for number in range(500))
    content = bytearray(gzip.compress(((f"{GONE}\r\n" if named else "") + others + GONE).encode()))
    content[len(content) // 2 :] = damage * (len(content) // 2)
    damaged = bytes(content)
    assert not is_searchable(damaged)
    if named:  # the person is known to be in it: what can't be unpacked goes as well
        redacted = redact_raw(damaged, SUBJECTS)
        assert redacted is not None
        assert is_searchable(redacted.content)
        assert redact_raw(redacted.content, SUBJECTS) is None
    else:
        with pytest.raises(UnsearchableError):
            redact_raw(damaged, SUBJECTS)
    rest = without_damage(damaged)
    assert is_searchable(rest)
    assert next(texts(rest)) == next(texts(damaged))
    with pytest.raises(EOFError):
        gzip.decompress(rest)


@given(st.binary(max_size=200))
@example(GZIP_MAGIC)
def test_any_bytes_without_erased_people_stay_as_they_are(content: bytes) -> None:
    if content.startswith(GZIP_MAGIC):  # what follows was not packed, so it cannot be searched
        with pytest.raises(UnsearchableError):
            redact_raw(content, SUBJECTS)
    else:
        assert redact_raw(content, SUBJECTS) is None
    assert redact_raw(gzip.compress(content), SUBJECTS) is None


@given(st.lists(st.lists(st.text(max_size=12), min_size=1, max_size=4), max_size=5))
def test_rows_without_erased_people_stay_as_they_are(rows: list[list[str]]) -> None:
    assert redact_csv(csv_text(*rows), SUBJECTS, ()) is None


def test_a_file_that_isnt_what_its_name_says_is_an_error_of_one_sentence() -> None:
    sentence = "x.parquet in storage.frames can't be read; restore it, or remove it"
    with pytest.raises(FileStorageError, match=sentence), readable("x.parquet"):
        redact_frame(b"no Parquet", SUBJECTS)
