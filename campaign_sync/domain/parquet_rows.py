"""Rows as Parquet in memory, which takes a tenth of a frame's memory."""

import io
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, Self, overload

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from campaign_sync.domain.shared_texts import SharedTexts

_FEW_ROWS = 50_000
"""So few rows are read as a whole, which is faster."""


_SAMPLE_ROWS = 2_000
"""In how many rows it is counted how often texts are repeated."""

_REPEATED = 4
"""How often texts are repeated there at least, on average, for a dictionary to pay."""


def written_tables(tables: Iterable[pa.Table], schema: pa.Schema, row_group_size: int | None = None) -> bytes:
    """Return tables of a schema as Parquet.

    Columns whose texts are seldom repeated in the first table are written without a dictionary, which would be given up
    in the middle of them, and no column with its least and largest value, which nothing reads: a third of the time.
    """
    from pyarrow.parquet import ParquetWriter  # only runs need it

    remaining, output = iter(tables), io.BytesIO()
    first = next(remaining, schema.empty_table())
    sample = first.slice(0, _SAMPLE_ROWS)
    repeated = [name for name in schema.names if pc.count_distinct(sample[name]).as_py() * _REPEATED <= len(sample)]
    with ParquetWriter(output, schema, use_dictionary=repeated, write_statistics=False) as writer:
        for table in chain([first], remaining):
            writer.write_table(table, row_group_size)
    return output.getvalue()


class ParquetRows:
    """Rows in the form in which they are stored. Columns are read when they are needed, those of texts as `str`.

    Raises:
        pyarrow.ArrowInvalid: the content is no Parquet.
    """

    def __init__(self, content: bytes) -> None:
        from pyarrow.parquet import ParquetFile  # only runs need it

        self.content = content
        self._file = ParquetFile(pa.BufferReader(content))

    @classmethod
    def of(cls, frames: Iterable[pd.DataFrame], no_rows: pd.DataFrame) -> Self:
        """Return the rows of frames, of which one is in memory at a time; all have the columns of `no_rows`.

        Texts of other types become `str`, as they are in `no_rows`.
        """
        schema, types = pa.Schema.from_pandas(no_rows, preserve_index=False), no_rows.dtypes.to_dict()
        tables = (
            pa.Table.from_pandas(frame[list(types)].astype(types), schema, preserve_index=False) for frame in frames
        )
        return cls(written_tables(tables, schema))

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""
        return list(self._file.schema_arrow.names)

    def __len__(self) -> int:
        return int(self._file.metadata.num_rows)

    def __contains__(self, column: str) -> bool:
        return column in self.columns

    @overload
    def __getitem__(self, columns: str) -> "pd.Series[Any]": ...

    @overload
    def __getitem__(self, columns: list[str]) -> pd.DataFrame: ...

    def __getitem__(self, columns: str | list[str]) -> "pd.Series[Any] | pd.DataFrame":
        return self.frame([columns])[columns] if isinstance(columns, str) else self.frame(columns)

    def frame(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Return all rows, or some of their columns, as a frame; columns of many share their memory where they can.

        Raises:
            ValueError: a column is missing.
        """
        names = self.columns if columns is None else list(columns)
        if lacking := set(names).difference(self.columns):
            raise ValueError(f"the rows have no column {', '.join(sorted(lacking))}")
        if len(self) <= _FEW_ROWS:
            whole: pd.DataFrame = self._file.read(names).to_pandas()[names]
            return whole
        shared, read = SharedTexts(), dict[str, Any]()
        for name in names:
            column = self._file.read([name]).to_pandas()[name]
            read[name] = shared.share(column) if column.dtype == "str" else column
        return pd.DataFrame(read)
