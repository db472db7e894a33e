"""Removal of rows of the state database that are kept no longer, and of names in those that stay.

Rows that decide whether a person may be written to have no age: `unmatched_feedback`, `refused_withdrawal`,
`unsubscribed_recipient`, `list_unsubscribe`, `blocked_address`, `known_withdrawal`, `consent_observation`,
`unshown_withdrawal` and `unshown_bounce` end with what they are about.
"""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, Engine, Table, and_, delete, func, or_, select, union_all, update

from campaign_sync.domain.consent_state import ACCEPTED_BY_SETTING
from campaign_sync.storage.consent_tables import consent_observation, shown_withdrawal
from campaign_sync.storage.replacement_history import ProvenList, ReplacementHistory
from campaign_sync.storage.tables import (
    approval,
    feedback_import,
    inquiry,
    list_plan,
    rejection,
    replace,
    size_acceptance,
    snapshot,
    withdrawal_acceptance,
)
from campaign_sync.storage.tables import write_back as write_backs

COMPARED: Final = 2
"""How many of the newest proven snapshots of a list are compared with each other."""

REMOVED_NAME: Final = "(removed)"
"""Replaces the name of a person who accepted something, once it is kept no longer."""

_BEFORE_A_SNAPSHOT: Final = timedelta(days=7)
"""How long before a snapshot a rejection that explains it was recorded at most."""


class ExpiredRows:
    """Removes what is older than its limit, by age and by what still needs it."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self._history = engine, ReplacementHistory(engine)

    def last_activity(self) -> dict[str, datetime]:
        """Return when feedback of each mandator was last imported, or a list of it last replaced."""
        moments = [
            select(table.c.mandator, func.max(moment, type_=moment.type).label("at")).group_by(table.c.mandator)
            for table, moment in (
                (replace, replace.c.started_at),
                (feedback_import, feedback_import.c.imported_at),
            )
        ]
        activity: dict[str, datetime] = {}
        with self._engine.connect() as connection:
            for mandator, at in connection.execute(union_all(*moments)):
                activity[mandator] = max(at, activity.get(mandator, at))
        return activity

    def remove_rejections(self, mandator: str, lists: Collection[str], before: datetime) -> int:
        """Remove a mandator's rejections that explain no snapshot since a moment. Return how many.

        Args:
            mandator: its key.
            lists: the keys of its lists, the newest proofs of which stay explained.
            before: from when on all snapshots are kept.
        """
        names = select(rejection.c.list).where(rejection.c.mandator == mandator).distinct()
        with self._engine.connect() as connection:
            recorded = list(connection.execute(names).scalars())
        removed = 0
        for name in recorded:
            newest = self._history.proven(mandator, name)[:COMPARED] if name in lists else []
            removed += self._delete(
                rejection,
                rejection.c.mandator == mandator,
                rejection.c.list == name,
                rejection.c.last_seen < before - _BEFORE_A_SNAPSHOT,
                *(~_may_explain(proven) for proven in newest),
            )
        return removed

    def remove_write_backs(self, mandator: str, before: datetime) -> int:
        """Remove records of what a mandator's feedback led to in the CRM. Return how many.

        A row that is read again must be about the same consents as before: records of rows in kept files stay, and
        those of deliveries, which may repeat everything. What the vendor gives out again is younger.
        """
        readable = select(feedback_import.c.id).where(
            or_(feedback_import.c.removed_at.is_(None), feedback_import.c.since == feedback_import.c.until)
        )
        row_is_gone = or_(write_backs.c.import_id.is_(None), write_backs.c.import_id.not_in(readable))
        removed = self._delete(
            write_backs, write_backs.c.mandator == mandator, write_backs.c.written_at < before, row_is_gone
        )
        recorded = select(write_backs.c.event_id).where(write_backs.c.event_id.is_not(None))
        self._delete(
            shown_withdrawal, shown_withdrawal.c.written_at < before, shown_withdrawal.c.event_id.not_in(recorded)
        )
        return removed

    def remove_names(self, before: datetime) -> int:
        """Remove who accepted, approved or dismissed something, and why. Return in how many places.

        That it was accepted stays: sizes are compared only with those since.
        """
        anonymous = {"accepted_by": REMOVED_NAME, "reason": ""}
        observed, dismissed = consent_observation.c, feedback_import.c
        changes = [
            (table, [table.c.accepted_at < before, table.c.accepted_by != REMOVED_NAME], anonymous)
            for table in (size_acceptance, withdrawal_acceptance)
        ]
        changes += [
            (
                approval,
                [approval.c.approved_at < before, approval.c.approved_by != REMOVED_NAME],
                {"approved_by": REMOVED_NAME, "reason": ""},
            ),
            (
                consent_observation,
                [observed.accepted_at < before, observed.accepted_by.not_in([REMOVED_NAME, ACCEPTED_BY_SETTING])],
                {"accepted_by": REMOVED_NAME},
            ),
        ]
        named = [dismissed.dismissed_at < before, dismissed.dismissed_by != REMOVED_NAME]
        changes.append((feedback_import, named, {"dismissed_by": REMOVED_NAME, "dismissed_because": ""}))
        with self._engine.connect() as connection:  # a search of millions keeps no run from writing meanwhile
            needed = [change for change in changes if connection.execute(select(1).where(*change[1]).limit(1)).first()]
        with self._engine.begin() as connection:
            return sum(
                connection.execute(update(table).where(*conditions).values(values)).rowcount
                for table, conditions, values in needed
            )

    def remove_inquiries(self, before: datetime) -> int:
        """Remove who asked before a moment. Return how many inquiries."""
        return self._delete(inquiry, inquiry.c.asked_at < before)

    def plan_files(self, mandator: str, before: datetime) -> list[str]:
        """Return the files of plans of before a moment, without the rows that a replacement has used."""
        used = select(replace.c.snapshot_id).where(replace.c.mandator == mandator)
        rows = select(snapshot.c.file).where(
            snapshot.c.mandator == mandator,
            snapshot.c.plan_id.is_not(None),
            snapshot.c.created_at < before,
            snapshot.c.id.not_in(used),
        )
        rejected = select(list_plan.c.rejections_file).where(
            list_plan.c.mandator == mandator, list_plan.c.planned_at < before
        )
        with self._engine.connect() as connection:
            return list(connection.execute(union_all(rows, rejected)).scalars())

    def _delete(self, table: Table, *conditions: ColumnElement[bool]) -> int:
        with self._engine.begin() as connection:
            return connection.execute(delete(table).where(*conditions)).rowcount


def _may_explain(proven: ProvenList) -> ColumnElement[bool]:
    """Return `Rejection.may_explain` in SQL, or a little more: see `ReplacementHistory`."""
    own = rejection.c.run_id.in_([proven.run_id, proven.snapshot_run_id])
    seen = rejection.c.first_seen <= proven.proven_at
    return or_(own, and_(seen, rejection.c.last_seen > proven.since)) if proven.since else or_(own, seen)
