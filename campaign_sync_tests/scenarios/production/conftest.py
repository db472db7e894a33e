"""The installation that all tests of this package share."""

from collections.abc import Iterator

import pytest

from campaign_sync_tests.scenarios.production.installation import ProductionInstallation, production_installation


@pytest.fixture(scope="package")
def production(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProductionInstallation]:
    """Yield an installation with the production stack, after its schedule has started a run.

    Tests that use it belong to the xdist group `production`.
    """
    with production_installation(tmp_path_factory.mktemp("production")) as built:
        built.stack.until(lambda: any(tick["runIds"] for tick in built.stack.ticks("sued_daily")))
        built.stack.stop_schedule("sued_daily")  # a run a minute would take much of a core
        yield built
