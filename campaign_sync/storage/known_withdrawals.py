"""Which withdrawals the CRM has shown, so that one that vanishes from it goes on counting."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Engine, delete, func, select, update

from campaign_sync.domain.withdrawal import KnownWithdrawal
from campaign_sync.storage.id_batches import batches
from campaign_sync.storage.tables import known_withdrawal as withdrawals
from campaign_sync.storage.tables import withdrawal_acceptance as acceptances
from campaign_sync.storage.upsert import upsert


@dataclass(frozen=True)
class WithdrawalAcceptance:
    """Somebody accepts, for one run, that withdrawals which an earlier run reported as vanished don't count."""

    run_id: str
    mandator: str
    list: str
    accepted_by: str
    reason: str
    accepted_at: datetime


class KnownWithdrawals:
    """Withdrawals by mandator, opt-in and entity: the newest of each. People appear as keyed pseudonyms only."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def all(self, mandator: str, opt_in_id: str) -> dict[str, KnownWithdrawal]:
        """Those of one opt-in, by entity."""
        columns = withdrawals.c["entity", "address", "withdrawn_at", "missing_since"]
        query = select(*columns).where(_of(mandator, opt_in_id))
        with self._engine.connect() as connection:
            return {row.entity: KnownWithdrawal(*row) for row in connection.execute(query)}

    def count(self, mandator: str, opt_in_id: str) -> int:
        """How many there are of one opt-in."""
        query = select(func.count()).select_from(withdrawals).where(_of(mandator, opt_in_id))
        with self._engine.connect() as connection:
            return int(connection.execute(query).scalar_one())

    def remember(self, mandator: str, opt_in_id: str, seen: Collection[KnownWithdrawal]) -> None:
        """Remember these, in place of what was known of the same entities."""
        if not seen:
            return
        rows = [{"mandator": mandator, "opt_in_id": opt_in_id, **each._asdict()} for each in sorted(seen)]
        with self._engine.begin() as connection:
            upsert(connection, withdrawals, rows, update=("address", "withdrawn_at", "missing_since"))

    def forget(self, mandator: str, opt_in_id: str, entities: Collection[str]) -> None:
        """These have consented again."""
        with self._engine.begin() as connection:
            for some in batches(sorted(entities)):
                connection.execute(delete(withdrawals).where(_of(mandator, opt_in_id), withdrawals.c.entity.in_(some)))

    def mark_missing(self, mandator: str, opt_in_id: str, entities: Collection[str], now: datetime) -> None:
        """The withdrawals of these entities, and no others, have vanished; of those known to have, the time stays."""
        with self._engine.begin() as connection:
            query = select(withdrawals.c.entity).where(
                _of(mandator, opt_in_id), withdrawals.c.missing_since.is_not(None)
            )
            before = set(connection.execute(query).scalars())
            for which, since in ((set(entities) - before, now), (before - set(entities), None)):
                for some in batches(sorted(which)):
                    these = _of(mandator, opt_in_id) & withdrawals.c.entity.in_(some)
                    connection.execute(update(withdrawals).where(these).values(missing_since=since))

    def accept(self, acceptance: WithdrawalAcceptance) -> None:
        """Let one run forget what an earlier one reported as vanished."""
        with self._engine.begin() as connection:
            upsert(connection, acceptances, [vars(acceptance)], update=("accepted_by", "reason", "accepted_at"))

    def acceptances(self, run_id: str, mandator: str) -> list[WithdrawalAcceptance]:
        """What was accepted for a run."""
        names = list(WithdrawalAcceptance.__dataclass_fields__)
        query = select(*acceptances.c[*names]).where(acceptances.c.run_id == run_id, acceptances.c.mandator == mandator)
        with self._engine.connect() as connection:
            return [WithdrawalAcceptance(*row) for row in connection.execute(query)]

    def forget_accepted(self, acceptance: WithdrawalAcceptance, opt_in_id: str) -> int:
        """Forget the withdrawals that were reported before they were accepted, and note how many. Returns that."""
        reported = withdrawals.c.missing_since < acceptance.accepted_at
        mine = (acceptances.c.run_id == acceptance.run_id) & (acceptances.c.mandator == acceptance.mandator)
        with self._engine.begin() as connection:
            gone = connection.execute(delete(withdrawals).where(_of(acceptance.mandator, opt_in_id), reported)).rowcount
            connection.execute(
                update(acceptances)
                .where(mine, acceptances.c.list == acceptance.list)
                .values(withdrawals=func.coalesce(acceptances.c.withdrawals, 0) + gone)
            )
        return gone


def _of(mandator: str, opt_in_id: str) -> ColumnElement[bool]:
    return (withdrawals.c.mandator == mandator) & (withdrawals.c.opt_in_id == opt_in_id)
