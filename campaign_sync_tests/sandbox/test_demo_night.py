from datetime import UTC, datetime, timedelta

import pytest

from campaign_sync.sandbox.demo_night import UNSUBSCRIBED_ON, Night
from campaign_sync.sandbox.demo_people import LEAVER

MOMENT = datetime(2026, 3, 2, tzinfo=UTC)


@pytest.mark.parametrize("first", [1, UNSUBSCRIBED_ON - 1, UNSUBSCRIBED_ON, UNSUBSCRIBED_ON + 1, 14])
def test_the_person_whom_the_demonstration_asks_about_unsubscribes_once_on_whatever_day_it_begins(first: int) -> None:
    nights = [Night(day, MOMENT, MOMENT - timedelta(days=1) if day > first else None) for day in range(first, 20)]

    days = [night.day for night in nights if night.unsubscribing == [LEAVER]]

    assert days == [max(first, UNSUBSCRIBED_ON)]
