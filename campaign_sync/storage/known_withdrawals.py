"""Withdrawals that the CRM has shown, so that one that vanishes from it still counts."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Column, ColumnElement, Engine, bindparam, delete, func, select, update

from campaign_sync.domain.vanished_withdrawals import KnownWithdrawal
from campaign_sync.storage.consent_observations import accept_refused
from campaign_sync.storage.id_batches import batches
from campaign_sync.storage.tables import known_withdrawal as withdrawals
from campaign_sync.storage.tables import withdrawal_acceptance as acceptances
from campaign_sync.storage.upsert import upsert


@dataclass(frozen=True)
class WithdrawalAcceptance:
    """An operator's acceptance, for one run, that withdrawals reported as vanished by an earlier run don't count."""

    run_id: str
    mandator: str
    list: str
    accepted_by: str
    reason: str
    accepted_at: datetime


class KnownWithdrawals:
    """The newest withdrawal by mandator, opt-in and entity. People appear as keyed pseudonyms only."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def all(self, mandator: str, opt_in_id: str) -> dict[str, KnownWithdrawal]:
        """Return the withdrawals of one opt-in, by entity."""
        columns = withdrawals.c["entity", "address", "withdrawn_at", "missing_since", "absent_since"]
        query = select(*columns).where(_of(mandator, opt_in_id))
        with self._engine.connect() as connection:
            return {row.entity: KnownWithdrawal(*row) for row in connection.execute(query)}

    def count(self, mandator: str, opt_in_id: str) -> int:
        """Return how many withdrawals of one opt-in are known."""
        query = select(func.count()).select_from(withdrawals).where(_of(mandator, opt_in_id))
        with self._engine.connect() as connection:
            return int(connection.execute(query).scalar_one())

    def remember(self, mandator: str, opt_in_id: str, seen: Collection[KnownWithdrawal]) -> None:
        """Store these, replacing what was known of the same entities, unless another run has seen a newer one since."""
        if not seen:
            return
        rows = [{"mandator": mandator, "opt_in_id": opt_in_id, **withdrawal._asdict()} for withdrawal in sorted(seen)]
        with self._engine.begin() as connection:
            upsert(
                connection,
                withdrawals,
                rows,
                update=("address", "withdrawn_at", "missing_since", "absent_since"),
                where=lambda seen_now: seen_now.withdrawn_at >= withdrawals.c.withdrawn_at,
            )

    def forget(self, mandator: str, opt_in_id: str, superseded: Mapping[str, datetime]) -> None:
        """Delete the withdrawals of entities that have consented again.

        Args:
            mandator: a key of the configuration.
            opt_in_id: an opt-in of this mandator.
            superseded: the withdrawals by entity; one that another run has seen since, which is newer, stays.
        """
        if not superseded:
            return
        is_it = withdrawals.c.entity == bindparam("superseded"), withdrawals.c.withdrawn_at <= bindparam("at")
        rows = [{"superseded": entity, "at": at} for entity, at in sorted(superseded.items())]
        with self._engine.begin() as connection:
            connection.execute(delete(withdrawals).where(_of(mandator, opt_in_id), *is_it), rows)

    def mark_missing(
        self, mandator: str, opt_in_id: str, entities: Collection[str], now: datetime, *, exactly: bool = True
    ) -> None:
        """Record that these entities' withdrawals have vanished. Those recorded before keep their time.

        With `exactly`, all others haven't.
        """
        self._mark(withdrawals.c.missing_since, mandator, opt_in_id, entities, now, exactly=exactly)

    def mark_absent(self, mandator: str, opt_in_id: str, entities: Collection[str], now: datetime) -> None:
        """Record that exactly these entities' withdrawals are absent, and everybody who consents was compared."""
        self._mark(withdrawals.c.absent_since, mandator, opt_in_id, entities, now)

    def _mark(
        self,
        column: Column[datetime],
        mandator: str,
        opt_in_id: str,
        entities: Collection[str],
        now: datetime,
        *,
        exactly: bool = True,
    ) -> None:
        """Set the time of these entities' withdrawals where it isn't set; with `exactly`, remove it of all others."""
        with self._engine.begin() as connection:
            query = select(withdrawals.c.entity).where(_of(mandator, opt_in_id), column.is_not(None))
            before = set(connection.execute(query).scalars())
            ended = before - set(entities) if exactly else set[str]()
            for which, since in ((set(entities) - before, now), (ended, None)):
                for batch in batches(sorted(which)):
                    is_in_batch = _of(mandator, opt_in_id) & withdrawals.c.entity.in_(batch)
                    connection.execute(update(withdrawals).where(is_in_batch).values({column: since}))

    def accept(self, acceptance: WithdrawalAcceptance) -> None:
        """Allow one run to forget withdrawals that an earlier run reported as vanished."""
        with self._engine.begin() as connection:
            upsert(connection, acceptances, [vars(acceptance)], update=("accepted_by", "reason", "accepted_at"))

    def acceptances(self, run_id: str, mandator: str) -> list[WithdrawalAcceptance]:
        """Return what was accepted for a run."""
        names = list(WithdrawalAcceptance.__dataclass_fields__)
        query = select(*acceptances.c[*names]).where(acceptances.c.run_id == run_id, acceptances.c.mandator == mandator)
        with self._engine.connect() as connection:
            return [WithdrawalAcceptance(*row) for row in connection.execute(query)]

    def forget_accepted(self, acceptance: WithdrawalAcceptance, opt_in_id: str) -> int:
        """Delete the withdrawals that were reported before the acceptance. Record and return how many.

        Consents that are granted again without a newer date, and were reported by then, count from now on.
        """
        reported = withdrawals.c.missing_since < acceptance.accepted_at
        is_it = (acceptances.c.run_id == acceptance.run_id) & (acceptances.c.mandator == acceptance.mandator)
        with self._engine.begin() as connection:
            deleted = connection.execute(
                delete(withdrawals).where(_of(acceptance.mandator, opt_in_id), reported)
            ).rowcount
            accept_refused(connection, opt_in_id, acceptance.accepted_at, acceptance.accepted_by)
            connection.execute(
                update(acceptances)
                .where(is_it, acceptances.c.list == acceptance.list)
                .values(withdrawals=func.coalesce(acceptances.c.withdrawals, 0) + deleted)
            )
        return deleted


def _of(mandator: str, opt_in_id: str) -> ColumnElement[bool]:
    return (withdrawals.c.mandator == mandator) & (withdrawals.c.opt_in_id == opt_in_id)
