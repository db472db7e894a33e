"""Queries about earlier replacements: which were proven, what they sent, and whom they rejected."""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Engine, and_, func, or_, select

from campaign_sync.domain.approval import Approval
from campaign_sync.domain.entity import Entity
from campaign_sync.domain.membership import BEFORE_THE_SNAPSHOT, ProvenReplacement, Rejection
from campaign_sync.domain.propagation import ReplacementTimes
from campaign_sync.storage.redactions import RedactedKind, Redaction, read_redactions
from campaign_sync.storage.replacements import ReplacementState
from campaign_sync.storage.tables import approval, rejection, replace, snapshot


@dataclass(frozen=True, kw_only=True)
class ProvenList(ProvenReplacement):
    """A list as a replacement left it, and where the rows that were sent are kept."""

    mandator: str
    list: str
    snapshot_id: str
    file: str
    digest: str
    """SHA-256 of the file."""
    people_of: datetime | None
    consents_of: datetime | None
    """The moments that a copy or a delivery of the CRM showed; None where the CRM itself was read."""
    approval: Approval | None
    """What the replacement relied on, for the list or for its size; None if it needed no approval of a plan."""
    redactions: tuple[Redaction, ...] = ()
    """How the file was replaced after erasures, oldest first."""


@dataclass(frozen=True)
class SentList:
    """Rows that a replacement sent to a recipient list, or was to send, and when it began."""

    recipient_list_id: int
    started_at: datetime
    file: str
    digest: str


class ReplacementHistory:
    """Queries about earlier days. Changes nothing."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def proven(self, mandator: str, name: str, recipient_list_id: int | None = None) -> list[ProvenList]:
        """Return every replacement of a list that ended in a proof, newest first.

        With `recipient_list_id`, of that list at the vendor: the configuration may have named another one before.
        """
        query = (
            select(
                *replace.c["run_id", "state", "started_at", "finished_at", "in_list"],
                *snapshot.c["id", "file", "digest", "created_at", "people_of", "consents_of"],
                snapshot.c.run_id.label("snapshot_run_id"),
                *approval.c["plan_id", "approved_by", "approved_at", "reason"],
            )
            .join(snapshot, snapshot.c.id == replace.c.snapshot_id)
            .outerjoin(approval, approval.c.plan_id == replace.c.approved_plan_id)
            .where(replace.c.mandator == mandator, replace.c.list == name)
            .order_by(replace.c.started_at)
        )
        if recipient_list_id is not None:
            query = query.where(replace.c.recipient_list_id == recipient_list_id)
        proven: list[ProvenList] = []
        unproven = {}
        with self._engine.connect() as connection:
            rows = connection.execute(query).all()
            of_list = select(snapshot.c.id).where(snapshot.c.mandator == mandator, snapshot.c.list == name)
            redactions = read_redactions(connection, RedactedKind.SNAPSHOT, of_list)
            for row in rows:
                ended_at = row.finished_at or row.started_at
                if row.state != ReplacementState.PROVEN:
                    unproven[row.run_id] = ended_at
                    continue
                proven.append(
                    ProvenList(
                        run_id=row.run_id,
                        snapshot_run_id=row.snapshot_run_id,
                        frozen_at=row.created_at,
                        proven_at=ended_at,
                        in_list=row.in_list,
                        since=proven[-1].proven_at if proven else None,
                        retried_after=unproven.get(row.run_id),
                        mandator=mandator,
                        list=name,
                        snapshot_id=row.id,
                        file=row.file,
                        digest=row.digest,
                        people_of=row.people_of,
                        consents_of=row.consents_of,
                        approval=Approval(row.plan_id, row.approved_by, row.approved_at, row.reason)
                        if row.plan_id
                        else None,
                        erased=sum(redaction.members for redaction in redactions.get(row.id, ())),
                        redactions=tuple(redactions.get(row.id, ())),
                    )
                )
        return proven[::-1]

    def proven_times(self, mandator: str, lists: Collection[str], since: datetime) -> dict[str, list[ReplacementTimes]]:
        """Return the times of the proven replacements of these lists with rows that were frozen since then, by list."""
        query = (
            select(*replace.c["list", "started_at", "finished_at"], snapshot.c.created_at)
            .join(snapshot, snapshot.c.id == replace.c.snapshot_id)
            .where(
                replace.c.mandator == mandator,
                replace.c.state == ReplacementState.PROVEN,
                snapshot.c.created_at >= since,
            )
        )
        times: dict[str, list[ReplacementTimes]] = {name: [] for name in lists}
        with self._engine.connect() as connection:
            for row in connection.execute(query):
                if row.list in times:
                    times[row.list].append(ReplacementTimes(row.created_at, row.finished_at or row.started_at))
        return times

    def proven_by(self, snapshot_id: str) -> ProvenList | None:
        """Return the newest replacement that ended in a proof of this snapshot; None where there is none."""
        is_it = (replace.c.snapshot_id == snapshot_id) & (replace.c.state == ReplacementState.PROVEN)
        with self._engine.connect() as connection:
            row = connection.execute(select(*replace.c["mandator", "list"]).where(is_it).limit(1)).first()
        proofs = self.proven(*row) if row else []
        return next((proven for proven in proofs if proven.snapshot_id == snapshot_id), None)

    def sent(self, mandator: str, since: datetime, until: datetime) -> list[SentList]:
        """Return every replacement of that time that changed a list of the mandator, oldest first."""
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
        """Return when the list was last cleared until a moment, and after a proof if `after` is given."""
        query = select(func.max(replace.c.cleared_at, type_=replace.c.cleared_at.type)).where(
            replace.c.mandator == mandator, replace.c.list == name, replace.c.cleared_at <= until
        )
        if after:
            query = query.where(replace.c.cleared_at > after)
        with self._engine.connect() as connection:
            cleared_at: datetime | None = connection.execute(query).scalar_one()
        return cleared_at

    def rejections(self, mandator: str, name: str, people: Collection[Entity]) -> dict[str, list[Rejection]]:
        """Return all rejections of these people from a list, by `entity_type:entity_id`."""
        is_among = (
            and_(rejection.c.entity_type == person.entity_type, rejection.c.entity_id == person.entity_id)
            for person in people
        )
        return self._rejections(mandator, name, or_(*is_among)) if people else {}

    def rejected_rows(self, proven: ProvenList) -> dict[str, list[Rejection]]:
        """Return the rejections of rows of the snapshot that aren't in the list, or may not be."""
        later = rejection.c.stage.not_in(BEFORE_THE_SNAPSHOT)
        return self._rejections(proven.mandator, proven.list, and_(later, self._may_explain(proven)))

    def explanations(self, proven: ProvenList) -> dict[str, list[Rejection]]:
        """Return the rejections of all who may have been kept out of the list at that proof."""
        return self._rejections(proven.mandator, proven.list, self._may_explain(proven))

    def _may_explain(self, proven: ProvenList) -> ColumnElement[bool]:
        """Return `Rejection.may_explain` in SQL, or a little more: a filter that keeps old rows in the database."""
        seen = rejection.c.first_seen <= proven.proven_at
        own = rejection.c.run_id.in_([proven.run_id, proven.snapshot_run_id])
        return or_(own, and_(seen, rejection.c.last_seen > proven.since)) if proven.since else seen

    def _rejections(self, mandator: str, name: str, condition: ColumnElement[bool]) -> dict[str, list[Rejection]]:
        query = select(rejection).where(rejection.c.mandator == mandator, rejection.c.list == name, condition)
        rejections: defaultdict[str, list[Rejection]] = defaultdict(list)
        with self._engine.connect() as connection:
            for row in connection.execute(query):
                rejections[f"{row.entity_type}:{row.entity_id}"].append(
                    Rejection(row.stage, row.reason, row.vendor_code, row.first_seen, row.last_seen, row.run_id)
                )
        return dict(rejections)
