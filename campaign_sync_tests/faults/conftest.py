"""What all tests of a test process share: the process pool, and the installations that are copied for every point."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from campaign_sync_tests.faults.installations import Database
from campaign_sync_tests.faults.process_pool import ProcessPool
from campaign_sync_tests.faults.proxied_installation import (
    ProxiedInstallation,
    prepare,
    proxied_installation,
    retry_without_waiting,
)
from campaign_sync_tests.faults.survey import Survey, survey
from campaign_sync_tests.faults.vendor_states import Scenario


@pytest.fixture(scope="session")
def process_pool() -> Iterator[ProcessPool]:
    """Yield the processes that replacements are killed in."""
    with ProcessPool() as built:
        yield built


@pytest.fixture(scope="session")
def surveys(process_pool: ProcessPool) -> Iterator[Callable[[Scenario, Database], Survey]]:
    """Yield a function that returns the survey of a scenario on a database, prepared once."""
    prepared: dict[tuple[str, Database], Survey] = {}
    with ExitStack() as stack:

        def of(scenario: Scenario, database: Database) -> Survey:
            key = (scenario.name, database)
            if key not in prepared:
                prepared[key] = stack.enter_context(survey(scenario, database, process_pool))
            return prepared[key]

        yield of


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of an installation whose snapshot is frozen, and whose list holds yesterday's recipients."""
    folder = tmp_path_factory.mktemp("template")
    prepare(folder)
    return folder


@pytest.fixture
def installation(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ProxiedInstallation]:
    """Yield a copy of the template that reaches its vendor through a proxy, and retries without waiting."""
    retry_without_waiting(monkeypatch)
    with proxied_installation(template, tmp_path / "copy") as built:
        yield built
