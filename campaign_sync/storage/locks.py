"""One replace per recipient list at a time, across processes, machines and Dagster instances.

A lease is a row with an expiry that its holder keeps pushing ahead. Who dies stops pushing; who finds an expired lease,
or one whose holder is a process of this machine that is gone, takes it over. A holder that a busy machine keeps from
pushing in time still has it where it wasn't taken over, and makes sure of that before it does anything more.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from uuid import uuid4

from sqlalchemy import Engine, delete, select, update

from campaign_sync.storage.errors import StateError
from campaign_sync.storage.processes import database_now, is_expired, this_process
from campaign_sync.storage.tables import lease
from campaign_sync.storage.upsert import insert_missing

LIFETIME = timedelta(seconds=90)
"""How long a lease outlives the last sign of life of its holder."""

HEARTBEATS_PER_LIFETIME = 6
"""How many a holder gives per lifetime."""


class ListLockedError(Exception):
    """Somebody else is replacing this list."""

    def __init__(self, owner: str, run_id: str, since: datetime, until: datetime) -> None:
        super().__init__(
            f"run {run_id} is replacing it, on {owner.split()[0]}, since {since:%Y-%m-%d %H:%M:%S} UTC; "
            f"wait until it is done, or until {until:%H:%M:%S} UTC should it be dead"
        )


class ListLockLostError(Exception):
    """We held the lease and can't prove it any more, so nothing further may be done to the list."""


class ListLock:
    """A lease that is held. Ask `require` before every call that changes the list."""

    def __init__(self, push: Callable[[], bool]) -> None:
        """`push` pushes the row's expiry ahead; False if it isn't ours any more."""
        self._push = push
        self._sure_until = _clock()
        self.lost = threading.Event()

    def renewed(self, begun: float) -> None:
        """The row was pushed ahead by a statement begun at that moment of our clock."""
        self._sure_until = begun + LIFETIME.total_seconds() * 0.8

    def renew(self) -> None:
        """Push the row ahead, or note that it isn't ours any more."""
        begun = _clock()
        if self._push():
            self.renewed(begun)
        else:
            self.lost.set()

    def require(self) -> None:
        """Make sure that nobody can have taken the lease over.

        Raises:
            LeaseLostError: somebody has, or the state database doesn't tell.
        """
        if not self.lost.is_set() and _clock() > self._sure_until:
            with suppress(StateError):
                self.renew()
        if self.lost.is_set() or _clock() > self._sure_until:
            raise ListLockLostError(
                "the lease of the list was lost: the state database (storage.state_url) was out of reach for too "
                "long, or this process stood still"
            )


class ListLocks:
    """The leases of all recipient lists, by the vendor's list id."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @contextmanager
    def acquire(self, recipient_list_id: int, run_id: str) -> Iterator[ListLock]:
        """Hold the list's lease as long as the context lasts.

        Raises:
            LeaseHeldError: somebody else holds it.
        """
        token = str(uuid4())
        held = ListLock(lambda: self._push(recipient_list_id, token))
        begun = _clock()
        self._acquire(recipient_list_id, token, run_id)
        held.renewed(begun)
        end = threading.Event()
        heart = threading.Thread(target=_beat, args=(held, end), daemon=True)
        heart.start()
        try:
            yield held
        finally:
            end.set()
            heart.join()
            with suppress(StateError), self._engine.begin() as connection:  # it will expire by itself
                connection.execute(delete(lease).where(lease.c.token == token))

    def holder(self, recipient_list_id: int) -> str | None:
        """The run that holds the list's lease now; None where nobody alive does."""
        with self._engine.connect() as connection:
            row = connection.execute(select(lease).where(lease.c.recipient_list_id == recipient_list_id)).first()
            if row is None or is_expired(row.owner, row.expires_at, database_now(connection)):
                return None
            return str(row.run_id)

    def dead_holder(self, recipient_list_id: int) -> str | None:
        """The run whose process died while it held the list's lease: it never gave it back."""
        with self._engine.connect() as connection:
            row = connection.execute(select(lease).where(lease.c.recipient_list_id == recipient_list_id)).first()
            return row.run_id if row and is_expired(row.owner, row.expires_at, database_now(connection)) else None

    def _acquire(self, recipient_list_id: int, token: str, run_id: str) -> None:
        this = lease.c.recipient_list_id == recipient_list_id
        row = None
        while row is None:  # the holder may let go between our two statements
            with self._engine.begin() as connection:
                now = database_now(connection)
                row = connection.execute(select(lease).where(this)).first()
                if row and is_expired(row.owner, row.expires_at, now):
                    connection.execute(delete(lease).where(this, lease.c.token == row.token))
                wanted = {
                    "recipient_list_id": recipient_list_id,
                    "token": token,
                    "owner": this_process(),
                    "run_id": run_id,
                    "acquired_at": now,
                    "expires_at": now + LIFETIME,
                }
                insert_missing(connection, lease, [wanted])
                row = connection.execute(select(lease).where(this)).first()
        if row.token != token:
            raise ListLockedError(row.owner, row.run_id, row.acquired_at, row.expires_at)

    def _push(self, recipient_list_id: int, token: str) -> bool:
        with self._engine.begin() as connection:
            pushed = connection.execute(
                update(lease)
                .where(lease.c.recipient_list_id == recipient_list_id, lease.c.token == token)
                .values(expires_at=database_now(connection) + LIFETIME)
            )
        return pushed.rowcount > 0


def _beat(held: ListLock, end: threading.Event) -> None:
    while not held.lost.is_set() and not end.wait(LIFETIME.total_seconds() / HEARTBEATS_PER_LIFETIME):
        with suppress(StateError):  # `ListLock.require` notices when it lasts
            held.renew()


def _clock() -> float:
    """Seconds that also pass while the machine sleeps, where the system has such a clock."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()
