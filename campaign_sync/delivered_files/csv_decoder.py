"""Decoder for delivered files: CSV in UTF-8, plain or gzipped."""

import codecs
import csv
import gzip
import io
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from campaign_sync.delivered_files.errors import FileSourceError, UnreachableFilesError
from campaign_sync.delivered_files.file_source import MAX_BYTES

SEPARATORS = (";", ",", "\t", "|")
"""The separators that are tried if none is configured."""

_REPLACEMENT = "\ufffd"
_MARKED_LINE = re.compile("^\ufeff+", re.MULTILINE)

_SAMPLE_ROWS = 100
_PIECE_BYTES = 1024**2
GZIP_MAGIC = b"\x1f\x8b"
"""How a packed file begins."""
_CUT_OFF = "unexpected end of data"
"""The text of the csv module's error for a file that ends within quotes."""

csv.field_size_limit(2**31 - 1)  # a file is as large as `MAX_BYTES` allows, in however few lines


def decode_csv(content: bytes, separator: str | None, *, name: str) -> list[list[str]]:
    """Decode the rows of a file, without empty lines. Rows may differ in length.

    Args:
        content: the file as delivered: UTF-8 with or without a byte order mark, quoted as in RFC 4180, with line ends
            of any kind; gzipped if the name ends in `.gz` or the content begins like gzip.
        separator: the separator of values; None to detect which of `SEPARATORS` it is.
        name: the file's name.

    Raises:
        FileSourceError: the file isn't as described, or more than one separator fits.
        UnreachableFilesError: the file is truncated.
    """
    if content.startswith(GZIP_MAGIC) or name.lower().endswith(".gz"):
        content = _unpack(content, name)
    text = _decode(content, name)
    return list(_records(text, separator or _separator(text, name), name))


@dataclass(frozen=True)
class Salvaged:
    """The readable rows of a file that `decode_csv` refuses. Bytes that aren't UTF-8 become U+FFFD."""

    rows: list[list[str]]
    unread: int
    """The number of unreadable rows."""
    trouble: str
    """The problem with the file, and the remedy."""


def salvage_csv(content: bytes, separator: str | None, *, name: str) -> Salvaged:
    """Decode the rows of a damaged file as far as possible. For the arguments see `decode_csv`."""
    try:
        if content.startswith(GZIP_MAGIC) or name.lower().endswith(".gz"):
            content = _unpack(content, name)
    except (FileSourceError, UnreachableFilesError) as error:
        return Salvaged([], 1, str(error))
    damage = _damage(content, name)
    text = _without_marks(content.decode(errors="replace").replace("\0", _REPLACEMENT))
    try:
        separator = separator or _separator(text, name)
    except FileSourceError as error:
        return Salvaged([], max(sum(bool(line.strip()) for line in text.splitlines()), 1), damage or str(error))
    rows, problems = _read_tolerantly(text, separator, name)
    return Salvaged(rows, len(problems), damage or next(iter(problems), ""))


def _damage(content: bytes, name: str) -> str:
    try:
        _decode(content, name)
    except FileSourceError as error:
        return str(error)
    return ""


def _read_tolerantly(text: str, separator: str, name: str) -> tuple[list[list[str]], list[str]]:
    """Return the readable rows, and the problem of each unreadable one."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    rows: list[list[str]] = []
    problems: list[str] = []
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return rows, problems
        except csv.Error as error:
            problems.append(str(_cut_off(name) if _CUT_OFF in str(error) else _not_csv(name, reader.line_num)))
        else:
            rows += [row] if row else []


def _unpack(content: bytes, name: str) -> bytes:
    unpacked = bytearray()
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as stream:
            while piece := stream.read(_PIECE_BYTES):
                unpacked += piece
                if len(unpacked) > MAX_BYTES:
                    break
    except EOFError:
        raise _cut_off(name) from None
    except (gzip.BadGzipFile, zlib.error):
        raise FileSourceError(f"{name} isn't gzip, or damaged; have the vendor deliver it again.") from None
    if not content:
        raise _cut_off(name)
    if len(unpacked) > MAX_BYTES:
        raise FileSourceError(
            f"{name} unpacks to more than {MAX_BYTES} bytes; have the vendor's job deliver shorter periods."
        )
    return bytes(unpacked)


def _decode(content: bytes, name: str) -> str:
    mark_bytes = len(codecs.BOM_UTF8) if content.startswith(codecs.BOM_UTF8) else 0
    remedy = "set the vendor's job to UTF-8 and have it deliver the file again"
    try:
        text = content[mark_bytes:].decode()
    except UnicodeDecodeError as error:
        position = error.start + mark_bytes
    else:
        position = content.find(b"\0")
        if position < 0:
            return _without_marks(text)
        raise FileSourceError(
            f"{name} has a NUL at {_location(content, position)}, so it is damaged or not UTF-8; {remedy}."
        )
    # Outside of `except`, because the caught exception holds the file.
    raise FileSourceError(f"{name} isn't UTF-8 at {_location(content, position)}; {remedy}.")


def _without_marks(text: str) -> str:
    """Remove byte order marks, which concatenated files have at the start of several lines."""
    return _MARKED_LINE.sub("", text) if "\ufeff" in text else text


def _location(content: bytes, position: int) -> str:
    return f"byte {position} (counted from 0, in line {len((content[:position] + b'.').splitlines())})"


def _separator(text: str, name: str) -> str:
    """Detect the separator: the only one with which the first rows have the same number of values, more than one.

    If a single separator occurs at all, fewer than half of the rows may have another length; if none occurs, the rows
    have one value. Nothing is guessed: a text that several separators fit, or that has one in some rows only, is
    refused.
    """
    widths = {separator: _widths(text, separator) for separator in SEPARATORS}
    fitting = [separator for separator, counts in widths.items() if len(counts) == 1 and set(counts) != {1}]
    if len(fitting) == 1:
        return fitting[0]
    occurring = [separator for separator, counts in widths.items() if not set(counts) <= {1}]
    if not occurring:
        return SEPARATORS[0]
    if not fitting and len(occurring) == 1:
        (width, rows), *_ = widths[occurring[0]].most_common(1)
        if width > 1 and 2 * rows > widths[occurring[0]].total():
            return occurring[0]
    raise FileSourceError(f"{name} doesn't show what separates its values; name the separator in the configuration.")


def _widths(text: str, separator: str) -> Counter[int]:
    """Count the first rows by their number of values with a separator; empty if they can't be read with it."""
    widths: Counter[int] = Counter()
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        widths.update(len(row) for row in islice(reader, _SAMPLE_ROWS) if row)
    except csv.Error as error:
        if _CUT_OFF not in str(error):
            return Counter()
    return widths


def _records(text: str, separator: str, name: str) -> Iterator[list[str]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        yield from (row for row in reader if row)
    except csv.Error as error:
        cut_off = _CUT_OFF in str(error)
    else:
        return
    raise _cut_off(name) if cut_off else _not_csv(name, reader.line_num)


def _not_csv(name: str, line: int) -> FileSourceError:
    return FileSourceError(
        f"{name} isn't CSV as in RFC 4180 in line {line}; set the vendor's job to quote values that hold quotes, "
        "separators or line ends."
    )


def _cut_off(name: str) -> UnreachableFilesError:
    return UnreachableFilesError(
        f"{name} is cut off; if it isn't still being written, have the vendor deliver it again."
    )
