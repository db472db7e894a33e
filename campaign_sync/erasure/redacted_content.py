"""The content of files without erased people: frames, rows as the vendor sent them, and files that can't be read."""

import io
import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from campaign_sync.delivered_files.raw_text import hide_people
from campaign_sync.domain.address import POSSIBLE_ADDRESS
from campaign_sync.domain.entity import EntityType
from campaign_sync.domain.erasure import Erasure
from campaign_sync.erasure.subjects import ErasedSubjects
from campaign_sync.storage.csv_rows import CsvRows, csv_rows
from campaign_sync.storage.files import FileStorageError, salted

REDACTIONS = b"campaign_sync.redactions"
"""The key of a frame's metadata that says which file it replaces, after which erasures."""


class UnsearchableError(FileStorageError):
    """A file may have erased people in what can't be unpacked of it."""


class Note(TypedDict):
    """What a file says of the one that it replaces, so that an older state database, restored, finds it."""

    file: str
    digest: str
    redacted_at: str
    erasures: Sequence[tuple[str, int, int]]
    """Id, rows, and rows that were in the list, of each erasure."""


_LETTERS = re.compile(r"[^\W\d_]+")

_TECHNICAL = frozenset({"t", "z", "utc", "gmt", "am", "pm", "hard", "soft", "true", "false", *EntityType})
"""Words of cells that stay: in times, of kinds and types."""


@dataclass(frozen=True)
class RedactedContent:
    """What a file holds without erased people."""

    matches: Sequence[tuple[int, Erasure]]
    """The positions of the rows that were about erased people, each with the erasure."""
    write: Callable[[Note | None], bytes]
    """Returns the content. A frame says in its metadata which file it replaces, if a note says so."""

    @property
    def content(self) -> bytes:
        """The content without a note."""
        return self.write(None)

    @property
    def rows(self) -> Counter[Erasure]:
        """How many rows each erasure concerned."""
        return Counter(erasure for _, erasure in self.matches)


def redact_frame(content: bytes, subjects: ErasedSubjects) -> RedactedContent | None:
    """Return a Parquet file without the rows of erased people; None if it has none.

    Raises:
        ValueError: it isn't Parquet.
    """
    file = pq.ParquetFile(io.BytesIO(content))
    matches = list(subjects.in_rows(file.read(columns=subjects.columns(file.schema_arrow.names))))
    if not matches:
        return None
    stays = np.ones(file.metadata.num_rows, dtype=bool)
    stays[[position for position, _ in matches]] = False

    def write(note: Note | None) -> bytes:
        kept = salted(file.read().filter(pa.array(stays)))
        if note:
            notes = json.dumps([*redaction_notes(content), note])
            kept = kept.replace_schema_metadata({**(kept.schema.metadata or {}), REDACTIONS: notes})
        output = io.BytesIO()
        pq.write_table(kept, output)
        return output.getvalue()

    return RedactedContent(matches, write)


def replace_subjects(content: bytes, subjects: ErasedSubjects) -> RedactedContent | None:
    """Return a stored suppression frame with hashes for erased people; None if it names none of them."""
    table = pq.read_table(io.BytesIO(content))
    matches = list(subjects.in_rows(table))
    if not matches:
        return None
    hidden = subjects.erased.hide(table.to_pandas())
    output = io.BytesIO()
    hidden.to_parquet(output, index=False)
    return RedactedContent(matches, lambda _: output.getvalue())


def redaction_notes(content: bytes) -> list[Note]:
    """Return which files a frame has replaced, oldest first."""
    metadata = pq.read_schema(io.BytesIO(content)).metadata or {}
    notes: list[Note] = json.loads(metadata.get(REDACTIONS, b"[]"))
    return notes


def redact_csv(content: bytes, subjects: ErasedSubjects, kept_words: Collection[str]) -> RedactedContent | None:
    """Return rows of the vendor's with those of erased people blanked; None if there are none.

    Such a row stays, for it is evidence: with its times and numbers, and a hash instead of the address.

    Args:
        content: CSV in UTF-8 with our header.
        subjects: who was erased.
        kept_words: texts that name no person, such as opt-ins.
    """
    rows, matches, kept = list(csv_rows(content)), [], frozenset(kept_words)
    for position, row in enumerate(rows):
        erasure = _erasure_of(row, subjects)
        if erasure:
            rows[position] = [_blanked(cell, subjects, kept) for cell in row]
            matches.append((position, erasure))
    return RedactedContent(matches, lambda _: b"".join(CsvRows(rows).pieces)) if matches else None


def _erasure_of(row: Sequence[str], subjects: ErasedSubjects) -> Erasure | None:
    for cell in row:
        if "@" in cell and (erasure := _first_erased(cell, subjects)):
            return erasure
    for kind in {cell.strip().lower() for cell in row if len(cell) < 16} & set(EntityType):
        for cell in row:
            if cell and (erasure := subjects.of_record(kind, cell.strip())):
                return erasure
    return None


def _first_erased(text: str, subjects: ErasedSubjects) -> Erasure | None:
    candidates = (text.strip(), *(match.group() for match in POSSIBLE_ADDRESS.finditer(text)))
    return next(filter(None, map(subjects.of_address, candidates)), None)


def _blanked(cell: str, subjects: ErasedSubjects, kept: Collection[str]) -> str:
    text = cell.strip()
    if "@" in text and (token := subjects.token_of_address(text)):
        return token
    if text in kept:
        return cell
    words = {word.lower() for word in _LETTERS.findall(text)}
    return "" if words - _TECHNICAL or subjects.of_id(text) else cell


def redact_raw(content: bytes, subjects: ErasedSubjects) -> RedactedContent | None:
    """Return a file that can't be read with its lines about erased people blanked; None if it has none.

    Raises:
        UnsearchableError: none was found, and not all of it can be searched.
    """
    hidden = hide_people(content, subjects.erased)
    if not hidden.is_searched:
        raise UnsearchableError("not all of the file can be searched")
    matches = [(line, subjects.of_token(token)) for line, token in hidden.tokens]
    return RedactedContent(matches, lambda _: hidden.content) if matches else None


@contextmanager
def readable(name: str) -> Iterator[None]:
    """Turn the error of a file that isn't what its name says into one sentence."""
    try:
        yield
    except (ValueError, OSError):
        raise FileStorageError(f"{name} in storage.frames can't be read; restore it, or remove it") from None
