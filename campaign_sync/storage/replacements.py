"""Snapshots, replacements of recipient lists, and rejections."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import uuid4

import pandas as pd
from sqlalchemy import Engine, Row, and_, desc, func, or_, select, update

from campaign_sync.storage.one_row_per_key import one_row_per_key
from campaign_sync.storage.replacement_steps import CLEAR, Step, StepLog, StepOutcome
from campaign_sync.storage.tables import rejection, replace, size_acceptance, snapshot
from campaign_sync.storage.upsert import upsert


class ReplacementState(StrEnum):
    """How far a replacement has come. Between `CLEARING` and `PROVEN` the vendor's list is incomplete."""

    ADMITTED = "admitted"
    CLEARING = "clearing"
    FILLING = "filling"
    PROVING = "proving"
    PROVEN = "proven"
    FAILED = "failed"
    """The call that failed is in `error`. The list is incomplete if `cleared_at` is set, else it is untouched."""
    ABANDONED = "abandoned"
    """It left a list incomplete that has lost its place in the configuration and is empty or deleted by now."""

    @property
    def has_ended(self) -> bool:
        """Whether no process is at work on it any more."""
        return self in (ReplacementState.PROVEN, ReplacementState.FAILED, ReplacementState.ABANDONED)

    @property
    def leaves_complete(self) -> bool:
        """Whether a list that it changed holds no part of its people only."""
        return self in (ReplacementState.PROVEN, ReplacementState.ABANDONED)


@dataclass(frozen=True)
class StoredSnapshot:
    """A frozen snapshot: where its file is, and what it holds."""

    mandator: str
    list: str
    rows: int
    digest: str
    file: str
    run_id: str
    created_at: datetime
    id: str
    people_of: datetime | None = None
    """The moment that people and lists show, where a copy or a delivery of the CRM was read."""
    consents_of: datetime | None = None
    """That of consents and bounces."""
    plan_id: str | None = None
    """The plan that it was stored for. No run takes it for its own."""


@dataclass(frozen=True)
class Replacement:
    """One replacement of one recipient list. Counts are of rows, and None where it didn't get that far."""

    mandator: str
    list: str
    recipient_list_id: int
    run_id: str
    snapshot_id: str
    state: ReplacementState
    started_at: datetime
    id: str
    baseline_rows: int | None = None
    cleared_at: datetime | None = None
    finished_at: datetime | None = None
    sent: int | None = None
    accepted: int | None = None
    swept: int | None = None
    in_list: int | None = None
    proof: str | None = None
    error: str | None = None
    strategy: str | None = None
    resumes: str | None = None
    """The unfinished replacement whose half-filled list this one goes on filling."""
    replayed: bool | None = None
    """Whether an operator requested this earlier snapshot."""
    dropped: int | None = None
    """Rows of the snapshot that the last check before sending took out."""
    entity_types: str | None = None
    """JSON: how many rows were to be in the list, by entity type."""
    id_attribute: str | None = None
    """The attribute by which the proof read recipient ids; None where the vendor's list has none."""
    address_attribute: str | None = None
    """The attribute by which it read addresses."""
    approved_plan_id: str | None = None
    """The plan whose approval it needed, for what was in the list before or for its size."""


class Snapshots:
    """All frozen snapshots."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, mandator: str, name: str, rows: int, file: tuple[str, str], run_id: str,
            now: datetime, people_of: datetime | None = None, consents_of: datetime | None = None,
            plan_id: str | None = None) -> StoredSnapshot:  # fmt: skip
        """Record a frozen snapshot; `file` is its name and digest in the file storage. See `StoredSnapshot`."""
        path, digest = file
        entry = StoredSnapshot(
            mandator, name, rows, digest, path, run_id, now, str(uuid4()), people_of, consents_of, plan_id
        )
        with self._engine.begin() as connection:
            connection.execute(snapshot.insert().values(**vars(entry)))
        return entry

    def get(self, snapshot_id: str) -> StoredSnapshot | None:
        """Return the snapshot of that id; None where there is none."""
        with self._engine.connect() as connection:
            row = connection.execute(select(snapshot).where(snapshot.c.id == snapshot_id)).first()
        return StoredSnapshot(**row._mapping) if row else None

    def latest(self, mandator: str, name: str) -> StoredSnapshot | None:
        """Return the newest snapshot of a list that a run made; None where there is none."""
        query = (
            select(snapshot)
            .where(snapshot.c.mandator == mandator, snapshot.c.list == name, snapshot.c.plan_id.is_(None))
            .order_by(desc(snapshot.c.created_at))
            .limit(1)
        )
        with self._engine.connect() as connection:
            row = connection.execute(query).first()
        return StoredSnapshot(**row._mapping) if row else None

    def newest(self) -> dict[tuple[str, str], StoredSnapshot]:
        """Return the newest snapshot of every list that a run made, by mandator and list."""
        lists, of_list = one_row_per_key(snapshot, "mandator", "list"), snapshot.alias()
        newest_id = (
            select(of_list.c.id)
            .where(of_list.c.mandator == lists.c.mandator, of_list.c.list == lists.c.list, of_list.c.plan_id.is_(None))
            .order_by(desc(of_list.c.created_at))
            .limit(1)
            .correlate(lists)
            .scalar_subquery()
        )
        query = select(snapshot).join(lists, snapshot.c.id == newest_id)
        with self._engine.connect() as connection:
            return {(row.mandator, row.list): StoredSnapshot(**row._mapping) for row in connection.execute(query)}


class Replacements:
    """All replacements, with their steps.

    Args:
        engine: the state database.
        keyed: returns what is stored instead of the digest of a step.
    """

    def __init__(self, engine: Engine, keyed: Callable[[str], str]) -> None:
        self._engine, self._keyed = engine, keyed

    def start(self, entry: Replacement) -> StepLog:
        """Record that a replacement was admitted and begins. Return the log of its steps."""
        with self._engine.begin() as connection:
            connection.execute(replace.insert().values(**vars(entry)))
        return StepLog(self._engine, entry.id, lambda: datetime.now(UTC), self._keyed)

    def steps(self, replace_id: str) -> list[Step]:
        """Return the steps of a replacement."""
        return StepLog(self._engine, replace_id, lambda: datetime.now(UTC), self._keyed).all()

    def begin_changes(self, replace_id: str, *, clears: bool, incomplete_since: datetime) -> None:
        """Record that the list will be changed, and since when it is incomplete, even by an earlier replacement."""
        state = ReplacementState.CLEARING if clears else ReplacementState.FILLING
        self._update(replace_id, state=state, cleared_at=incomplete_since)

    def begin_proof(self, replace_id: str, *, sent: int, accepted: int) -> None:
        """Record that all rows were sent, and how many of them the vendor accepted."""
        self._update(replace_id, state=ReplacementState.PROVING, sent=sent, accepted=accepted)

    def record_proof(
        self,
        replace_id: str,
        *,
        swept: int,
        in_list: int,
        proof: str,
        id_attribute: str | None,
        address_attribute: str | None,
    ) -> None:
        """Record what was read back, whether it proves the list or not. See `Replacement` for the values."""
        attributes = {"id_attribute": id_attribute, "address_attribute": address_attribute}
        self._update(replace_id, swept=swept, in_list=in_list, proof=proof, **attributes)

    def mark_proven(self, replace_id: str, finished_at: datetime) -> None:
        """Record that the list is complete."""
        self._update(replace_id, state=ReplacementState.PROVEN, finished_at=finished_at)

    def mark_failed(self, replace_id: str, finished_at: datetime, error: str) -> None:
        """Record that the replacement failed, and why."""
        self._update(replace_id, state=ReplacementState.FAILED, finished_at=finished_at, error=error)

    def mark_abandoned(self, replace_id: str) -> None:
        """Record that the list that a replacement left incomplete is empty, or doesn't exist any more."""
        self._update(replace_id, state=ReplacementState.ABANDONED)

    def _update(self, replace_id: str, **values: object) -> None:
        with self._engine.begin() as connection:
            connection.execute(update(replace).where(replace.c.id == replace_id).values(values))

    def last_proven(self, mandator: str, name: str, recipient_list_id: int | None = None) -> Replacement | None:
        """Return the newest replacement that ended in a proof; None where there is none.

        With `recipient_list_id`, the newest of that list at the vendor: the configuration may have named another one.
        """
        return self._newest(mandator, name, replace.c.state == ReplacementState.PROVEN, recipient_list_id)

    def proven_snapshots(self, mandator: str, name: str) -> list[str]:
        """Return the ids of the snapshots that a list was proven to hold, newest first."""
        query = (
            select(replace.c.snapshot_id)
            .where(replace.c.mandator == mandator, replace.c.list == name, replace.c.state == ReplacementState.PROVEN)
            .order_by(desc(replace.c.started_at))
        )
        with self._engine.connect() as connection:
            return list(dict.fromkeys(connection.execute(query).scalars()))

    def proven_sizes(self, mandator: str, name: str, most: int, recipient_list_id: int) -> list[dict[str, int]]:
        """Return the rows by entity type of the `most` newest proven replacements, newest first.

        An accepted or approved size begins a new history: sizes before it are left out, as are those of other lists
        at the vendor.
        """
        accepted = select(size_acceptance.c.run_id).where(
            size_acceptance.c.mandator == mandator, size_acceptance.c.list == name
        )
        query = (
            select(replace.c.entity_types, or_(replace.c.run_id.in_(accepted), replace.c.approved_plan_id.is_not(None)))
            .where(
                replace.c.mandator == mandator,
                replace.c.list == name,
                replace.c.recipient_list_id == recipient_list_id,
                replace.c.state == ReplacementState.PROVEN,
                replace.c.entity_types.is_not(None),
            )
            .order_by(desc(replace.c.started_at))
            .limit(most)
        )
        sizes = []
        with self._engine.connect() as connection:
            for text, was_accepted in connection.execute(query):
                sizes.append(json.loads(text))
                if was_accepted:
                    break
        return sizes

    def next_start(self, mandator: str, name: str, now: datetime) -> datetime:
        """Return a start time for a new entry: now, but after every other, since the clocks of machines differ."""
        query = select(func.max(replace.c.started_at, type_=replace.c.started_at.type)).where(
            replace.c.mandator == mandator, replace.c.list == name
        )
        with self._engine.connect() as connection:
            newest: datetime | None = connection.execute(query).scalar()
        return max(now, newest + timedelta(microseconds=1)) if newest else now

    def cleared_for(self, entry: Replacement) -> bool:
        """Return whether the list is known to be cleared for this replacement, or for one that it resumed."""
        current: Replacement | None = entry
        while current is not None:
            if any(step.step == CLEAR and step.outcome is StepOutcome.DONE for step in self.steps(current.id)):
                return True
            current = self._first(select(replace).where(replace.c.id == current.resumes)) if current.resumes else None
        return False

    def first(self, mandator: str, name: str, recipient_list_id: int) -> Replacement | None:
        """Return the oldest replacement: the only one before which that list at the vendor was untouched."""
        is_list = and_(replace.c.list == name, replace.c.recipient_list_id == recipient_list_id)
        return self._first(
            select(replace).where(replace.c.mandator == mandator, is_list).order_by(replace.c.started_at).limit(1)
        )

    def incomplete(self, mandator: str, name: str, recipient_list_id: int | None = None) -> Replacement | None:
        """Return the newest replacement that changed the list, if it wasn't proven; None where the list is complete.

        With `recipient_list_id`, of that list at the vendor: what a former one of this name holds says nothing of it.
        """
        newest = self._newest(mandator, name, replace.c.cleared_at.is_not(None), recipient_list_id)
        return newest if newest and not newest.state.leaves_complete else None

    def of_run(self, run_id: str, name: str) -> Replacement | None:
        """Return a run's replacement of a list; the newest where retries made several."""
        return self._first(
            select(replace)
            .where(replace.c.run_id == run_id, replace.c.list == name)
            .order_by(desc(replace.c.started_at))
            .limit(1)
        )

    def _newest(
        self, mandator: str, name: str, condition: Any, recipient_list_id: int | None = None
    ) -> Replacement | None:
        query = select(replace).where(replace.c.mandator == mandator, replace.c.list == name, condition)
        if recipient_list_id is not None:
            query = query.where(replace.c.recipient_list_id == recipient_list_id)
        return self._first(query.order_by(desc(replace.c.started_at)).limit(1))

    def _first(self, query: Any) -> Replacement | None:
        with self._engine.connect() as connection:
            row: Row[Any] | None = connection.execute(query).first()
        return as_replacement(row) if row else None


def as_replacement(row: Row[Any]) -> Replacement:
    """Return a row of the table `replace` as a replacement."""
    return Replacement(**{**row._mapping, "state": ReplacementState(row.state)})


class Rejections:
    """All who were selected and aren't in the list, with stage and reason. Contains CRM ids, never addresses."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def record(self, mandator: str, name: str, rejections: pd.DataFrame, run_id: str) -> None:
        """Store rejections (columns `domain.selection.REJECTION_COLUMNS`). Known ones keep their first date."""
        now = datetime.now(UTC)
        common = {"mandator": mandator, "list": name, "first_seen": now, "last_seen": now, "run_id": run_id}
        people = rejections.astype("object").where(rejections.notna(), None).to_dict("records")
        rows = [{**common, **person} for person in people]
        with self._engine.begin() as connection:
            upsert(connection, rejection, rows, update=("vendor_code", "last_seen", "run_id"))

    def counts(self, run_id: str, mandator: str, name: str) -> dict[tuple[str, str], int]:
        """Return how many people a run rejected from a list, by stage and reason."""
        query = (
            select(rejection.c.stage, rejection.c.reason, func.count())
            .where(rejection.c.run_id == run_id, rejection.c.mandator == mandator, rejection.c.list == name)
            .group_by(rejection.c.stage, rejection.c.reason)
        )
        with self._engine.connect() as connection:
            return {(stage, reason): count for stage, reason, count in connection.execute(query)}
