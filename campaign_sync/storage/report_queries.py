"""Counts for reports: of replacements, of rejected people, of the vendor's answers. Contains no personal data."""

from collections import Counter
from collections.abc import Collection
from datetime import datetime, timedelta

from sqlalchemy import Engine, and_, func, select

from campaign_sync.domain.rejection import Stage
from campaign_sync.storage.replacements import Replacement, as_replacement
from campaign_sync.storage.tables import rejection, replace, replace_answer, snapshot

KNOWN_FOR = timedelta(days=7)
"""A person rejected within this time before, for any reason, isn't newly rejected."""

Turned = tuple[str, str, int | None]
"""Stage, reason, and the vendor's code where the vendor rejected the row."""


class ReportQueries:
    """Queries that return counts. Changes nothing."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def replacements(self, mandator: str, name: str, since: datetime) -> list[Replacement]:
        """Return every replacement of a list that began since then, however it ended; oldest first."""
        query = (
            select(replace)
            .where(replace.c.mandator == mandator, replace.c.list == name, replace.c.started_at >= since)
            .order_by(replace.c.started_at)
        )
        with self._engine.connect() as connection:
            return [as_replacement(row) for row in connection.execute(query)]

    def rejection_counts(self, entry: Replacement) -> dict[Turned, int] | None:
        """Return how many people an ended replacement, its snapshot and its selection kept out of the list.

        None where a later run has rejected people: that overwrites the rejections of this one.
        """
        of_list = and_(rejection.c.mandator == entry.mandator, rejection.c.list == entry.list)
        later = select(rejection.c.run_id).where(
            of_list, rejection.c.last_seen > entry.finished_at, rejection.c.run_id != entry.run_id
        )
        counts: dict[Turned, int] = {}
        with self._engine.connect() as connection:
            if connection.execute(later.limit(1)).first():
                return None
            frozen_by = connection.execute(select(snapshot.c.run_id).where(snapshot.c.id == entry.snapshot_id)).scalar()
            for run_id, stages in (
                (frozen_by, (Stage.SELECTION, Stage.SNAPSHOT)),
                (entry.run_id, (Stage.GATE, Stage.VENDOR, Stage.SWEEP)),
            ):
                query = (
                    select(rejection.c.stage, rejection.c.reason, rejection.c.vendor_code, func.count())
                    .where(of_list, rejection.c.run_id == run_id, rejection.c.stage.in_(stages))
                    .group_by(rejection.c.stage, rejection.c.reason, rejection.c.vendor_code)
                )
                counts |= {(stage, reason, code): count for stage, reason, code, count in connection.execute(query)}
        return counts

    def new_rejections(self, mandator: str, name: str, since: datetime) -> Counter[tuple[datetime, str]]:
        """Return how many people were newly rejected from a list since then, by moment and reason.

        A person rejected in the week before, for any reason, isn't counted again. There is one row per person and
        reason, so a person who is rejected twice for the same reason counts at the first time only.
        """
        earlier = rejection.alias()
        person = (rejection.c.mandator, rejection.c.list, rejection.c.entity_type, rejection.c.entity_id)
        same_person = [column == earlier.c[column.name] for column in person]
        before = func.max(earlier.c.last_seen, type_=earlier.c.last_seen.type)
        query = (
            select(rejection.c.first_seen, rejection.c.reason, before)
            .outerjoin(earlier, and_(*same_person, earlier.c.first_seen < rejection.c.first_seen))
            .where(rejection.c.mandator == mandator, rejection.c.list == name, rejection.c.first_seen > since)
            .group_by(*rejection.primary_key.columns, rejection.c.first_seen)
        )
        with self._engine.connect() as connection:
            return Counter(
                (first_seen, reason)
                for first_seen, reason, known in connection.execute(query)
                if known is None or known < first_seen - KNOWN_FOR
            )

    def answers(self, replace_ids: Collection[str]) -> dict[str, Counter[int]]:
        """Return how many rows of these replacements the vendor answered with each code, by replacement.

        Of every call that got an answer: a row that was sent again counts again.
        """
        query = (
            select(*replace_answer.c["replace_id", "code"], func.sum(replace_answer.c.rows).label("rows"))
            .where(replace_answer.c.replace_id.in_(replace_ids))
            .group_by(*replace_answer.c["replace_id", "code"])
        )
        answers: dict[str, Counter[int]] = {replace_id: Counter() for replace_id in replace_ids}
        with self._engine.connect() as connection:
            for row in connection.execute(query):
                answers[row.replace_id][row.code] = int(row.rows)
        return answers
