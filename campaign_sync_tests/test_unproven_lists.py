"""When the day begins whose lists `campaign-sync run --failed` replaces."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import campaign_sync.sandbox
from campaign_sync.cli.unproven_lists import day_began
from campaign_sync.config import MandatorSettings, load_configuration

DEMO = Path(campaign_sync.sandbox.__file__).with_name("demo.yaml")
ENVIRON = {
    "DEMO_CRM_URL": "sqlite:///crm.db",
    "DEMO_STATE_URL": "sqlite:///state.db",
    "DEMO_OPTIMIZELY_URL": "http://127.0.0.1:9",
    "DEMO_FRAMES": "frames",
}


def mandator(**changes: Any) -> MandatorSettings:
    settings = load_configuration(DEMO, ENVIRON).mandators["nord"]
    return settings.model_copy(update={"timezone": "Europe/Berlin", **changes})


@pytest.mark.parametrize(
    ("changes", "now", "began"),
    [
        (
            {"schedule": "30 23 * * *"},
            datetime(2026, 7, 1, 22, 30, tzinfo=UTC),
            datetime(2026, 7, 1, 21, 30, tzinfo=UTC),
        ),
        ({"schedule": "30 4 * * 1-5"}, datetime(2026, 7, 5, 9, tzinfo=UTC), datetime(2026, 7, 3, 2, 30, tzinfo=UTC)),
        ({"schedule": None}, datetime(2026, 7, 1, 22, 30, tzinfo=UTC), datetime(2026, 7, 1, 22, tzinfo=UTC)),
    ],
    ids=["half past eleven in the evening", "a weekend", "without a schedule"],
)
def test_the_day_begins_at_the_last_planned_time(changes: Mapping[str, Any], now: datetime, began: datetime) -> None:
    assert day_began(mandator(**changes), now) == began
