"""Tables in CSV, read line by line: a file of any size takes little memory."""

import codecs
import csv
from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TextIO

from campaign_sync.config.crm_files import FileFormat
from campaign_sync.crm.files.table_file import CHUNK_ROWS, Row, TableFile
from campaign_sync.crm.port import CrmError
from campaign_sync.delivered_files import csv_decoder  # noqa: F401 - it raises the csv module's limit of values
from campaign_sync.domain.text import normalize_text

LONGEST_RECORD = 8 * 1024**2
"""In characters. A longer one means a quote that nothing closes, or another line end or encoding than declared."""

_CODECS = {"utf-8": "utf-8-sig", "utf-8-sig": "utf-8-sig", "cp1252": "cp1252", "utf-16": "utf-16"}

_MARKS = {
    codecs.BOM_UTF8: frozenset({"utf-8", "utf-8-sig"}),
    codecs.BOM_UTF16_LE: frozenset({"utf-16"}),
    codecs.BOM_UTF16_BE: frozenset({"utf-16"}),
}
"""The encodings of a file that begins with a byte order mark."""

_ENDS_IN_QUOTES = "unexpected end of data"
"""The text of the csv module's error for a file that ends within quotes."""


class CsvTable(TableFile):
    """A table in CSV with a header line.

    Args:
        path: the file on this machine.
        name: its name, for messages.
        file_format: its format.

    Raises:
        CrmError: it is empty, or its encoding isn't the declared one.
    """

    def __init__(self, path: Path, name: str, file_format: FileFormat) -> None:
        self._path, self._name, self._format = path, name, file_format
        self._check_encoding()
        header, _ = next(self._records(), ([], 0))
        if not header:
            raise CrmError(f"{name} is empty; its first line must have the names of its columns")
        self.columns = tuple(normalize_text(_without_stray_bytes(column)) for column in header)

    def chunks(self, keys: Collection[int]) -> Iterator[Sequence[Row]]:
        """See `TableFile`."""
        chunk: list[Row] = []
        for record, line in islice(self._records(), 1, None):
            chunk.append(self._row(record, keys, line))
            if len(chunk) == CHUNK_ROWS:
                yield chunk
                chunk = []
        yield chunk

    def _row(self, record: list[str], keys: Collection[int], line: int) -> Row:
        if len(record) != len(self.columns):
            raise CrmError(
                f"{self._name} has {len(record)} values in line {line}, and {len(self.columns)} columns; it is cut "
                "off, or values with delimiters or line ends aren't quoted as crm.format says"
            )
        if "".join(record).isascii():
            return [value or None for value in record]
        row = [_value(value) for value in record]
        if any(isinstance(row[key], bytes) for key in keys):
            raise CrmError(
                f"{self._name} has a key in line {line} that isn't {self._format.encoding}; correct the export, or "
                "crm.format.encoding"
            )
        return row

    def _check_encoding(self) -> None:
        with self._path.open("rb") as stream:
            start = stream.read(4)
        encodings = next((known for mark, known in _MARKS.items() if start.startswith(mark)), None)
        if encodings and self._format.encoding not in encodings:
            raise CrmError(
                f"{self._name} begins with the byte order mark of {min(encodings)}; set crm.format.encoding to that"
            )
        if self._format.encoding == "utf-16" and not encodings:
            raise CrmError(f"{self._name} has no byte order mark, as UTF-16 needs it; correct the export")

    def _records(self) -> Iterator[tuple[list[str], int]]:
        """Yield all records that aren't empty lines, each with the line in which it ends."""
        with self._path.open(encoding=_CODECS[self._format.encoding], errors=self._on_error, newline="") as stream:
            lines = _Lines(stream, self._name)
            reader = csv.reader(
                lines,
                delimiter=self._format.delimiter,
                quotechar=self._format.quote or '"',
                quoting=csv.QUOTE_MINIMAL if self._format.quote else csv.QUOTE_NONE,
                strict=True,
            )
            while True:
                lines.record = 0
                try:
                    record = next(reader)
                except StopIteration:
                    return
                except UnicodeError:
                    problem = f"isn't {self._format.encoding} after line {reader.line_num}, or is cut off there"
                except csv.Error as error:
                    ends = _ENDS_IN_QUOTES in str(error)
                    problem = (
                        f"ends within quotes in line {reader.line_num}: it is cut off, or a quote isn't closed"
                        if ends
                        else f"isn't CSV as crm.format says in line {reader.line_num}: crm.format has another "
                        "delimiter or quote, or a quote within a value isn't doubled"
                    )
                else:
                    if record:
                        yield record, reader.line_num
                    continue
                raise CrmError(f"{self._name} {problem}; correct the export, and have the CRM deliver again")

    @property
    def _on_error(self) -> str:
        """How bytes are decoded that the encoding doesn't have: marked, so that they affect only their row."""
        return "strict" if self._format.encoding == "utf-16" else "surrogateescape"


class _Lines:
    """The lines of a file; refuses a record that is too long to be one, before memory is full of it."""

    def __init__(self, stream: TextIO, name: str) -> None:
        self._stream, self._name = stream, name
        self._line = 0
        self.record = 0
        """How many characters the present record has so far."""

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self._stream.readline(LONGEST_RECORD)
        if not line:
            raise StopIteration
        self._line += 1
        self.record += len(line)
        if self.record >= LONGEST_RECORD:
            raise CrmError(
                f"{self._name} has a record of more than {LONGEST_RECORD} characters up to line {self._line}; a quote "
                "isn't closed, or crm.format is wrong"
            )
        return line


def _value(text: str) -> str | bytes | None:
    """Return a value as text, as bytes where it isn't valid, or None if it is empty."""
    if not text:
        return None
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode(errors="surrogateescape")
    return text


def _without_stray_bytes(text: str) -> str:
    return text.encode(errors="surrogateescape").decode(errors="replace")
