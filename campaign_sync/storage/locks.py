"""Locks of recipient lists and mandators, across processes, machines and Dagster instances.

A lock is a row with an expiry that its holder keeps renewing. A row whose holder is a process of this machine that is
gone, or that has expired and isn't renewed in the further time that it then gets, can be taken over by another run. A
holder that couldn't renew in time, because its machine was busy or suspended, or whose clock was set, makes sure that
the row is still its own before it changes anything more.
"""

import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple
from uuid import uuid4

from sqlalchemy import ColumnElement, Connection, Engine, delete, select, update

from campaign_sync.domain.message import Message
from campaign_sync.errors import CampaignSyncError
from campaign_sync.storage.errors import StateError
from campaign_sync.storage.expiry import HEARTBEATS_PER_LIFETIME, LIFETIME, dead_by, is_dead, read_owners
from campaign_sync.storage.processes import database_now, is_gone, this_process
from campaign_sync.storage.tables import lease
from campaign_sync.storage.upsert import insert_missing


class LockScope(StrEnum):
    """What a lock is for. Lists and mandators have ids of their own kinds, so the same number may stand for both."""

    RECIPIENT_LIST = "recipient_list"
    MANDATOR = "mandator"
    """Of the mandator's canary, which its lists share."""
    OPT_OUTS = "opt_outs"
    """Of the write-back of a mandator's opt-outs that its unsubscribe lists show."""
    REMOVAL = "removal"
    """Of the removal of erased people, which all that reads or writes their data waits for. There is only one."""


PATIENCE = timedelta(minutes=30)
"""How long a run waits for a lock that every run holds for moments only."""

_POLL_SECONDS = 0.5

_REMOVAL_ID = 0
"""In place of a vendor's id."""


class ExpiredLock(NamedTuple):
    """A lock of a recipient list, since its last renewal, that no living process holds any more."""

    recipient_list_id: int
    run_id: str
    token: str
    expires_at: datetime
    is_holder_gone: bool
    """Whether its process is known to be gone; else it only sends no heartbeats any more."""


@dataclass(frozen=True)
class LockHolders:
    """The runs that hold locks of recipient lists, by the vendor's ids."""

    living: Mapping[int, str]
    dead: Mapping[int, str]
    """Runs whose process died while it held the lock, and so never released it."""


_HOLDERS = {
    LockScope.RECIPIENT_LIST: Message("is replacing it"),
    LockScope.MANDATOR: Message("is trying the canary_address with another list of the mandator"),
    LockScope.OPT_OUTS: Message("is recording people who left the mandator's lists"),
    LockScope.REMOVAL: Message("is removing erased people"),
}
"""What the run does that holds a lock."""


class ListLockedError(CampaignSyncError):
    """Another run holds the lock.

    Attributes:
        run_id: that run.
    """

    retryable = True

    def __init__(self, scope: LockScope, owner: str, run_id: str, since: datetime, until: datetime) -> None:
        """Name the holder, and `until` when it holds the lock at most if it is dead."""
        super().__init__(
            Message(
                "run {run} {does}, on {machine}, since {since} UTC; wait until it is done, or until {until} UTC should "
                "it be dead",
                run=run_id,
                does=_HOLDERS[scope],
                machine=owner.split()[0],
                since=f"{since:%Y-%m-%d %H:%M:%S}",
                until=f"{until:%H:%M:%S}",
            )
        )
        self.run_id = run_id


class ListLockLostError(CampaignSyncError):
    """The lock can't be proven to be ours any more, so nothing further may be done to the list."""

    retryable = True


class ListLock:
    """A lock that this process holds. Call `require` before every call that changes the list.

    Attributes:
        lost: set once another run has taken the lock.
        confirmed_at: when the row was last known to be ours.
    """

    def __init__(self, renew: Callable[[], bool]) -> None:
        """Begin a lock; `renew` renews its row, and returns False where the row is another's."""
        self._renew = renew
        self.confirmed_at = Moment.now()
        self.lost = threading.Event()

    @property
    def is_certain(self) -> bool:
        """Whether no other run can have taken the lock, by both clocks."""
        return not self.lost.is_set() and self.confirmed_at.seconds_ago() < LIFETIME.total_seconds() * 0.8

    def confirm(self, begun: "Moment") -> None:
        """Note that the row was renewed by a statement that began at that moment."""
        self.confirmed_at = begun

    def renew(self) -> None:
        """Renew the row, or note that the lock is lost.

        Raises:
            StateError: the state database can't be reached.
        """
        begun = Moment.now()
        if self._renew():
            self.confirm(begun)
        else:
            self.lost.set()

    def require(self) -> None:
        """Make sure that no other run can have taken the lock.

        Raises:
            ListLockLostError: one has, or the state database doesn't answer.
        """
        if not self.is_certain and not self.lost.is_set():
            with suppress(StateError):
                self.renew()
        if not self.is_certain:
            raise ListLockLostError(
                "the lock of the list was lost: the state database (storage.state_url) was out of reach for too "
                "long, this process was suspended, or the clock was set"
            )


class ListLocks:
    """The locks of all recipient lists and mandators, by the vendor's ids."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @contextmanager
    def acquire(
        self,
        vendor_id: int,
        run_id: str,
        scope: LockScope = LockScope.RECIPIENT_LIST,
        *,
        patience: timedelta = timedelta(0),
        on_wait: Callable[[str], None] = lambda _: None,
    ) -> Iterator[ListLock]:
        """Hold the lock of a recipient list, or of a mandator, as long as the context lasts.

        Args:
            vendor_id: of the list or mandator.
            run_id: the run that gets it.
            scope: what the lock is for.
            patience: how long to wait for another run that holds it.
            on_wait: called once with the run that is waited for, if one is.

        Raises:
            ListLockedError: another run holds it.
        """
        token, is_it = str(uuid4()), _is(vendor_id, scope)
        lock = ListLock(lambda: self._renew(is_it, token))
        until, waits = boot_clock() + patience.total_seconds(), False
        while True:
            begun = Moment.now()
            try:
                self._acquire(vendor_id, scope, token, run_id)
            except ListLockedError as error:
                if begun.boot >= until:
                    raise
                if not waits:
                    on_wait(error.run_id)
                waits = True
                time.sleep(_POLL_SECONDS)
            else:
                break
        lock.confirm(begun)
        end = threading.Event()
        heartbeat = threading.Thread(target=_beat, args=(lock, end), daemon=True)
        heartbeat.start()
        try:
            yield lock
        finally:
            end.set()
            heartbeat.join()
            with suppress(StateError), self._engine.begin() as connection:  # it will expire by itself
                connection.execute(delete(lease).where(lease.c.token == token))

    @contextmanager
    def acquire_removal(self, run_id: str, on_wait: Callable[[str], None]) -> Iterator[ListLock]:
        """Hold the lock of the removal of erased people, once another removal has ended.

        Args:
            run_id: what removes them.
            on_wait: called once with the removal that is waited for, if one is.

        Raises:
            ListLockedError: another one lasts for too long.
        """
        with self.acquire(_REMOVAL_ID, run_id, LockScope.REMOVAL, patience=PATIENCE, on_wait=on_wait) as lock:
            yield lock

    def await_removal(self, on_wait: Callable[[str], None]) -> None:
        """Return once nothing removes erased people.

        Args:
            on_wait: called once with the removal that is waited for, if one is.

        Raises:
            ListLockedError: it lasts for too long.
        """
        until, waits, is_it = boot_clock() + PATIENCE.total_seconds(), False, _is(_REMOVAL_ID, LockScope.REMOVAL)
        while living := read_owners(self._engine, lease, is_it).living:
            (row,) = living
            if boot_clock() >= until:
                raise ListLockedError(LockScope.REMOVAL, row.owner, row.run_id, row.acquired_at, dead_by(row))
            if not waits:
                on_wait(row.run_id)
            waits = True
            time.sleep(_POLL_SECONDS)

    def holder(self, recipient_list_id: int) -> str | None:
        """Return the run that holds the list's lock now; None where no living process does."""
        living = read_owners(self._engine, lease, _is(recipient_list_id, LockScope.RECIPIENT_LIST)).living
        return str(living[0].run_id) if living else None

    def expired(self) -> set["ExpiredLock"]:
        """Return the locks whose process died while it held them, and so never released them."""
        return {
            ExpiredLock(int(row.vendor_id), row.run_id, row.token, row.expires_at, is_gone(row.owner))
            for row in read_owners(self._engine, lease, _OF_LISTS).dead
        }

    def _acquire(self, vendor_id: int, scope: LockScope, token: str, run_id: str) -> None:
        is_it, row = _is(vendor_id, scope), None
        read_owners(self._engine, lease, is_it)  # gives a further lifetime to a row that has only expired
        while row is None:  # the holder may release it between our two statements
            with self._engine.begin() as connection:
                now = database_now(connection)
                row = connection.execute(select(lease).where(is_it)).first()
                if row and is_dead(row, now):
                    connection.execute(delete(lease).where(is_it, lease.c.token == row.token))
                wanted = {
                    "scope": scope,
                    "vendor_id": vendor_id,
                    "token": token,
                    "owner": this_process(),
                    "run_id": run_id,
                    "acquired_at": now,
                    "expires_at": now + LIFETIME,
                }
                insert_missing(connection, lease, [wanted])
                row = connection.execute(select(lease).where(is_it)).first()
        if row.token != token:
            raise ListLockedError(scope, row.owner, row.run_id, row.acquired_at, dead_by(row))

    def _renew(self, is_it: ColumnElement[bool], token: str) -> bool:
        with self._engine.begin() as connection:
            renewed = connection.execute(
                update(lease)
                .where(is_it, lease.c.token == token)
                .values(expires_at=database_now(connection) + LIFETIME, overdue=0)
            )
        return renewed.rowcount > 0


def read_holders(connection: Connection, expired: Collection[ExpiredLock]) -> LockHolders:
    """Return who holds the lock of each list.

    Args:
        connection: reads one moment, which is that of the result.
        expired: from `ListLocks.expired`, before that moment. A process that is gone only afterwards may have released
            its locks in order, and counts as living.
    """
    living: dict[int, str] = {}
    dead: dict[int, str] = {}
    renewals = {(lock.token, lock.expires_at) for lock in expired}
    for row in connection.execute(select(lease).where(_OF_LISTS)):
        holders = dead if (row.token, row.expires_at) in renewals else living
        holders[int(row.vendor_id)] = str(row.run_id)
    return LockHolders(living, dead)


class Moment(NamedTuple):
    """A moment by the clock of the system's start and by the wall clock, which can be set."""

    boot: float
    wall: float

    @classmethod
    def now(cls) -> "Moment":
        """Return this moment."""
        return cls(boot_clock(), time.time())

    def seconds_ago(self) -> float:
        """Return the seconds since then, by the clock that shows more."""
        return max(boot_clock() - self.boot, time.time() - self.wall)


def boot_clock() -> float:
    """Return seconds since some moment, which also pass while the machine sleeps where the system has such a clock."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


_OF_LISTS = lease.c.scope == LockScope.RECIPIENT_LIST


def _is(vendor_id: int, scope: LockScope) -> ColumnElement[bool]:
    return (lease.c.scope == scope) & (lease.c.vendor_id == vendor_id)


def _beat(lock: ListLock, end: threading.Event) -> None:
    while not lock.lost.is_set() and not end.wait(LIFETIME.total_seconds() / HEARTBEATS_PER_LIFETIME):
        with suppress(StateError):  # `ListLock.require` notices when it lasts
            lock.renew()
