"""How often consents changed, on both databases."""

from datetime import UTC, datetime, timedelta

from campaign_sync.domain.consent_activity import ConsentActivity
from campaign_sync.storage.state import State

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def test_the_activity_of_each_mandator_is_kept(database_url: str) -> None:
    with State(database_url) as state:
        first = ConsentActivity(NOON, NOON)
        later = ConsentActivity(NOON, NOON + timedelta(days=3), 4, timedelta(days=2, seconds=5))
        assert state.consent_activities.find("nord") is None
        state.consent_activities.save("nord", first)
        state.consent_activities.save("sued", first)
        state.consent_activities.save("nord", later)
        assert (state.consent_activities.find("nord"), state.consent_activities.find("sued")) == (later, first)
