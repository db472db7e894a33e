"""What Dagster and the product store: ticks, runs, and the size of tables and files."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Engine, NullPool, create_engine, text

TICK_LIMIT_SECONDS = 60.0
"""Seconds after which Dagster's daemon ends a tick."""

_ENDED = "('SUCCESS', 'FAILURE', 'CANCELED')"


class Tick(NamedTuple):
    """A tick of a sensor or schedule that has ended, or should have."""

    name: str
    status: str
    seconds: float | None


class DagsterStorage:
    """Dagster's database, read with SQL, because two versions of the product may be compared."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def unfinished_runs(self) -> int:
        """Return how many runs are queued or in progress."""
        return self._number(f"SELECT count(*) FROM runs WHERE status NOT IN {_ENDED}")

    def runs(self) -> int:
        """Return how many runs there are."""
        return self._number("SELECT count(*) FROM runs")

    def replaced(self) -> int:
        """Return how many daily runs have succeeded."""
        daily = "pipeline_name LIKE '%\\_daily\\_replace'"
        return self._number(f"SELECT count(*) FROM runs WHERE status = 'SUCCESS' AND {daily}")

    def last_tick(self) -> int:
        """Return the id of the last tick."""
        return self._number("SELECT coalesce(max(id), 0) FROM job_ticks")

    def events(self) -> int:
        """Return the length of the event log."""
        return self._number("SELECT count(*) FROM event_logs")

    def ticks_after(self, tick_id: int) -> list[Tick]:
        """Return the ticks after that one."""
        with self._engine.connect() as connection:
            rows = connection.execute(text("SELECT tick_body FROM job_ticks WHERE id > :id"), {"id": tick_id})
            return [_tick(json.loads(body)) for (body,) in rows]

    def megabytes(self, *tables: str) -> float:
        """Return the size of tables with their indexes; of the whole database where none is named."""
        if not tables:
            return self._number("SELECT pg_database_size(current_database())") / 1e6
        return sum(self._number("SELECT pg_total_relation_size(:name)", name=table) for table in tables) / 1e6

    def _number(self, statement: str, **values: object) -> int:
        with self._engine.connect() as connection:
            return int(connection.execute(text(statement), values).scalar_one())


@contextmanager
def storage(url: str) -> Iterator[DagsterStorage]:
    """Yield a database as `DagsterStorage`. Its connections are named `benchmark`."""
    engine = create_engine(url, poolclass=NullPool, connect_args={"application_name": "benchmark"})
    yield DagsterStorage(engine)
    engine.dispose()


def megabytes_of_files(*paths: Path) -> float:
    """Return the size of files, and of all files in folders."""
    files = [file for path in paths for file in ([path] if path.is_file() else path.rglob("*"))]
    return sum(file.stat().st_size for file in files if file.is_file()) / 1e6


def _tick(body: dict[str, object]) -> Tick:
    begun, ended = body["timestamp"], body.get("end_timestamp")
    status = body["status"]
    name = status["__enum__"] if isinstance(status, dict) else str(status)
    seconds = ended - begun if isinstance(ended, float) and isinstance(begun, float) else None
    return Tick(str(body.get("instigator_name") or body.get("job_name")), name.rpartition(".")[2], seconds)
