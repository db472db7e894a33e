from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from campaign_sync_tests.installation import Installation, running_installation
from campaign_sync_tests.test_diff import change_much
from campaign_sync_tests.time_travel import leave_a_replacement_unfinished, let_days_pass


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    """An installation that never ran."""
    with running_installation(tmp_path) as built:
        yield built


@pytest.fixture(scope="module")
def two_days(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Two days of the mandator nord, with many changes between them; then a replacement of products is interrupted."""
    with running_installation(tmp_path_factory.mktemp("two_days")) as built:
        built.first_day()
        state_url = built.settings["storage"]["state_url"]
        let_days_pass(state_url, 1)
        change_much(built)
        built.list_settings(name="products")["limits"] = {"max_shrink": 1}
        built.leave("person4@example.org", datetime.now(UTC))
        built.day()
        leave_a_replacement_unfinished(state_url, "products")
        yield built
