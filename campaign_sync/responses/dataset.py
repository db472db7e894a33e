"""Responses as Parquet files, one folder for each day: what pandas, pyarrow and DuckDB read as one table."""

from collections.abc import Sequence

import pandas as pd

from campaign_sync.domain.response import Response, ResponseKind
from campaign_sync.domain.windows import Window
from campaign_sync.storage.files import FileStorage

_DAY = "day"


def store_responses(
    mandator: str, kind: ResponseKind, responses: Sequence[Response], window: Window, frames: FileStorage
) -> int:
    """Store the new responses, each in the folder of its day in UTC. Return their number.

    Two responses are the same if they agree in recipient, mailing, time and detail. A repeated call stores nothing
    twice, wherever an earlier run stopped.

    Args:
        mandator: a key of the configuration.
        kind: the kind of all these responses.
        responses: responses of one window.
        window: names the files.
        frames: the file storage.

    Raises:
        FileStorageError: a file can't be read or written.
    """
    frame = response_frame(kind, responses)
    new = 0
    for day, rows in frame.groupby(frame["occurred_at"].dt.strftime("%Y-%m-%d")):
        folder = f"{dataset_folder(mandator, kind)}/{_DAY}={day}"
        fresh = _fresh(rows, frames.read_partition(folder, _key(kind)), _key(kind))
        if not fresh.empty:
            frames.add_to_partition(folder, window, fresh)
        new += len(fresh)
    return new


def dataset_folder(mandator: str, kind: ResponseKind) -> str:
    """Return the folder of the dataset in the file storage."""
    return f"responses/{mandator}/{kind.value}"


def response_frame(kind: ResponseKind, responses: Sequence[Response]) -> pd.DataFrame:
    """Return responses of one kind as the rows of its files."""
    entities = [response.entity for response in responses]
    columns = {
        "recipient_id": _texts([response.recipient_id for response in responses]),
        "mailing_id": pd.Series([response.mailing_id for response in responses], dtype="int64"),
        "occurred_at": pd.Series(pd.to_datetime([response.occurred_at for response in responses], utc=True)).dt.as_unit(
            "us"
        ),
        "entity_type": _texts([entity and entity.entity_type.value for entity in entities]),
        "entity_id": _texts([entity and entity.entity_id for entity in entities]),
        "opt_in_id": _texts([response.opt_in_id for response in responses]),
    }
    if kind.detail:
        columns[kind.detail] = _texts([response.detail for response in responses])
    return pd.DataFrame(columns)


def _key(kind: ResponseKind) -> list[str]:
    return ["recipient_id", "mailing_id", "occurred_at", *([kind.detail] if kind.detail else [])]


def _fresh(rows: pd.DataFrame, stored: pd.DataFrame | None, key: list[str]) -> pd.DataFrame:
    if stored is None:
        return rows
    repeated = pd.concat([stored, rows[key]], ignore_index=True).duplicated()
    return rows[~repeated.iloc[len(stored) :].to_numpy()]


def _texts(values: Sequence[str | None]) -> pd.Series:
    return pd.Series(values, dtype="str")
