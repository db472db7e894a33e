"""Reads an answer of many rows while it comes in, so that it needn't be held as a whole."""

from typing import Protocol, TypeVar

from campaign_sync.optimizely import soap_encoding
from campaign_sync.optimizely.array_decoder import LONGEST_HEAD, ListedRows, RowForm, Rows, UnexpectedShapeError

_CHUNK_BYTES = 1024**2
"""As much has to be there before rows are made of it."""


class Sink(Protocol):
    """Takes the rows of one answer as they come in. The answer may still break off after some of them."""

    def take(self, rows: Rows | ListedRows) -> None:
        """Take the next rows."""


SinkKind = TypeVar("SinkKind", bound=Sink)


class Listed:
    """Keeps all rows as lists."""

    def __init__(self) -> None:
        self.rows: list[list[str | None]] = []

    def take(self, rows: Rows | ListedRows) -> None:
        """Take the next rows."""
        self.rows += rows.lists()


class RowReader:
    """Takes an answer piece by piece. Its rows go to the sink, and what stands around them remains.

    Of an answer that isn't rows as Axis writes them, everything remains.
    """

    def __init__(self, sink: Sink) -> None:
        self.took_rows = False
        """Whether the sink has got any."""
        self._sink = sink
        self._buffer = bytearray()
        self._form: RowForm | None = None
        self._enough = _CHUNK_BYTES
        self._apart = False
        """Whether rows refer to what stands elsewhere, so that only the whole answer can be understood."""

    @property
    def held(self) -> int:
        """How many bytes of the answer are waiting to be understood."""
        return len(self._buffer)

    def feed(self, piece: bytes) -> None:
        """Take the next piece.

        Raises:
            NotSoapError: what comes isn't rows any more, and the sink has some already.
        """
        self._buffer += piece
        if self._apart or len(self._buffer) < self._enough:
            return
        form = self._known_form()
        at = self._buffer.rfind(form.between_rows) if form else -1
        if form and at >= 0:
            self._give(form, at + len(form.row_end))
        self._enough = len(self._buffer) + _CHUNK_BYTES

    def rest(self) -> bytes:
        """What remains of the answer, now that all of it is there.

        Raises:
            NotSoapError: as `feed`.
        """
        form = self._known_form()
        if form is None:
            return bytes(self._buffer)
        at = self._buffer.rfind(form.row_end * 2)  # of the last row, and of the array
        if at >= 0 and not self._apart:
            self._give(form, at + len(form.row_end))
        return form.head + bytes(self._buffer)

    def end(self, rows: list[list[str | None] | None]) -> None:
        """Give the sink the rows that the XML parser has found in the rest.

        Raises:
            NotSoapError: the sink has rows already, and these came after them.
        """
        if rows and self.took_rows:
            raise soap_encoding.NotSoapError("rows after the rows")
        if any(not isinstance(text, str | None) for row in rows for text in row or []):
            raise soap_encoding.NotSoapError("arrays in the rows")
        if rows:
            self._sink.take(ListedRows([row or [] for row in rows]))

    def _known_form(self) -> RowForm | None:
        if self._form is None:
            self._form = RowForm.at(bytes(self._buffer[:LONGEST_HEAD]))
            if self._form:
                del self._buffer[: len(self._form.head)]
        return self._form

    def _give(self, form: RowForm, size: int) -> None:
        with memoryview(self._buffer) as buffer:
            body = bytes(buffer[:size])
        rows = self._read(form, body)
        if rows is not None:
            self._sink.take(rows)
            self.took_rows = True
            del self._buffer[:size]

    def _read(self, form: RowForm, body: bytes) -> Rows | ListedRows | None:
        """Whole rows; None where they can't be understood apart from the answer they stand in."""
        try:
            return form.read(body)
        except UnexpectedShapeError:
            pass
        try:
            return ListedRows(soap_encoding.rows(soap_encoding.parse(form.alone(body))))
        except soap_encoding.HostileXmlError:
            raise
        except (KeyError, TypeError, ValueError):
            if self.took_rows:
                raise soap_encoding.NotSoapError("not rows any more") from None
            self._apart = True
            return None
