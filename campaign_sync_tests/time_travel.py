"""Changing the state database as if time had passed or an earlier version had written it."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import create_engine, select, update

from campaign_sync.storage.revisions import migrate
from campaign_sync.storage.tables import UtcDateTime, rejection, replace, snapshot


def make_tables(state_url: str, revision: str) -> None:
    """Create the state database's tables as of an earlier revision."""
    engine = create_engine(state_url)
    with engine.connect() as connection:
        migrate(connection, "of the tests", revision)
    engine.dispose()


def let_days_pass(state_url: str, days: int) -> None:
    """Date everything that was frozen, sent and rejected back by a number of days."""
    engine = create_engine(state_url)
    with engine.begin() as connection:
        for table in (snapshot, replace, rejection):
            times = [column for column in table.columns if isinstance(column.type, UtcDateTime)]
            for row in connection.execute(select(table)).mappings().all():
                is_row = [column == row[column.name] for column in table.primary_key.columns]
                earlier = {time.name: row[time.name] - timedelta(days=days) for time in times if row[time.name]}
                connection.execute(update(table).where(*is_row).values(earlier))
    engine.dispose()


def leave_a_replacement_unfinished(state_url: str, name: str) -> None:
    """Record a replacement of a list of the mandator nord that cleared it and then failed."""
    engine, now = create_engine(state_url), datetime.now(UTC)
    with engine.begin() as connection:
        newest = connection.execute(select(snapshot).where(snapshot.c.list == name)).mappings().all()[-1]
        earlier = select(replace.c.recipient_list_id).where(replace.c.mandator == "nord", replace.c.list == name)
        list_id = connection.execute(earlier.limit(1)).scalar_one()
        connection.execute(
            replace.insert().values(
                id="broken", mandator="nord", list=name, recipient_list_id=list_id, run_id="killed",
                snapshot_id=newest["id"], state="failed", started_at=now, cleared_at=now,
            )
        )  # fmt: skip
    engine.dispose()
