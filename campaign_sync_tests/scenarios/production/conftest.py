"""The installation that all tests of this package share."""

from collections.abc import Iterator

import pytest

from campaign_sync_tests.scenarios.production.installation import ProductionInstallation, production_installation


@pytest.fixture(scope="package")
def production(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProductionInstallation]:
    """Yield an installation with the production stack. Tests that use it belong to the xdist group `production`."""
    with production_installation(tmp_path_factory.mktemp("production")) as built:
        yield built
