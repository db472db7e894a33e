"""Lets things have happened, without waiting for them."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import create_engine, select, update

from campaign_sync.storage.revisions import migrate
from campaign_sync.storage.tables import UtcDateTime, rejection, replace, snapshot


def make_tables(state_url: str, revision: str) -> None:
    """Make the state database as an earlier version of the product left it."""
    engine = create_engine(state_url)
    with engine.connect() as connection:
        migrate(connection, "of the tests", revision)
    engine.dispose()


def let_days_pass(state_url: str, days: int) -> None:
    """Date everything that was frozen, sent and rejected so many days back."""
    engine = create_engine(state_url)
    with engine.begin() as connection:
        for table in (snapshot, replace, rejection):
            times = [column for column in table.columns if isinstance(column.type, UtcDateTime)]
            for row in connection.execute(select(table)).mappings().all():
                this = [column == row[column.name] for column in table.primary_key.columns]
                earlier = {each.name: row[each.name] - timedelta(days=days) for each in times if row[each.name]}
                connection.execute(update(table).where(*this).values(earlier))
    engine.dispose()


def let_a_replace_break_off(state_url: str, name: str) -> None:
    """Note a replace of the mandator nord's list that cleared it and came no further."""
    engine, now = create_engine(state_url), datetime.now(UTC)
    with engine.begin() as connection:
        newest = connection.execute(select(snapshot).where(snapshot.c.list == name)).mappings().all()[-1]
        connection.execute(
            replace.insert().values(
                id="broken", mandator="nord", list=name, recipient_list_id=1, run_id="killed",
                snapshot_id=newest["id"], state="failed", started_at=now, cleared_at=now,
            )
        )  # fmt: skip
    engine.dispose()
