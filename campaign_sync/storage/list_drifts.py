"""Changes of lists after their proof."""

from dataclasses import asdict
from typing import Any

from sqlalchemy import Engine, Row, select

from campaign_sync.domain.list_drift import ListDrift, ReadBack
from campaign_sync.storage.tables import list_drift
from campaign_sync.storage.upsert import upsert

_READ_BACK_FIELDS = {
    "proven": "proven",
    "missing": "missing",
    "departed": "departed",
    "changed": "changed",
    "strange": "unexpected",
}
"""The fields of a `ReadBack` by their columns."""


class ListDrifts:
    """The result of the newest drift check of each list."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def of(self, mandator: str, name: str, replace_id: str) -> ListDrift:
        """Return what is known of a list since the proof of this replacement; earlier results no longer apply."""
        query = select(list_drift).where(list_drift.c.mandator == mandator, list_drift.c.list == name)
        with self._engine.connect() as connection:
            row = connection.execute(query).first()
        return as_list_drift(mandator, name, replace_id, row)

    def record(self, drift: ListDrift) -> None:
        """Store the result of a check."""
        values = {key: value for key, value in asdict(drift).items() if key != "read_back"}
        counts = {
            column: getattr(drift.read_back, field) if drift.read_back else None
            for column, field in _READ_BACK_FIELDS.items()
        }
        row = values | counts
        with self._engine.begin() as connection:
            upsert(connection, list_drift, [row], update=tuple(row.keys() - {"mandator", "list"}))


def as_list_drift(mandator: str, name: str, replace_id: str, row: Row[Any] | None) -> ListDrift:
    """Return what a row of the table `list_drift` says of a list since the proof of this replacement."""
    if row is None or row.replace_id != replace_id:
        return ListDrift(mandator, name, replace_id)
    read_back = None
    if row.proven is not None:
        in_list = row.proven - row.missing - row.departed + row.strange
        read_back = ReadBack(row.proven, in_list, row.missing, row.departed, row.changed, row.strange)
    return ListDrift(
        mandator,
        name,
        replace_id,
        row.checked_at,
        row.in_list,
        read_back,
        row.drifted_since,
        row.not_checked_since,
        row.not_checked_because,
    )
