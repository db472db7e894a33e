from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from psycopg2 import extensions  # type: ignore[import-untyped]
from sqlalchemy import Engine, event, select

from campaign_sync.storage.database import state_engine
from campaign_sync.storage.tables import rejection
from campaign_sync.storage.upsert import insert_missing, upsert
from campaign_sync_tests import databases

pytestmark = pytest.mark.thorough


@pytest.fixture
def engine() -> Iterator[Engine]:
    with databases.fresh_database() as url:
        engine = state_engine(url)
        rejection.create(engine)
        yield engine


class RoundTrips(extensions.cursor):  # type: ignore[misc]
    """Counts what is sent to the database. The driver's own `executemany` sends each row alone."""

    count = 0

    def execute(self, query: Any, vars: Any = None) -> Any:
        RoundTrips.count += 1
        return super().execute(query, vars)

    def executemany(self, query: Any, rows: Any) -> Any:
        RoundTrips.count += len(rows)
        return super().executemany(query, rows)


def rows(count: int, run_id: str) -> list[dict[str, object]]:
    now = datetime.now(UTC)
    person = {"mandator": "nord", "list": "newsletter", "entity_type": "contact", "stage": "selection"}
    return [
        {**person, "entity_id": str(number), "reason": "bounced", "first_seen": now, "last_seen": now, "run_id": run_id}
        for number in range(count)
    ]


def test_many_rows_take_few_round_trips_to_postgresql(engine: Engine) -> None:
    event.listen(engine, "connect", lambda connection, _: setattr(connection, "cursor_factory", RoundTrips))
    RoundTrips.count = 0

    with engine.begin() as connection:
        upsert(connection, rejection, rows(5_000, "first"), update=["run_id"])
        insert_missing(connection, rejection, rows(5_000, "ignored"))

    assert 20 <= RoundTrips.count < 40


def test_of_two_rows_with_the_same_key_the_later_one_stays(engine: Engine) -> None:
    with engine.begin() as connection:
        upsert(connection, rejection, [*rows(3, "first"), *rows(3, "second")], update=["run_id"])

    with engine.connect() as connection:
        assert connection.scalars(select(rejection.c.run_id)).all() == ["second"] * 3
