"""How often consents changed in the CRM, by mandator."""

from datetime import timedelta

from sqlalchemy import Engine, select

from campaign_sync.domain.consent_activity import ConsentActivity
from campaign_sync.storage.consent_tables import consent_activity
from campaign_sync.storage.upsert import upsert


class ConsentActivities:
    """The changes of consents that didn't come from us."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def find(self, mandator: str) -> ConsentActivity | None:
        """Return a mandator's activity; None before the first run."""
        columns = consent_activity.c["since", "newest_at", "changes", "longest_gap"]
        with self._engine.connect() as connection:
            row = connection.execute(select(*columns).where(consent_activity.c.mandator == mandator)).one_or_none()
        return (
            ConsentActivity(row.since, row.newest_at, row.changes, timedelta(seconds=row.longest_gap)) if row else None
        )

    def save(self, mandator: str, activity: ConsentActivity) -> None:
        """Store a mandator's activity."""
        values = vars(activity) | {"longest_gap": int(activity.longest_gap.total_seconds())}
        with self._engine.begin() as connection:
            upsert(connection, consent_activity, [{"mandator": mandator, **values}], update=list(values))
