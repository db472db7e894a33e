"""The IO manager, which passes frames between assets as Parquet files, and what it is handed. Nothing is pickled."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dagster as dg
import pandas as pd
import pyarrow as pa
from upath import UPath

from campaign_sync.domain.parquet_rows import ParquetRows
from campaign_sync.storage.files import release_memory, storage_location, write_file

FRAMES = "frames"
"""Name of the IO manager among the resources; `resource_key` makes its key of it."""


class FrameHandover:
    """Rows that an asset hands over to the IO manager. They can be taken once; then only their taker holds them.

    Dagster keeps the returned values of all assets until a run in its own process ends. It keeps empty handovers, so
    that such a run holds the people of one list at a time.
    """

    def __init__(self, frame: pd.DataFrame | ParquetRows) -> None:
        self._frame: pd.DataFrame | ParquetRows | None = frame

    def take(self) -> pd.DataFrame | ParquetRows:
        """Return the rows, and let go of them.

        Raises:
            ValueError: it was taken before.
        """
        frame, self._frame = self._frame, None
        if frame is None:
            raise ValueError("the frame was taken before; an asset hands a frame over once")
        return frame


FRAME = dg.DagsterType(lambda _, value: isinstance(value, FrameHandover), name="Frame")
"""The type of what assets hand over."""


class ParquetIOManager(dg.UPathIOManager):
    """Keeps each asset's newest frame under `assets/<asset key>.parquet`."""

    extension = ".parquet"

    def __init__(self, base: str) -> None:
        super().__init__(base_path=storage_location(base) / "assets")

    def make_directory(self, path: UPath) -> None:
        """Do nothing: `dump_to_path` creates folders, which only their owner can read."""

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Write the frame that an asset hands over."""
        with _storage_failures("written", "free space on its disk, and check storage.frames and its permissions"):
            super().handle_output(context, obj)

    def load_input(self, context: dg.InputContext) -> Any:
        """Read a frame."""
        with _storage_failures("read", "materialize the upstream asset as well"):
            return super().load_input(context)

    def dump_to_path(self, context: dg.OutputContext, obj: Any, path: UPath) -> None:
        """Write the rows of a `FrameHandover`."""
        if not isinstance(obj, FrameHandover):
            raise TypeError(f"only a FrameHandover is written as Parquet, not {type(obj).__name__}")
        rows = obj.take()
        write_file(path, rows.content if isinstance(rows, ParquetRows) else rows.to_parquet(index=False))
        release_memory()

    def load_from_path(self, context: dg.InputContext, path: UPath) -> ParquetRows | pd.DataFrame:
        """Read a frame, as `ParquetRows` where the type of the asset's parameter says so."""
        rows = ParquetRows(path.read_bytes())
        return rows if context.dagster_type.typing_type is ParquetRows else rows.frame()


@contextmanager
def _storage_failures(what: str, remedy: str) -> Iterator[None]:
    """Turn a failing storage or a missing file into a `Failure` of one sentence with the remedy."""
    try:
        yield
    except (OSError, pa.ArrowInvalid) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        name = getattr(error, "filename", None) or "a frame of an asset"
        raise dg.Failure(f"{name} can't be {what}: {reason}; {remedy}", allow_retries=False) from None
