"""Writes the long arrays of a request in bulk: column by column, without an object for each value.

Values are joined by characters that XML can't carry, so one pass escapes all of them, and one that holds such a
character shows by the count. The elements' names mean nothing to Axis, so they are as short as can be; that rows are
arrays, it reads from the type of the array around them.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from campaign_sync.domain.text import XML_FORBIDDEN, holds_forbidden
from campaign_sync.optimizely.errors import UnsendableError

Texts: TypeAlias = Sequence[str] | pa.Array | pa.ChunkedArray
"""Texts in a list or, faster, in an Arrow array. A null in a row is written as an empty text."""

_TEXT = pa.large_string()
_CELL, _ROW = b"\x01", b"\x02"


def texts(name: str, values: Texts) -> list[bytes]:
    """The elements of the array `name`, in pieces.

    Raises:
        UnsendableError: a text holds a character that XML can't carry, or is missing.
    """
    if not len(values):
        return []
    column = _column(values, lambda position: f"value {position} of {name}")
    if column.texts.null_count:  # nobody may be asked about, or sent, as somebody without a name
        raise UnsendableError(f"{name} holds {column.texts.null_count} values that aren't set.")
    joined = _joined([column], len(values))
    return [b"<i>", joined.replace(_ROW, b"</i><i>"), b"</i>"]


def rows(columns: Sequence[Texts], count: int) -> list[bytes]:
    """The elements of an array of `count` rows, in pieces. All columns are as long.

    Raises:
        UnsendableError: a text holds a character that XML can't carry.
    """
    if not count:
        return []
    if not columns:
        return [b'<i xsi:type="soapenc:Array" soapenc:arrayType="xsd:string[0]"></i>'] * count
    joined = _joined([_column(column, _value_of_row(number)) for number, column in enumerate(columns)], count)
    cells = joined.replace(_CELL, b"</i><i>").replace(_ROW, b"</i></i><i><i>")
    return [b"<i><i>", cells, b"</i></i>"]


@dataclass(frozen=True)
class _Column:
    texts: pa.Array
    told: Callable[[int], str]
    """How to name one of its values."""

    @property
    def first_forbidden(self) -> int | None:
        return _first_forbidden(self.texts.to_pylist())


def _value_of_row(number: int) -> Callable[[int], str]:
    return lambda row: f"value {number} of row {row}"


def _column(values: Texts, told: Callable[[int], str]) -> _Column:
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if isinstance(values, pa.Array):
        return _Column(values.cast(_TEXT), told)
    try:
        return _Column(pa.array(values, _TEXT), told)
    except UnicodeEncodeError:
        pass
    raise _unsendable(told(_first_forbidden(values) or 0))  # out here: the caught exception holds the text


def _first_forbidden(values: Iterable[str | None]) -> int | None:
    return next((position for position, value in enumerate(values) if value and XML_FORBIDDEN.search(value)), None)


def _unsendable(where: str) -> UnsendableError:
    return UnsendableError(f"{where} holds a character that XML can't carry; remove it at the source.")


def _joined(columns: Sequence[_Column], count: int) -> bytes:
    """All rows, escaped, with a separator between any two cells and rows."""
    cells = [pc.fill_null(column.texts, "") if column.texts.null_count else column.texts for column in columns]
    cell, row = (pa.scalar(separator.decode(), _TEXT) for separator in (_CELL, _ROW))
    lines = pc.binary_join_element_wise(*cells, cell) if len(cells) > 1 else cells[0]
    all_lines = pa.ListArray.from_arrays(pa.array([0, count], pa.int32()), lines)
    written: bytes = pc.binary_join(all_lines, row)[0].as_buffer().to_pybytes()
    if (
        written.count(_CELL) != count * (len(columns) - 1)
        or written.count(_ROW) != count - 1
        or holds_forbidden(written, _CELL + _ROW)
    ):
        found = [(at, number) for number, one in enumerate(columns) if (at := one.first_forbidden) is not None]
        at, number = min(found)
        raise _unsendable(columns[number].told(at))
    # A parser turns a bare carriage return into a line feed; only as a reference does it arrive as itself.
    return written.replace(b"&", b"&amp;").replace(b"<", b"&lt;").replace(b">", b"&gt;").replace(b"\r", b"&#13;")
