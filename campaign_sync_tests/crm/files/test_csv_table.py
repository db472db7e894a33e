"""CSV as exports write it, in every declared form; what is cut off or declared wrongly is refused, without values."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from campaign_sync.config.crm_files import FileFormat
from campaign_sync.crm.files import csv_table
from campaign_sync.crm.files.csv_table import CsvTable
from campaign_sync.crm.files.table_file import CHUNK_ROWS
from campaign_sync.crm.port import CrmError

SECRET = "anna.geheim@example.org"


def table(folder: Path, content: bytes, **form: Any) -> CsvTable:
    (folder / "contact.csv").write_bytes(content)
    return CsvTable(folder / "contact.csv", "contact.csv", FileFormat.model_validate(form))


def rows(folder: Path, content: bytes, keys: Sequence[int] = (), **form: Any) -> list[list[object]]:
    return [list(row) for chunk in table(folder, content, **form).chunks(keys) for row in chunk]


def refused(folder: Path, content: bytes, **form: Any) -> str:
    with pytest.raises(CrmError) as error:
        rows(folder, content, (0,), **form)
    seen: BaseException | None = error.value
    while seen is not None:
        assert SECRET not in str(seen)
        seen = None if seen.__suppress_context__ else seen.__context__
    return str(error.value)


VALUES = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.lists(VALUES, min_size=2, max_size=2), max_size=20),
    st.sampled_from([";", ",", "\t", "|"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    st.sampled_from(['"', "'"]),
    st.sampled_from(["\r\n", "\n"]),
)
def test_every_text_that_is_quoted_as_declared_is_read_as_it_was(
    tmp_path: Path, values: list[list[str]], delimiter: str, encoding: str, quote: str, line_end: str
) -> None:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, quotechar=quote, quoting=csv.QUOTE_ALL, lineterminator=line_end)
    writer.writerows([["id", "email"], *values])
    content = text.getvalue().encode(encoding)
    assert rows(tmp_path, content, delimiter=delimiter, encoding=encoding, quote=quote) == [
        [value or None for value in row] for row in values
    ]


@pytest.mark.parametrize(
    ("content", "form"),
    [
        ("\ufeffid;email\r\nK1;Müller €\r\n".encode(), {"delimiter": ";"}),
        ("id;email\nK1;Müller €\n".encode("cp1252"), {"delimiter": ";", "encoding": "cp1252"}),
        ("id|email\nK1|Müller €".encode("utf-16"), {"delimiter": "|", "encoding": "utf-16"}),
        (
            b"\xfe\xff" + "id\temail\r\nK1\tMüller €\r\n".encode("utf-16-be"),
            {"delimiter": "\t", "encoding": "utf-16", "quote": None},
        ),
        ("id,email\r\n\r\nK1,Müller €\r\n\r\n".encode(), {}),
        (" id , email \nK1,Müller €\n".encode(), {}),
    ],
)
def test_the_forms_of_exports_are_read(tmp_path: Path, content: bytes, form: dict[str, Any]) -> None:
    read = table(tmp_path, content, **form)
    assert read.columns == ("id", "email")
    assert list(read.chunks(())) == [[["K1", "Müller €"]]]


def test_quotes_mean_nothing_where_values_are_never_quoted(tmp_path: Path) -> None:
    content = b'id;email\nK1;Ben "der Schnelle"\nK2;"\n'
    assert rows(tmp_path, content, delimiter=";", quote=None) == [["K1", 'Ben "der Schnelle"'], ["K2", '"']]


def test_nul_and_line_ends_within_quotes_stay_in_a_value(tmp_path: Path) -> None:
    assert rows(tmp_path, b'id,email\r\nK1,"a\x00b\r\nc\rd\ne"\r\n') == [["K1", "a\x00b\r\nc\rd\ne"]]


@pytest.mark.parametrize(("encoding", "bad"), [("utf-8", b"M\xfcller"), ("cp1252", b"M\x81ller")])
def test_a_value_that_cant_be_decoded_affects_only_itself(tmp_path: Path, encoding: str, bad: bytes) -> None:
    content = b"id,email,first_name\nK1,a@example.org," + bad + b"\nK2,b@example.org,Ben\n"
    first, second = rows(tmp_path, content, (0, 1), encoding=encoding)
    assert first == ["K1", "a@example.org", bad]
    assert second == ["K2", "b@example.org", "Ben"]


def test_a_key_that_cant_be_decoded_is_refused_with_its_line(tmp_path: Path) -> None:
    content = b"id,email\nK1," + SECRET.encode() + b"\nK\xfc,b@example.org\n"
    assert "contact.csv has a key in line 3 that isn't utf-8" in refused(tmp_path, content)


@pytest.mark.parametrize(
    ("content", "form", "says"),
    [
        (b"", {}, "contact.csv is empty"),
        (b"\r\n\r\n", {}, "contact.csv is empty"),
        (b"\xef\xbb\xbf", {}, "contact.csv is empty"),
        (b'id,email\nK1,"anna.geheim@example.org\nK2,x\n', {}, "ends within quotes in line 3: it is cut off"),
        (b"id,email\nK1,x\nK2\n", {}, "has 1 values in line 3, and 2 columns; it is cut off"),
        (b"id,email\nK1,anna.geheim@example.org,x\n", {}, "has 3 values in line 2, and 2 columns"),
        (b'id,email\nK1,"anna.geheim@example.org"x"\n', {}, "isn't CSV as crm.format says in line 2"),
        (b'"id";"email"\n"K1";"anna.geheim@example.org"\n', {}, "line 1: crm.format has another delimiter or quote"),
        (b"id;email\nK1;x\n", {"encoding": "utf-16"}, "has no byte order mark, as UTF-16 needs it"),
        ("id\n".encode("utf-16"), {}, "begins with the byte order mark of utf-16; set crm.format.encoding"),
        (b"\xef\xbb\xbfid,email\n", {"encoding": "cp1252"}, "begins with the byte order mark of utf-8"),
        ("id,email\nK1,x\n".encode("utf-16")[:-1], {"encoding": "utf-16"}, "isn't utf-16 after line 1, or is cut off"),
    ],
)
def test_a_file_that_isnt_as_declared_is_refused_without_its_values(
    tmp_path: Path, content: bytes, form: dict[str, Any], says: str
) -> None:
    assert says in refused(tmp_path, content, **form)


def test_a_quote_that_is_never_closed_is_refused_before_memory_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_table, "LONGEST_RECORD", 1_000)
    content = b'id,email\nK1,"' + b"x\n" * 10_000
    assert "has a record of more than 1000 characters up to line 499" in refused(tmp_path, content)
    assert "more than 1000 characters up to line 2" in refused(tmp_path, b"id,email\n" + b"x" * 5_000)
    assert len(rows(tmp_path, b"id,email\n" + b"x,y\n" * 10_000)) == 10_000


@pytest.mark.parametrize("count", [0, 1, CHUNK_ROWS - 1, CHUNK_ROWS, CHUNK_ROWS + 1, 2 * CHUNK_ROWS])
def test_rows_come_in_chunks_and_all_of_them(tmp_path: Path, count: int) -> None:
    content = b"id,email\n" + b"".join(b"%d,x\n" % number for number in range(count))
    chunks = list(table(tmp_path, content).chunks(()))
    assert [row[0] for chunk in chunks for row in chunk] == [str(number) for number in range(count)]
    assert max(map(len, chunks)) <= CHUNK_ROWS


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200), st.sampled_from(["utf-8", "cp1252", "utf-16"]))
def test_any_bytes_are_read_or_refused_by_a_sentence(tmp_path: Path, content: bytes, encoding: str) -> None:
    try:
        read = rows(tmp_path, content, (0,), encoding=encoding)
    except CrmError:
        return
    assert all(value != "" for row in read for value in row)
