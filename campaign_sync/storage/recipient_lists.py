"""What is known of single recipient lists: of which kind they are, which size is accepted."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Engine, and_, delete, or_, select

from campaign_sync.storage.tables import doubtful_list, list_kind, size_acceptance
from campaign_sync.storage.upsert import upsert


class ListKind(StrEnum):
    """What a canary showed a list to be."""

    REGULAR = "regular"
    OPT_IN = "opt-in"


@dataclass(frozen=True)
class SizeAcceptance:
    """Somebody accepts, for one run, that a list's size is implausible."""

    run_id: str
    mandator: str
    list: str
    accepted_by: str
    reason: str
    accepted_at: datetime

    def __str__(self) -> str:
        return f"{self.accepted_by}: {self.reason}"


@dataclass(frozen=True)
class PartialFill:
    """A list that looks half full though the journal knows of no replace that left it so. Counts are recipients."""

    mandator: str
    list: str
    held: int
    expected: int
    found_at: datetime


class RecipientListStates:
    """Facts about recipient lists that outlive a run."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def kind(self, recipient_list_id: int) -> ListKind | None:
        """What the list was last found to be; None while no canary has tried it."""
        query = select(list_kind.c.kind).where(list_kind.c.recipient_list_id == recipient_list_id)
        with self._engine.connect() as connection:
            found = connection.execute(query).scalar()
        return ListKind(found) if found else None

    def set_kind(self, recipient_list_id: int, kind: ListKind, now: datetime) -> None:
        """Remember what a canary showed."""
        row = {"recipient_list_id": recipient_list_id, "kind": kind, "found_at": now}
        with self._engine.begin() as connection:
            upsert(connection, list_kind, [row], update=("kind", "found_at"))

    def record_partial_fill(self, found: PartialFill) -> None:
        """Remember that a list looks half full; it keeps the moment at which that was found first."""
        with self._engine.begin() as connection:
            upsert(connection, doubtful_list, [vars(found)], update=("held", "expected"))

    def clear_partial_fill(self, mandator: str, name: str) -> None:
        """There is no doubt about the list any more."""
        this = and_(doubtful_list.c.mandator == mandator, doubtful_list.c.list == name)
        with self._engine.begin() as connection:
            connection.execute(delete(doubtful_list).where(this))

    def partial_fills(self, mandator: str) -> dict[str, PartialFill]:
        """The lists of a mandator that look half full, by their names."""
        with self._engine.connect() as connection:
            rows = connection.execute(select(doubtful_list).where(doubtful_list.c.mandator == mandator))
            return {row.list: PartialFill(**row._mapping) for row in rows}

    def accept_size(self, acceptance: SizeAcceptance) -> None:
        """Let one run replace a list by an implausible size."""
        with self._engine.begin() as connection:
            upsert(
                connection,
                size_acceptance,
                [vars(acceptance)],
                update=("accepted_by", "reason", "accepted_at"),
            )

    def accepted_size(self, mandator: str, name: str, *run_ids: str | None) -> SizeAcceptance | None:
        """What one of these runs may do. A run that takes up another one's broken replace inherits its permission."""
        mine = or_(*(size_acceptance.c.run_id == run_id for run_id in run_ids if run_id))
        query = select(size_acceptance).where(
            mine, size_acceptance.c.mandator == mandator, size_acceptance.c.list == name
        )
        with self._engine.connect() as connection:
            row = connection.execute(query).first()
        return SizeAcceptance(**row._mapping) if row else None
