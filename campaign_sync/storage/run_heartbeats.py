"""Heartbeats of runs. Without them Dagster's default launcher doesn't notice that a run's process is gone."""

import logging
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta

from sqlalchemy import ColumnElement, Connection, Engine, and_, delete, inspect, select

from campaign_sync.storage.errors import StateError
from campaign_sync.storage.expiry import HEARTBEATS_PER_LIFETIME, LIFETIME, is_dead, read_owners
from campaign_sync.storage.locks import ListLocks
from campaign_sync.storage.processes import STALLED_AFTER, UNKNOWN_OWNER, database_now, is_expired, this_process
from campaign_sync.storage.tables import run_alive
from campaign_sync.storage.upsert import insert_missing, upsert

log = logging.getLogger(__name__)

_FORGOTTEN_AFTER = timedelta(days=30)
"""How long after its expiry a row is deleted: its run may belong to an instance that no longer exists."""


class RunHeartbeats:
    """A row for each process of a run that has begun and not ended, which the process keeps renewing.

    A run has several if its executor begins a process for each step. Commands that read or write people's data have
    one, too. While there is any, no erased people are removed; and a run or command that has its row waits until a
    removal has ended that began before. So either the removal sees the row, or the run sees the removal, and reads
    erasures and files only afterwards.
    """

    def __init__(self, engine: Engine, locks: ListLocks) -> None:
        self._engine, self._locks = engine, locks

    @contextmanager
    def keep_alive(self, run_id: str, on_wait: Callable[[str], None] = log.warning) -> Iterator[None]:
        """Send heartbeats for a run as long as the context lasts, unless this process does so already.

        Args:
            run_id: the run, or a name of a command.
            on_wait: called once with a sentence if it waits for a removal of erased people.

        Raises:
            ListLockedError: a removal lasts for too long.
        """
        with self._engine.begin() as connection:
            is_known = connection.execute(select(run_alive).where(_is_own(run_id))).first() is not None
            old = database_now(connection) - _FORGOTTEN_AFTER
            connection.execute(delete(run_alive).where(run_alive.c.expires_at < old))
            _renew(connection, run_id)
        if is_known:
            yield
            return
        end = threading.Event()
        heartbeat = threading.Thread(target=self._beat, args=(run_id, end), daemon=True)
        heartbeat.start()
        try:
            self._locks.await_removal(
                lambda removal: on_wait(f"waiting until run {removal} has removed erased people from the files")
            )
            yield
        finally:
            end.set()
            heartbeat.join()
            with suppress(StateError):  # else it will count as dead, and it has ended
                self._end(run_id)

    def dead_runs(self) -> list[str]:
        """Return the runs all whose processes are gone, or sent no heartbeat in the further time that they got."""
        owners = read_owners(self._engine, run_alive)
        return sorted({row.run_id for row in owners.dead} - {row.run_id for row in owners.living})

    def living(self) -> list[str]:
        """Return the runs and commands that have begun and not ended, and one of whose processes may be alive."""
        return sorted({row.run_id for row in read_owners(self._engine, run_alive).living})

    def expect(self, run_ids: Collection[str]) -> None:
        """Let runs without a heartbeat count as dead unless they send one within `STALLED_AFTER` and `LIFETIME`.

        The process of such a run was killed before its first heartbeat, or is just beginning or ending.
        """
        with self._engine.begin() as connection:
            until = database_now(connection) + STALLED_AFTER
            known = set(connection.execute(select(run_alive.c.run_id)).scalars())
            rows = [
                {"run_id": run_id, "owner": UNKNOWN_OWNER, "expires_at": until}
                for run_id in run_ids
                if run_id not in known
            ]
            insert_missing(connection, run_alive, rows)

    def forget(self, run_id: str) -> None:
        """Delete the rows of a run whose end was reported."""
        with self._engine.begin() as connection:
            connection.execute(delete(run_alive).where(run_alive.c.run_id == run_id))

    def _end(self, run_id: str) -> None:
        """Delete the row of this process, and those of dead ones: what this one did shows that the run went on."""
        with self._engine.begin() as connection:
            now = database_now(connection)
            rows = connection.execute(select(run_alive).where(run_alive.c.run_id == run_id)).all()
            ended = [row.owner for row in rows if row.owner in (this_process(), UNKNOWN_OWNER) or is_dead(row, now)]
            is_ended = run_alive.c.owner.in_(ended)
            connection.execute(delete(run_alive).where(run_alive.c.run_id == run_id, is_ended))

    def _beat(self, run_id: str, end: threading.Event) -> None:
        while not end.wait(LIFETIME.total_seconds() / HEARTBEATS_PER_LIFETIME):
            with suppress(StateError), self._engine.begin() as connection:
                _renew(connection, run_id)  # inserts the row where the database was restored meanwhile


def require_no_run(connection: Connection) -> None:
    """Make sure that no run is under way, which could no longer write down what it does to a list.

    Raises:
        StateError: one has sent a heartbeat lately.
    """
    if not inspect(connection).has_table(run_alive.name):  # in the first versions
        return
    now = database_now(connection)
    columns = select(run_alive.c.run_id, run_alive.c.owner, run_alive.c.expires_at)  # the others may be missing yet
    rows = connection.execute(columns.where(run_alive.c.owner != UNKNOWN_OWNER)).all()
    if living := [row for row in rows if not is_expired(row.owner, row.expires_at, now)]:
        until = max(row.expires_at for row in living)
        raise StateError(
            f"the state database (storage.state_url) can't be upgraded while runs are under way "
            f"({', '.join(row.run_id for row in living)}): they would leave lists half full. Wait until they have "
            f"ended, or until {until:%H:%M:%S} UTC if their processes are dead, then try again"
        )


def _renew(connection: Connection, run_id: str) -> None:
    expires_at = database_now(connection) + LIFETIME
    row = {"run_id": run_id, "owner": this_process(), "expires_at": expires_at, "overdue": 0}
    upsert(connection, run_alive, [row], update=("expires_at", "overdue"))


def _is_own(run_id: str) -> ColumnElement[bool]:
    return and_(run_alive.c.run_id == run_id, run_alive.c.owner == this_process())
