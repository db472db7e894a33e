"""A day of which processes are killed during a fill: it is finished, and the alarms are exactly those that are true."""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import select

from campaign_sync.orchestration.daily_replacement import GROUP_OF, GROUPS, PLANNED_FOR
from campaign_sync.storage.tables import lease
from campaign_sync_tests.benchmarks.tenants_stack import ServedStack
from campaign_sync_tests.installation import ADDRESSES, NEWSLETTER, PRODUCTS
from campaign_sync_tests.scenarios.production.installation import ProductionInstallation, production_installation
from campaign_sync_tests.stack import ROOT, descendants, kill_worker
from campaign_sync_tests.waiting import PATIENCE

pytestmark = [pytest.mark.thorough, pytest.mark.xdist_group("production")]

LISTS = ("newsletter", "products")
ROOT_RUN = "dagster/root_run_id"


@pytest.mark.long
@pytest.mark.parametrize("kills", [1, 2])
def test_people_get_an_alarm_of_the_list_and_its_all_clear_and_the_day_is_finished(
    production: ProductionInstallation, kills: int
) -> None:
    kill_runs(production, partial(kill_run, production), kills)


def kill_runs(production: ProductionInstallation, kill: Callable[[], None], kills: int) -> None:
    """Kill a planned run and then its retry, in the middle of their fills, and check what follows."""
    begun, headlines = datetime.now(UTC), headlines_from_now(production)
    run_id = fill(production, begun)

    # The retry has to wait for this run, so that the list stays incomplete until people know of it.
    production.installation.vendor.fault("getOutBounces", "delay", times=99, arg=PATIENCE)
    production.stack.launch("nord_feedback")
    kill()
    production.stack.until(lambda: bool(headlines()))
    production.installation.vendor.repair()
    if kills == 2:
        delay_fills(production)
        production.stack.until(lambda: any(production.filling(retry) for retry in retries(production, run_id)))
        kill()
        production.installation.vendor.repair()

    production.stack.until(lambda: finished(production, begun))
    assert headlines() == ["Alarm: nord/newsletter is INCOMPLETE", "All clear: nord/newsletter"]
    assert production.installation.addresses(NEWSLETTER) == production.installation.addresses(PRODUCTS) == ADDRESSES
    assert len(retries(production, run_id)) == 1


class DeployedStack(ServedStack):
    """Code server, webserver and daemon, as the files in `deploy` start them."""

    def __init__(self, folder: Path, database_url: str, environment: Mapping[str, str]) -> None:
        super().__init__(ROOT, folder, database_url, environment)

    def commands(self) -> dict[str, list[str | Path]]:
        """Return the command of each process."""
        _, _, _, *options = super().commands()["code"]
        return {**super().commands(), "code": [self.programs / "python", "-m", "campaign_sync.code_server", *options]}

    def kill_definitions(self) -> None:
        """Kill the process with the definitions, and with it its runs, as a machine without memory may."""
        definitions, *_ = descendants(self.pid("code"))
        self.restart_when_it_ends("code", kill=definitions)


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProductionInstallation]:
    with production_installation(tmp_path_factory.mktemp("deployed"), DeployedStack) as built:
        yield built


@pytest.mark.long
def test_after_the_code_server_was_killed_twice_the_day_is_finished(deployed: ProductionInstallation) -> None:
    assert isinstance(deployed.stack, DeployedStack)
    kill_runs(deployed, deployed.stack.kill_definitions, kills=2)


@pytest.mark.long
def test_after_the_daemon_was_killed_twice_its_run_is_finished_without_an_alarm(
    deployed: ProductionInstallation,
) -> None:
    begun, headlines = datetime.now(UTC), headlines_from_now(deployed)
    run_id = fill(deployed, begun)
    for _ in range(2):
        deployed.stack.kill("daemon")
        deployed.stack.start("daemon")
        restarted = datetime.now(UTC)
        deployed.stack.until(partial(alarms_checked_since, deployed, restarted))
    deployed.installation.vendor.repair()

    deployed.stack.until(lambda: finished(deployed, begun))
    assert headlines() == []
    assert deployed.installation.addresses(NEWSLETTER) == deployed.installation.addresses(PRODUCTS) == ADDRESSES
    assert retries(deployed, run_id) == []


@pytest.fixture(scope="module")
def grouped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProductionInstallation]:
    with production_installation(tmp_path_factory.mktemp("grouped"), groups=2) as built:
        yield built


@pytest.mark.long
def test_after_the_run_of_a_group_was_killed_twice_its_list_is_repaired_and_the_other_group_goes_on(
    grouped: ProductionInstallation,
) -> None:
    begun, headlines = datetime.now(UTC), headlines_from_now(grouped)
    day = begun.isoformat(timespec="minutes")
    delay_fills(grouped)
    feedback = [["nord", name] for name in ("bounces", "unsubscribes", "suppression_state")]
    grouped.stack.launch("nord_daily_replace", {PLANNED_FOR: day, GROUPS: "2"}, feedback)
    grouped.stack.until(lambda: any(grouped.filling(run_id) for run_id in runs_with(grouped, GROUP_OF, day)))
    (of_newsletter,) = [run_id for run_id in runs_with(grouped, GROUP_OF, day) if grouped.filling(run_id)]

    kill_run(grouped)
    grouped.stack.until(lambda: any(grouped.filling(retry) for retry in retries(grouped, of_newsletter)))
    kill_run(grouped)
    grouped.stack.until(lambda: bool(headlines()))
    grouped.installation.vendor.repair()

    grouped.stack.until(lambda: finished(grouped, begun))
    assert headlines() == ["Alarm: nord/newsletter is INCOMPLETE", "All clear: nord/newsletter"]
    assert grouped.installation.addresses(NEWSLETTER) == grouped.installation.addresses(PRODUCTS) == ADDRESSES
    assert len(runs_with(grouped, GROUP_OF, day)) == 3, "two groups, and Dagster's retry of one"


def alarms_checked_since(production: ProductionInstallation, moment: datetime) -> bool:
    with production.installation.state() as state:
        checked = state.incidents.last_checks().get("nord")
    return checked is not None and checked > moment


def headlines_from_now(production: ProductionInstallation) -> Callable[[], list[str]]:
    notices = len(production.inbox.posts)
    return lambda: [post["headline"] for post in production.inbox.posts[notices:] if "nord" in post["headline"]]


def fill(production: ProductionInstallation, begun: datetime) -> str:
    """Start the day, and return its run once it has cleared a list and waits for the vendor."""
    delay_fills(production)
    run_id = production.stack.launch("nord_daily_replace", {PLANNED_FOR: begun.isoformat(timespec="minutes")})
    production.stack.until(lambda: production.filling(run_id))
    return run_id


def delay_fills(production: ProductionInstallation) -> None:
    production.installation.vendor.fault("addAll3", "delay", times=99, arg=PATIENCE)


def kill_run(production: ProductionInstallation) -> None:
    with production.installation.state_database() as connection:
        owner = connection.execute(select(lease.c.owner).where(lease.c.vendor_id == NEWSLETTER)).scalar_one()
    kill_worker(owner)


def retries(production: ProductionInstallation, run_id: str) -> list[str]:
    return runs_with(production, ROOT_RUN, run_id)


def runs_with(production: ProductionInstallation, key: str, value: str) -> list[str]:
    runs = production.stack.runs().items()
    return [run_id for run_id, run in runs if {"key": key, "value": value} in run["tags"]]


def finished(production: ProductionInstallation, begun: datetime) -> bool:
    """Return whether every list was proven since the day began, and people know what there was to be known since."""
    with production.installation.state() as state:
        proofs = [state.replacements.last_proven("nord", name) for name in LISTS]
        ends = [proof.finished_at for proof in proofs if proof and proof.finished_at and proof.started_at > begun]
        checked = state.incidents.last_checks().get("nord")
        unsent = state.incidents.unsent(begun).of("nord", "webhook ops")
        is_over = not state.view().open_incidents("nord") and not unsent
    return len(ends) == len(LISTS) and checked is not None and checked > max(ends) and is_over
