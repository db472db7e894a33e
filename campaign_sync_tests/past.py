"""Lets time pass without waiting for it."""

from datetime import timedelta

from sqlalchemy import create_engine, select, update

from campaign_sync.state.tables import UtcDateTime, rejection, replace, snapshot


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
