"""Which runs are alive. Dagster alone doesn't know: on one machine nobody tells it that a run's process is gone."""

import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta

from sqlalchemy import Connection, Engine, delete, select

from campaign_sync.storage.errors import StateError
from campaign_sync.storage.locks import HEARTBEATS_PER_LIFETIME, LIFETIME
from campaign_sync.storage.processes import STALLED_AFTER, UNKNOWN_OWNER, database_now, is_expired, this_process
from campaign_sync.storage.tables import run_alive
from campaign_sync.storage.upsert import insert_missing, upsert

_FORGOTTEN_AFTER = timedelta(days=30)
"""Who died so long ago interests nobody any more, and may be a run of an instance that is gone."""


class RunHeartbeats:
    """A row per run that has begun and not ended, which its process keeps fresh."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @contextmanager
    def keep_alive(self, run_id: str) -> Iterator[None]:
        """Give signs of life for a run as long as the context lasts, unless this process does so already."""
        with self._engine.begin() as connection:
            known = connection.execute(select(run_alive.c.owner).where(run_alive.c.run_id == run_id)).scalar()
            old = database_now(connection) - _FORGOTTEN_AFTER
            connection.execute(delete(run_alive).where(run_alive.c.expires_at < old))
            _give(connection, run_id)
        if known == this_process():
            yield
            return
        end = threading.Event()
        heart = threading.Thread(target=self._beat, args=(run_id, end), daemon=True)
        heart.start()
        try:
            yield
        finally:
            end.set()
            heart.join()
            with suppress(StateError):  # it will be found dead, which it is
                self.forget(run_id)

    def dead_runs(self) -> list[str]:
        """The runs whose process is gone, or hasn't given a sign for too long."""
        with self._engine.connect() as connection:
            now = database_now(connection)
            rows = list(connection.execute(select(run_alive)))
        return [row.run_id for row in rows if is_expired(row.owner, row.expires_at, now)]

    def expect(self, run_ids: Collection[str]) -> None:
        """Have runs under way that give no sign count as dead unless they give one within a quarter of an hour.

        Such a run's process was killed before its first sign or after its last one, or is about to give or to end it.
        """
        with self._engine.begin() as connection:
            until = database_now(connection) + STALLED_AFTER
            rows = [{"run_id": run_id, "owner": UNKNOWN_OWNER, "expires_at": until} for run_id in run_ids]
            insert_missing(connection, run_alive, rows)

    def forget(self, run_id: str) -> None:
        """The run has ended, or its end has been told."""
        with self._engine.begin() as connection:
            connection.execute(delete(run_alive).where(run_alive.c.run_id == run_id))

    def _beat(self, run_id: str, end: threading.Event) -> None:
        while not end.wait(LIFETIME.total_seconds() / HEARTBEATS_PER_LIFETIME):
            with suppress(StateError), self._engine.begin() as connection:
                _give(connection, run_id)  # anew where the database was restored meanwhile


def _give(connection: Connection, run_id: str) -> None:
    row = {"run_id": run_id, "owner": this_process(), "expires_at": database_now(connection) + LIFETIME}
    upsert(connection, run_alive, [row], update=("owner", "expires_at"))
