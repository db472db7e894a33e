"""Looking back: which replaces of a list were proven, and what the ledger has on whom."""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Engine, and_, func, or_, select

from campaign_sync.domain.entity import Entity
from campaign_sync.domain.membership import BEFORE_THE_SNAPSHOT, Proven, Rejection
from campaign_sync.storage.replacements import ReplacementState
from campaign_sync.storage.tables import rejection, replace, snapshot


@dataclass(frozen=True, kw_only=True)
class ProvenList(Proven):
    """A list as a replace left it, and where the rows that were sent are kept."""

    mandator: str
    list: str
    snapshot_id: str
    file: str
    digest: str
    """SHA-256 of the file."""


@dataclass(frozen=True)
class SentList:
    """Rows that a replace sent to a recipient list, or meant to: where they are kept, and when it began."""

    recipient_list_id: int
    started_at: datetime
    file: str
    digest: str


class ReplacementHistory:
    """Questions about days that are over. Changes nothing."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def proven(self, mandator: str, name: str) -> list[ProvenList]:
        """Every replace of a list that ended in a proof, newest first."""
        query = (
            select(
                *replace.c["run_id", "state", "started_at", "finished_at", "in_list"],
                *snapshot.c["id", "file", "digest", "created_at"],
                snapshot.c.run_id.label("snapshot_run_id"),
            )
            .join(snapshot, snapshot.c.id == replace.c.snapshot_id)
            .where(replace.c.mandator == mandator, replace.c.list == name)
            .order_by(replace.c.started_at)
        )
        found: list[ProvenList] = []
        given_up = {}
        with self._engine.connect() as connection:
            for row in connection.execute(query):
                ended_at = row.finished_at or row.started_at
                if row.state != ReplacementState.PROVEN:
                    given_up[row.run_id] = ended_at
                    continue
                found.append(
                    ProvenList(
                        run_id=row.run_id,
                        snapshot_run_id=row.snapshot_run_id,
                        frozen_at=row.created_at,
                        proven_at=ended_at,
                        in_list=row.in_list,
                        since=found[-1].proven_at if found else None,
                        retried_after=given_up.get(row.run_id),
                        mandator=mandator,
                        list=name,
                        snapshot_id=row.id,
                        file=row.file,
                        digest=row.digest,
                    )
                )
        return found[::-1]

    def sent(self, mandator: str, since: datetime, until: datetime) -> list[SentList]:
        """Every replace of that time that changed a list of the mandator, oldest first."""
        query = (
            select(*replace.c["recipient_list_id", "started_at"], *snapshot.c["file", "digest"])
            .join(snapshot, snapshot.c.id == replace.c.snapshot_id)
            .where(
                replace.c.mandator == mandator,
                replace.c.cleared_at.is_not(None),
                replace.c.started_at >= since,
                replace.c.started_at <= until,
            )
            .order_by(replace.c.started_at)
        )
        with self._engine.connect() as connection:
            return [SentList(*row) for row in connection.execute(query)]

    def last_cleared(self, mandator: str, name: str, after: datetime | None, until: datetime) -> datetime | None:
        """When the list was last cleared between two moments; `after` a proof that means without a further one."""
        query = select(func.max(replace.c.cleared_at, type_=replace.c.cleared_at.type)).where(
            replace.c.mandator == mandator, replace.c.list == name, replace.c.cleared_at <= until
        )
        if after:
            query = query.where(replace.c.cleared_at > after)
        with self._engine.connect() as connection:
            found: datetime | None = connection.execute(query).scalar_one()
        return found

    def rejections(self, mandator: str, name: str, people: Collection[Entity]) -> dict[str, list[Rejection]]:
        """All the ledger has on these people and a list, by `entity_type:entity_id`."""
        these = (
            and_(rejection.c.entity_type == each.entity_type, rejection.c.entity_id == each.entity_id)
            for each in people
        )
        return self._ledger(mandator, name, or_(*these)) if people else {}

    def rejected_rows(self, proven: ProvenList) -> dict[str, list[Rejection]]:
        """What the ledger has on rows of the snapshot that are not in the list, or may not be."""
        later = rejection.c.stage.not_in(BEFORE_THE_SNAPSHOT)
        return self._ledger(proven.mandator, proven.list, and_(later, self._may_explain(proven)))

    def explanations(self, proven: ProvenList) -> dict[str, list[Rejection]]:
        """What the ledger has on everybody who may have been kept out of the list at that proof."""
        return self._ledger(proven.mandator, proven.list, self._may_explain(proven))

    def _may_explain(self, proven: ProvenList) -> ColumnElement[bool]:
        """`Rejection.may_explain` or a little more, so that what is long over stays in the database."""
        seen = rejection.c.first_seen <= proven.proven_at
        own = rejection.c.run_id.in_([proven.run_id, proven.snapshot_run_id])
        return or_(own, and_(seen, rejection.c.last_seen > proven.since)) if proven.since else seen

    def _ledger(self, mandator: str, name: str, condition: ColumnElement[bool]) -> dict[str, list[Rejection]]:
        query = select(rejection).where(rejection.c.mandator == mandator, rejection.c.list == name, condition)
        found: defaultdict[str, list[Rejection]] = defaultdict(list)
        with self._engine.connect() as connection:
            for row in connection.execute(query):
                found[f"{row.entity_type}:{row.entity_id}"].append(
                    Rejection(row.stage, row.reason, row.vendor_code, row.first_seen, row.last_seen, row.run_id)
                )
        return dict(found)
