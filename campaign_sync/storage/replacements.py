"""What was frozen, what was done to each recipient list, and who didn't get in."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import uuid4

import pandas as pd
from sqlalchemy import Engine, Row, desc, func, select, update

from campaign_sync.storage.replacement_steps import CLEAR, Step, StepLog, StepOutcome
from campaign_sync.storage.tables import rejection, replace, size_acceptance, snapshot
from campaign_sync.storage.upsert import upsert


class ReplacementState(StrEnum):
    """How far a replace has come. Between `CLEARING` and `PROVEN` the vendor's list is incomplete."""

    ADMITTED = "admitted"
    CLEARING = "clearing"
    FILLING = "filling"
    PROVING = "proving"
    PROVEN = "proven"
    FAILED = "failed"
    """The call that failed is in `error`. The list is incomplete if `cleared_at` is set, else it is untouched."""


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


@dataclass(frozen=True)
class Replacement:
    """One replace of one recipient list. Counts are of rows; None where it never came to that."""

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
    """The broken replace whose half-filled list this one goes on filling."""
    replayed: bool | None = None
    """Whether somebody asked to go back to this snapshot."""
    dropped: int | None = None
    """Rows of the snapshot that the last look before sending took out."""
    entity_types: str | None = None
    """JSON: how many rows were to be in the list, by entity type."""
    id_attribute: str | None = None
    """Under which name the proof read recipient ids; None where the vendor's list didn't give them out."""
    address_attribute: str | None = None
    """Under which name it read addresses."""


class Snapshots:
    """Every snapshot that was ever frozen."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, mandator: str, name: str, rows: int, file: tuple[str, str], run_id: str,
            now: datetime) -> StoredSnapshot:  # fmt: skip
        """Note a frozen snapshot; `file` is its name and digest in the frame storage."""
        path, digest = file
        entry = StoredSnapshot(mandator, name, rows, digest, path, run_id, now, str(uuid4()))
        with self._engine.begin() as connection:
            connection.execute(snapshot.insert().values(**vars(entry)))
        return entry

    def get(self, snapshot_id: str) -> StoredSnapshot | None:
        """The snapshot of that id."""
        with self._engine.connect() as connection:
            row = connection.execute(select(snapshot).where(snapshot.c.id == snapshot_id)).first()
        return StoredSnapshot(**row._mapping) if row else None

    def latest(self, mandator: str, name: str) -> StoredSnapshot | None:
        """The newest snapshot of a list."""
        query = (
            select(snapshot)
            .where(snapshot.c.mandator == mandator, snapshot.c.list == name)
            .order_by(desc(snapshot.c.created_at))
            .limit(1)
        )
        with self._engine.connect() as connection:
            row = connection.execute(query).first()
        return StoredSnapshot(**row._mapping) if row else None


class Replacements:
    """Every replace, step by step."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def start(self, entry: Replacement) -> StepLog:
        """Note that a replace has passed the gate and begins; returns where its steps are written down."""
        with self._engine.begin() as connection:
            connection.execute(replace.insert().values(**vars(entry)))
        return StepLog(self._engine, entry.id, lambda: datetime.now(UTC))

    def steps(self, replace_id: str) -> list[Step]:
        """The steps of a replace."""
        return StepLog(self._engine, replace_id, lambda: datetime.now(UTC)).all()

    def begin_changes(self, replace_id: str, *, clears: bool, incomplete_since: datetime) -> None:
        """Note that the list is about to be changed, and since when it is incomplete, be it by an earlier one."""
        state = ReplacementState.CLEARING if clears else ReplacementState.FILLING
        self._update(replace_id, state=state, cleared_at=incomplete_since)

    def begin_proof(self, replace_id: str, *, sent: int, accepted: int) -> None:
        """Note that all rows were sent, and how many of them the vendor accepted."""
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
        """Note what was read back, whether it proves the list or not. See `Replacement` for the values."""
        attributes = {"id_attribute": id_attribute, "address_attribute": address_attribute}
        self._update(replace_id, swept=swept, in_list=in_list, proof=proof, **attributes)

    def mark_proven(self, replace_id: str, finished_at: datetime) -> None:
        """Note that the list is complete."""
        self._update(replace_id, state=ReplacementState.PROVEN, finished_at=finished_at)

    def mark_failed(self, replace_id: str, finished_at: datetime, error: str) -> None:
        """Note that the replacement failed, and why."""
        self._update(replace_id, state=ReplacementState.FAILED, finished_at=finished_at, error=error)

    def _update(self, replace_id: str, **values: object) -> None:
        with self._engine.begin() as connection:
            connection.execute(update(replace).where(replace.c.id == replace_id).values(values))

    def last_proven(self, mandator: str, name: str) -> Replacement | None:
        """The newest replace that ended in a proof."""
        return self._newest(mandator, name, replace.c.state == ReplacementState.PROVEN)

    def proven_snapshots(self, mandator: str, name: str) -> list[str]:
        """The ids of the snapshots that a list was proven to hold, newest first."""
        query = (
            select(replace.c.snapshot_id)
            .where(replace.c.mandator == mandator, replace.c.list == name, replace.c.state == ReplacementState.PROVEN)
            .order_by(desc(replace.c.started_at))
        )
        with self._engine.connect() as connection:
            return list(dict.fromkeys(connection.execute(query).scalars()))

    def proven_sizes(self, mandator: str, name: str, most: int) -> list[dict[str, int]]:
        """How many rows by entity type the newest proven replaces put into the list, newest first.

        A size that somebody accepted begins a new history: what was before it means nothing any more.
        """
        accepted = select(size_acceptance.c.run_id).where(
            size_acceptance.c.mandator == mandator, size_acceptance.c.list == name
        )
        query = (
            select(replace.c.entity_types, replace.c.run_id.in_(accepted))
            .where(
                replace.c.mandator == mandator,
                replace.c.list == name,
                replace.c.state == ReplacementState.PROVEN,
                replace.c.entity_types.is_not(None),
            )
            .order_by(desc(replace.c.started_at))
            .limit(most)
        )
        sizes = []
        with self._engine.connect() as connection:
            for text, begins_anew in connection.execute(query):
                sizes.append(json.loads(text))
                if begins_anew:
                    break
        return sizes

    def attempts_since_proof(self, mandator: str, name: str) -> int:
        """How many replaces have changed the list since the last one that was proven."""
        proven = self.last_proven(mandator, name)
        query = select(func.count()).where(
            replace.c.mandator == mandator, replace.c.list == name, replace.c.cleared_at.is_not(None)
        )
        if proven:
            query = query.where(replace.c.started_at > proven.started_at)
        with self._engine.connect() as connection:
            return connection.execute(query).scalar_one()

    def next_start(self, mandator: str, name: str, now: datetime) -> datetime:
        """A moment for a new entry: now, but after every other one, for the clocks of machines disagree."""
        query = select(func.max(replace.c.started_at, type_=replace.c.started_at.type)).where(
            replace.c.mandator == mandator, replace.c.list == name
        )
        with self._engine.connect() as connection:
            newest: datetime | None = connection.execute(query).scalar()
        return max(now, newest + timedelta(microseconds=1)) if newest else now

    def cleared_for(self, entry: Replacement) -> bool:
        """Whether the list is known to have been cleared for this replace, or for the one it went on with."""
        seen: Replacement | None = entry
        while seen is not None:
            if any(step.step == CLEAR and step.outcome is StepOutcome.DONE for step in self.steps(seen.id)):
                return True
            seen = self._one(select(replace).where(replace.c.id == seen.resumes)) if seen.resumes else None
        return False

    def first(self, mandator: str, name: str) -> Replacement | None:
        """The oldest replace: the only one that saw the list before we touched it."""
        return self._one(
            select(replace)
            .where(replace.c.mandator == mandator, replace.c.list == name)
            .order_by(replace.c.started_at)
            .limit(1)
        )

    def incomplete(self, mandator: str, name: str) -> Replacement | None:
        """The newest replace, if it cleared the list and never got to its proof; None when all is well."""
        newest = self._newest(mandator, name, replace.c.cleared_at.is_not(None))
        return newest if newest and newest.state is not ReplacementState.PROVEN else None

    def proven_since(self, recipient_list_id: int, moment: datetime) -> bool:
        """Whether a replace of the vendor's list, whatever it was called, began since then and ended in a proof."""
        query = select(replace.c.id).where(
            replace.c.recipient_list_id == recipient_list_id,
            replace.c.state == ReplacementState.PROVEN,
            replace.c.started_at > moment,
        )
        with self._engine.connect() as connection:
            return connection.execute(query.limit(1)).first() is not None

    def of_run(self, run_id: str, name: str) -> Replacement | None:
        """The replace of a list that a run has done; the newest, when retries made several."""
        return self._one(
            select(replace)
            .where(replace.c.run_id == run_id, replace.c.list == name)
            .order_by(desc(replace.c.started_at))
            .limit(1)
        )

    def _newest(self, mandator: str, name: str, condition: Any) -> Replacement | None:
        return self._one(
            select(replace)
            .where(replace.c.mandator == mandator, replace.c.list == name, condition)
            .order_by(desc(replace.c.started_at))
            .limit(1)
        )

    def _one(self, query: Any) -> Replacement | None:
        with self._engine.connect() as connection:
            row: Row[Any] | None = connection.execute(query).first()
        return Replacement(**{**row._mapping, "state": ReplacementState(row.state)}) if row else None


class Rejections:
    """Everybody who was picked and isn't in the list, with stage and reason. Names CRM ids, never addresses."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def record(self, mandator: str, name: str, rejections: pd.DataFrame, run_id: str) -> None:
        """Enter rejections (columns `domain.selection.REJECTION_COLUMNS`); who is known keeps their first date."""
        now = datetime.now(UTC)
        common = {"mandator": mandator, "list": name, "first_seen": now, "last_seen": now, "run_id": run_id}
        people = rejections.astype("object").where(rejections.notna(), None).to_dict("records")
        rows = [{**common, **person} for person in people]
        with self._engine.begin() as connection:
            upsert(connection, rejection, rows, update=("vendor_code", "last_seen", "run_id"))

    def counts(self, run_id: str, mandator: str, name: str) -> dict[tuple[str, str], int]:
        """How many people a run turned away from a list, by stage and reason."""
        query = (
            select(rejection.c.stage, rejection.c.reason, func.count())
            .where(rejection.c.run_id == run_id, rejection.c.mandator == mandator, rejection.c.list == name)
            .group_by(rejection.c.stage, rejection.c.reason)
        )
        with self._engine.connect() as connection:
            return {(stage, reason): count for stage, reason, count in connection.execute(query)}
