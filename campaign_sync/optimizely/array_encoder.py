"""Encoder for the long arrays of a request: works column by column, without an object for each value.

Values are joined by characters that XML can't carry, so one pass escapes all of them, and the count of separators
reveals a value that holds one. Axis ignores element names, so they are as short as possible; it knows that rows are
arrays from the type of the array around them.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from campaign_sync.domain.text import XML_FORBIDDEN
from campaign_sync.domain.text_columns import has_forbidden_characters
from campaign_sync.optimizely.errors import UnsendableError

Texts: TypeAlias = Sequence[str] | pa.Array | pa.ChunkedArray
"""Texts in a list or, faster, in an Arrow array. A null in a row is encoded as an empty text."""

_TEXT = pa.large_string()
_CELL, _ROW = b"\x01", b"\x02"


def texts(name: str, values: Texts) -> list[bytes]:
    """Encode the elements of the array `name`, in pieces.

    Raises:
        UnsendableError: a text holds a character that XML can't carry, or is missing.
    """
    if not len(values):
        return []
    column = _column(values, lambda position: f"value {position} of {name}")
    if column.texts.null_count:  # an empty recipient id or address must never be sent
        raise UnsendableError(f"{name} holds {column.texts.null_count} values that aren't set.")
    joined = _joined([column], len(values))
    return [b"<i>", joined.replace(_ROW, b"</i><i>"), b"</i>"]


def rows(columns: Sequence[Texts], count: int) -> list[bytes]:
    """Encode the elements of an array of `count` rows, in pieces. All columns have that length.

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
    place: Callable[[int], str]
    """Names the position of a value in messages."""

    @property
    def first_forbidden(self) -> int | None:
        return _first_forbidden(self.texts.to_pylist())


def _value_of_row(number: int) -> Callable[[int], str]:
    return lambda row: f"value {number} of row {row}"


def _column(values: Texts, place: Callable[[int], str]) -> _Column:
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if isinstance(values, pa.Array):
        return _Column(values.cast(_TEXT), place)
    try:
        return _Column(pa.array(values, _TEXT), place)
    except UnicodeEncodeError:
        pass
    raise _unsendable(place(_first_forbidden(values) or 0))  # out here: the caught exception holds the text


def _first_forbidden(values: Iterable[str | None]) -> int | None:
    return next((position for position, value in enumerate(values) if value and XML_FORBIDDEN.search(value)), None)


def _unsendable(where: str) -> UnsendableError:
    return UnsendableError(f"{where} holds a character that XML can't carry; remove it at the source.")


def _joined(columns: Sequence[_Column], count: int) -> bytes:
    """Return all rows, escaped, with separators between cells and between rows."""
    cells = [pc.fill_null(column.texts, "") if column.texts.null_count else column.texts for column in columns]
    cell, row = (pa.scalar(separator.decode(), _TEXT) for separator in (_CELL, _ROW))
    lines = pc.binary_join_element_wise(*cells, cell) if len(cells) > 1 else cells[0]
    all_lines = pa.ListArray.from_arrays(pa.array([0, count], pa.int32()), lines)
    written: bytes = pc.binary_join(all_lines, row)[0].as_buffer().to_pybytes()
    if has_forbidden_characters(written, separators=count * len(columns) - 1):
        forbidden = [
            (row, number) for number, column in enumerate(columns) if (row := column.first_forbidden) is not None
        ]
        row_number, column_number = min(forbidden)
        raise _unsendable(columns[column_number].place(row_number))
    # A parser turns a bare carriage return into a line feed; a reference keeps it.
    return written.replace(b"&", b"&amp;").replace(b"<", b"&lt;").replace(b">", b"&gt;").replace(b"\r", b"&#13;")
