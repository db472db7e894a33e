"""What all tests of one process share: the nursery, and the installations that are copied for every point."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from campaign_sync_tests.faults.installations import Database
from campaign_sync_tests.faults.process_pool import Nursery
from campaign_sync_tests.faults.survey import Survey, survey
from campaign_sync_tests.faults.vendor_states import Scenario


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """A process that bears children."""
    with Nursery() as built:
        yield built


@pytest.fixture(scope="session")
def surveys(nursery: Nursery) -> Iterator[Callable[[Scenario, Database], Survey]]:
    """The survey of a scenario on a database, prepared once."""
    known: dict[tuple[str, Database], Survey] = {}
    with ExitStack() as stack:

        def of(scenario: Scenario, database: Database) -> Survey:
            key = (scenario.name, database)
            if key not in known:
                known[key] = stack.enter_context(survey(scenario, database, nursery))
            return known[key]

        yield of
