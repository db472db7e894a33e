"""Tables in Parquet, read batch by batch."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from campaign_sync.crm.files.table_file import CHUNK_ROWS, Row, TableFile
from campaign_sync.crm.port import CrmError
from campaign_sync.domain.text import normalize_text


class ParquetTable(TableFile):
    """A table in Parquet.

    Args:
        path: the file on this machine.
        name: its name, for messages.

    Raises:
        CrmError: it isn't Parquet, or cut off.
    """

    def __init__(self, path: Path, name: str) -> None:
        self._path, self._name = path, name
        with self._readable(), pq.ParquetFile(path) as file:
            self.columns = tuple(normalize_text(column) for column in file.schema_arrow.names)

    def chunks(self, keys: Collection[int]) -> Iterator[Sequence[Row]]:
        """See `TableFile`."""
        done = 0
        with self._readable(), pq.ParquetFile(self._path) as file:
            for batch in file.iter_batches(CHUNK_ROWS):
                columns = [self._values(column, place in keys) for place, column in enumerate(batch.columns)]
                yield list(zip(*columns, strict=True))
                done += batch.num_rows
            if done != file.metadata.num_rows:
                raise CrmError(f"{self._name} has {done} rows, and {file.metadata.num_rows} by its own count")

    def _values(self, column: pa.Array, is_key: bool) -> Sequence[object]:
        values = _python_values(column)
        if is_key and any(isinstance(value, bytes) for value in values):
            raise CrmError(f"{self._name} has a key that isn't UTF-8; correct the export")
        return values

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except (pa.ArrowException, OSError):
            raise CrmError(
                f"{self._name} isn't Parquet, or is cut off or damaged; correct the export, or crm.format.kind, and "
                "have the CRM deliver again"
            ) from None


def _python_values(column: pa.Array) -> Sequence[object]:
    """Return the values, and text that isn't UTF-8 as bytes. Empty text is None, as in CSV."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("us", column.type.tz), safe=False)  # nanoseconds have no type in Python
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return [value or None if isinstance(value, bytes) else value for value in column.to_pylist()]
    try:
        return [value or None for value in column.to_pylist()]
    except UnicodeDecodeError:
        return [_decoded(value) for value in column.cast(pa.large_binary()).to_pylist()]


def _decoded(value: bytes | None) -> str | bytes | None:
    try:
        return value.decode() if value else None
    except UnicodeDecodeError:
        return value
