"""An instance of others, whose `dagster.yaml` is empty: nothing in Dagster keeps two runs of a mandator apart."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dagster as dg
import pytest

from campaign_sync.cli.run import problems
from campaign_sync_tests.installation import ADDRESSES, Installation
from campaign_sync_tests.waiting import until


@pytest.fixture
def empty_instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """An instance in a folder with an empty `dagster.yaml`."""
    (tmp_path / "dagster").mkdir()
    (tmp_path / "dagster" / "dagster.yaml").touch()
    with dg.DagsterInstance.from_config(str(tmp_path / "dagster")) as instance:
        yield instance


@pytest.mark.usefixtures("without_retries")
def test_of_two_runs_at_once_the_second_is_refused_and_the_list_is_proven(
    installation: Installation, empty_instance: dg.DagsterInstance
) -> None:
    installation.vendor.fault("clear", "delay", arg=600)
    with ThreadPoolExecutor() as threads:
        first = threads.submit(installation.run, "nord", empty_instance)
        until(lambda: installation.clears() == 1, lambda: not first.done())
        try:
            second = installation.run("nord", empty_instance)
        finally:
            installation.vendor.repair()

    assert first.result().success, problems(first.result())
    assert not second.success
    assert f"run {first.result().run_id} is replacing it" in problems(second)[0]
    assert installation.clears() == 1
    assert installation.addresses() == ADDRESSES
