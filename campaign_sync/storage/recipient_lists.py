"""What is known of single recipient lists: their kind, accepted sizes, and lists that seem half full."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import ColumnElement, Engine, and_, delete, or_, select

from campaign_sync.storage.tables import doubtful_list, list_kind, size_acceptance
from campaign_sync.storage.upsert import upsert


class ListKind(StrEnum):
    """What the probe of its kind showed a list to be."""

    REGULAR = "regular"
    OPT_IN = "opt-in"


@dataclass(frozen=True)
class SizeAcceptance:
    """An operator's acceptance, for one run, of an implausible size of a list."""

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
    """A list that seems half full although no replacement is recorded that left it so. Counts are recipients."""

    mandator: str
    list: str
    held: int
    expected: int
    found_at: datetime
    recipient_list_id: int | None = None
    """The vendor's id of the list; None where it was found by an earlier version."""

    def is_of(self, recipient_list_id: int) -> bool:
        """Return whether this was found of a list at the vendor, as far as is known."""
        return self.recipient_list_id in (None, recipient_list_id)


class RecipientListStates:
    """Facts about recipient lists that outlive a run."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def kind(self, recipient_list_id: int) -> ListKind | None:
        """Return the list's kind as last probed; None if it never was."""
        query = select(list_kind.c.kind).where(list_kind.c.recipient_list_id == recipient_list_id)
        with self._engine.connect() as connection:
            kind = connection.execute(query).scalar()
        return ListKind(kind) if kind else None

    def set_kind(self, recipient_list_id: int, kind: ListKind, now: datetime) -> None:
        """Store the kind that a probe showed."""
        row = {"recipient_list_id": recipient_list_id, "kind": kind, "found_at": now}
        with self._engine.begin() as connection:
            upsert(connection, list_kind, [row], update=("kind", "found_at"))

    def record_partial_fill(self, partial_fill: PartialFill) -> None:
        """Store that a list seems half full. The moment at which that was first seen stays."""
        another = and_(
            _is_list(partial_fill.mandator, partial_fill.list),
            doubtful_list.c.recipient_list_id != partial_fill.recipient_list_id,
        )
        with self._engine.begin() as connection:
            connection.execute(delete(doubtful_list).where(another))
            upsert(connection, doubtful_list, [vars(partial_fill)], update=("held", "expected", "recipient_list_id"))

    def clear_partial_fill(self, mandator: str, name: str) -> None:
        """Delete what is stored about a list that is complete, or empty, after all."""
        with self._engine.begin() as connection:
            connection.execute(delete(doubtful_list).where(_is_list(mandator, name)))

    def accept_size(self, acceptance: SizeAcceptance) -> None:
        """Allow one run to replace a list by an implausible size."""
        with self._engine.begin() as connection:
            upsert(
                connection,
                size_acceptance,
                [vars(acceptance)],
                update=("accepted_by", "reason", "accepted_at"),
            )

    def accepted_size(self, mandator: str, name: str, *run_ids: str | None) -> SizeAcceptance | None:
        """Return what was accepted for one of these runs. A run that resumes another's replacement inherits it."""
        of_runs = or_(*(size_acceptance.c.run_id == run_id for run_id in run_ids if run_id))
        query = select(size_acceptance).where(
            of_runs, size_acceptance.c.mandator == mandator, size_acceptance.c.list == name
        )
        with self._engine.connect() as connection:
            row = connection.execute(query).first()
        return SizeAcceptance(**row._mapping) if row else None


def _is_list(mandator: str, name: str) -> ColumnElement[bool]:
    return and_(doubtful_list.c.mandator == mandator, doubtful_list.c.list == name)
