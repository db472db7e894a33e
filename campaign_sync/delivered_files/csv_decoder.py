"""The rows of a delivered file: CSV in UTF-8, as it is or gzipped."""

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

from campaign_sync.delivered_files.file_source import MAX_BYTES
from campaign_sync.optimizely.errors import FileSourceError, TransientError

SEPARATORS = (";", ",", "\t", "|")
"""What may stand between two values of a file whose separator isn't told."""

_REPLACEMENT = "\ufffd"
_MARKED_LINE = re.compile("^\ufeff+", re.MULTILINE)

_SAMPLE_ROWS = 100
_CHUNK_BYTES = 1024**2
_GZIP_MAGIC = b"\x1f\x8b"
_CUT_OFF = "unexpected end of data"
"""How the csv module says that a file ends within quotes."""

csv.field_size_limit(2**31 - 1)  # a file is as large as `MAX_BYTES` allows, in however few lines


def decode_csv(content: bytes, separator: str | None, *, name: str) -> list[list[str]]:
    """The rows of a file, empty lines left out. Rows keep their own widths.

    Args:
        content: the file as delivered: UTF-8 with or without a byte order mark, quoted as in RFC 4180, with line ends
            of any kind; gzipped if the name ends in `.gz` or it begins like gzip.
        separator: what stands between two values; None to find out which of `SEPARATORS` it is.
        name: the file's name.

    Raises:
        DropError: it isn't such a file, or more than one separator fits.
        TransientError: its end is missing.
    """
    if content.startswith(_GZIP_MAGIC) or name.lower().endswith(".gz"):
        content = _unpack(content, name)
    text = _decode(content, name)
    return list(_records(text, separator or _separator(text, name), name))


@dataclass(frozen=True)
class Salvaged:
    """What can be read of a file that `decode_csv` refuses. Bytes that are no text are U+FFFD in it."""

    rows: list[list[str]]
    unread: int
    """How many rows can't be told from one another, and so not be read."""
    trouble: str
    """What is wrong with the file, and the remedy."""


def salvage_csv(content: bytes, separator: str | None, *, name: str) -> Salvaged:
    """The rows of a file as far as they can be read. Arguments are those of `decode_csv`."""
    try:
        if content.startswith(_GZIP_MAGIC) or name.lower().endswith(".gz"):
            content = _unpack(content, name)
    except (FileSourceError, TransientError) as error:
        return Salvaged([], 1, str(error))
    damage = _damage(content, name)
    text = _joined(content.decode(errors="replace").replace("\0", _REPLACEMENT))
    try:
        separator = separator or _separator(text, name)
    except FileSourceError as error:
        return Salvaged([], max(sum(bool(line.strip()) for line in text.splitlines()), 1), damage or str(error))
    rows, troubles = _read_on(text, separator, name)
    return Salvaged(rows, len(troubles), damage or next(iter(troubles), ""))


def _damage(content: bytes, name: str) -> str:
    try:
        _decode(content, name)
    except FileSourceError as error:
        return str(error)
    return ""


def _read_on(text: str, separator: str, name: str) -> tuple[list[list[str]], list[str]]:
    """The rows, and what is wrong with each that can't be read."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    rows: list[list[str]] = []
    troubles: list[str] = []
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return rows, troubles
        except csv.Error as error:
            troubles.append(str(_cut_off(name) if _CUT_OFF in str(error) else _no_csv(name, reader.line_num)))
        else:
            rows += [row] if row else []


def _unpack(content: bytes, name: str) -> bytes:
    unpacked = bytearray()
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                unpacked += chunk
                if len(unpacked) > MAX_BYTES:
                    break
    except EOFError:
        raise _cut_off(name) from None
    except (gzip.BadGzipFile, zlib.error):
        raise FileSourceError(f"{name} isn't gzip, or damaged; let the vendor deliver it again.") from None
    if not content:
        raise _cut_off(name)
    if len(unpacked) > MAX_BYTES:
        raise FileSourceError(
            f"{name} unpacks to more than {MAX_BYTES} bytes; let the vendor's job deliver shorter periods."
        )
    return bytes(unpacked)


def _decode(content: bytes, name: str) -> str:
    marked = len(codecs.BOM_UTF8) if content.startswith(codecs.BOM_UTF8) else 0
    remedy = "set the vendor's job to UTF-8 and let it deliver the file again"
    try:
        text = content[marked:].decode()
    except UnicodeDecodeError as error:
        position = error.start + marked
    else:
        position = content.find(b"\0")
        if position < 0:
            return _joined(text)
        raise FileSourceError(
            f"{name} has a NUL at {_place(content, position)}, so it is damaged or not UTF-8; {remedy}."
        )
    # Out here, because the caught exception holds the file.
    raise FileSourceError(f"{name} isn't UTF-8 at {_place(content, position)}; {remedy}.")


def _joined(text: str) -> str:
    """The text without byte order marks: files that were joined bring one each, before a line."""
    return _MARKED_LINE.sub("", text) if "\ufeff" in text else text


def _place(content: bytes, position: int) -> str:
    return f"byte {position} (counted from 0, in line {len((content[:position] + b'.').splitlines())})"


def _separator(text: str, name: str) -> str:
    """The one separator that gives the first rows the same number of values, more than one.

    Where it is the only one that ever occurs, a few rows may be of another width. Where none ever occurs, the rows have
    one value and any separator will do. Nothing is guessed: a text that two separators fit, or that only some rows have
    a separator in, is refused.
    """
    widths = {separator: _widths(text, separator) for separator in SEPARATORS}
    fitting = [separator for separator, found in widths.items() if len(found) == 1 and set(found) != {1}]
    if len(fitting) == 1:
        return fitting[0]
    occurring = [separator for separator, found in widths.items() if not set(found) <= {1}]
    if not occurring:
        return SEPARATORS[0]
    if not fitting and len(occurring) == 1:
        (width, rows), *_ = widths[occurring[0]].most_common(1)
        if width > 1 and 2 * rows > widths[occurring[0]].total():
            return occurring[0]
    raise FileSourceError(f"{name} doesn't show what separates its values; name the separator in the configuration.")


def _widths(text: str, separator: str) -> Counter[int]:
    """How many of the first rows have how many values with a separator; nothing if they can't be read with it."""
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
    raise _cut_off(name) if cut_off else _no_csv(name, reader.line_num)


def _no_csv(name: str, line: int) -> FileSourceError:
    return FileSourceError(
        f"{name} isn't CSV as in RFC 4180 in line {line}; set the vendor's job to quote values that hold quotes, "
        "separators or line ends."
    )


def _cut_off(name: str) -> TransientError:
    return TransientError(
        f"{name} is cut off; if it isn't still being written, let the vendor deliver it again.", outcome_unknown=False
    )
