"""What erasures have done in each place."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, select

from campaign_sync.storage.erasure_tables import erasure_place
from campaign_sync.storage.id_batches import batches
from campaign_sync.storage.upsert import upsert


@dataclass(frozen=True)
class RecordedPlace:
    """One place of one erasure, as the last attempt left it."""

    erasure_id: str
    place: str
    state: str
    rows: int
    checked_at: datetime
    note: str | None


class ErasurePlaces:
    """The places of each erasure. They name no person."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def record(self, places: Collection[RecordedPlace]) -> None:
        """Record places, instead of what was recorded of them before."""
        with self._engine.begin() as connection:
            rows = [vars(place) for place in places]
            upsert(connection, erasure_place, rows, update=("state", "rows", "checked_at", "note"))

    def of(self, erasure_ids: Collection[str]) -> list[RecordedPlace]:
        """Return the places of these erasures."""
        places: list[RecordedPlace] = []
        with self._engine.connect() as connection:
            for ids in batches(sorted(erasure_ids)):
                query = select(erasure_place).where(erasure_place.c.erasure_id.in_(ids))
                places += [RecordedPlace(*row) for row in connection.execute(query)]
        return places
