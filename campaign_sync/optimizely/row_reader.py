"""Streaming of answers with many rows, so that no answer is held in memory as a whole."""

from typing import Protocol, TypeVar

from campaign_sync.optimizely import soap_encoding
from campaign_sync.optimizely.array_decoder import LONGEST_HEAD, JoinedRows, ParsedRows, RowForm, UnexpectedShapeError

CHUNK_BYTES = 1024**2
"""Rows are decoded once this much has arrived."""


class RowSink(Protocol):
    """Receives the rows of one answer as they arrive. The answer may still be cut off after some of them."""

    def append(self, rows: JoinedRows | ParsedRows) -> None:
        """Append the next rows."""


SinkT = TypeVar("SinkT", bound=RowSink)


class RowList:
    """A sink that keeps all rows as lists."""

    def __init__(self) -> None:
        self.rows: list[list[str | None]] = []

    def append(self, rows: JoinedRows | ParsedRows) -> None:
        """Append the next rows."""
        self.rows += rows.lists()


class RowReader:
    """Reads an answer piece by piece: passes its rows to the sink and keeps the markup around them.

    An answer that doesn't hold rows as Axis writes them is kept whole.
    """

    def __init__(self, sink: RowSink) -> None:
        self.took_rows = False
        """Whether the sink has received any."""
        self._sink = sink
        self._buffer = bytearray()
        self._form: RowForm | None = None
        self._threshold = CHUNK_BYTES
        self._needs_whole = False
        """Whether rows refer to elements outside of them, so that only the whole answer can be parsed."""

    @property
    def held(self) -> int:
        """The number of bytes that aren't decoded yet."""
        return len(self._buffer)

    def feed(self, piece: bytes) -> None:
        """Read the next piece.

        Raises:
            NotSoapError: the piece holds no rows although the sink has received some.
        """
        self._buffer += piece
        if self._needs_whole or len(self._buffer) < self._threshold:
            return
        form = self._known_form()
        at = self._buffer.rfind(form.between_rows) if form else -1
        if form and at >= 0:
            self._pass_on(form, at + len(form.row_end))
        self._threshold = len(self._buffer) + CHUNK_BYTES

    def rest(self) -> bytes:
        """Return the rest of the answer, once all of it has arrived.

        Raises:
            NotSoapError: see `feed`.
        """
        form = self._known_form()
        if form is None:
            return bytes(self._buffer)
        at = self._buffer.rfind(form.row_end * 2)  # of the last row, and of the array
        if at >= 0 and not self._needs_whole:
            self._pass_on(form, at + len(form.row_end))
        return form.head + bytes(self._buffer)

    def end(self, rows: list[list[str | None] | None]) -> None:
        """Pass the rows that the XML parser has found in the rest to the sink.

        Raises:
            NotSoapError: the sink has received rows before, or the rows hold arrays.
        """
        if rows and self.took_rows:
            raise soap_encoding.NotSoapError("rows after the rows")
        if any(not isinstance(text, str | None) for row in rows for text in row or []):
            raise soap_encoding.NotSoapError("arrays in the rows")
        if rows:
            self._sink.append(ParsedRows([row or [] for row in rows]))

    def _known_form(self) -> RowForm | None:
        if self._form is None:
            self._form = RowForm.at(bytes(self._buffer[:LONGEST_HEAD]))
            if self._form:
                del self._buffer[: len(self._form.head)]
        return self._form

    def _pass_on(self, form: RowForm, size: int) -> None:
        body, self._buffer = self._buffer, self._buffer[size:]
        del body[size:]
        rows = self._read(form, body)
        if rows is None:
            self._buffer = body + self._buffer
        else:
            self._sink.append(rows)
            self.took_rows = True

    def _read(self, form: RowForm, body: bytearray) -> JoinedRows | ParsedRows | None:
        """Decode whole rows; return None if that takes the rest of the answer."""
        try:
            return form.read(body)
        except UnexpectedShapeError:
            pass
        try:
            return ParsedRows(soap_encoding.rows(soap_encoding.parse(form.alone(body))))
        except soap_encoding.HostileXmlError:
            raise
        except (KeyError, TypeError, ValueError):
            if self.took_rows:
                raise soap_encoding.NotSoapError("not rows any more") from None
            self._needs_whole = True
            return None
