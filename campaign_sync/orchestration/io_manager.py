"""How frames travel between assets: as Parquet files in the frame storage. Nothing is ever pickled."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dagster as dg
import pandas as pd
import pyarrow as pa
from upath import UPath

from campaign_sync.storage.files import release_memory, write_file


class ParquetIOManager(dg.UPathIOManager):
    """Keeps each asset's newest frame under `assets/<asset key>.parquet`."""

    extension = ".parquet"

    def __init__(self, base: str) -> None:
        super().__init__(base_path=UPath(base) / "assets")

    def make_directory(self, path: UPath) -> None:
        """Leave it to `dump_to_path`, which makes folders that only their owner looks into."""

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Write a frame."""
        with _one_sentence("written", "free space on its disk, and check storage.frames and who may use it"):
            super().handle_output(context, obj)

    def load_input(self, context: dg.InputContext) -> Any:
        """Read a frame."""
        with _one_sentence("read", "materialize the asset before this one as well"):
            return super().load_input(context)

    def dump_to_path(self, context: dg.OutputContext, obj: Any, path: UPath) -> None:
        """Write a frame, and empty it: a run of `campaign-sync run` keeps what its assets returned until it ends."""
        if not isinstance(obj, pd.DataFrame):
            raise TypeError(f"only frames are kept as Parquet, not {type(obj).__name__}")
        write_file(path, obj.to_parquet(index=False))
        for column in list(obj.columns):
            del obj[column]
        release_memory()

    def load_from_path(self, context: dg.InputContext, path: UPath) -> pd.DataFrame:
        """Read a frame."""
        with path.open("rb") as file:
            frame = pd.read_parquet(file)
        release_memory()
        return frame


@contextmanager
def _one_sentence(what: str, remedy: str) -> Iterator[None]:
    """Let a storage that refuses, or has lost a file, end the step as a `Failure` that says what helps."""
    try:
        yield
    except (OSError, pa.ArrowInvalid) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        name = getattr(error, "filename", None) or "a frame of an asset"
        raise dg.Failure(f"{name} can't be {what}: {reason}; {remedy}", allow_retries=False) from None
