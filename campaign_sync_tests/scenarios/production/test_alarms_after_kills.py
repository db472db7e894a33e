"""A day whose run workers are killed during a fill: it is finished, and people get exactly the alarms that are true."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import select

from campaign_sync.orchestration.daily_replacement import PLANNED_FOR
from campaign_sync.storage.tables import lease
from campaign_sync_tests.installation import ADDRESSES, NEWSLETTER, PRODUCTS
from campaign_sync_tests.scenarios.production.installation import ProductionInstallation
from campaign_sync_tests.stack import kill_worker
from campaign_sync_tests.waiting import PATIENCE

pytestmark = [pytest.mark.thorough, pytest.mark.xdist_group("production")]

LISTS = ("newsletter", "products")
ROOT_RUN = "dagster/root_run_id"


@pytest.mark.parametrize("kills", [pytest.param(1, marks=pytest.mark.long), 2])
def test_people_get_an_alarm_of_the_list_and_its_all_clear_and_the_day_is_finished(
    production: ProductionInstallation, kills: int
) -> None:
    begun, notices = datetime.now(UTC), len(production.inbox.posts)
    delay_fills(production)
    run_id = production.stack.launch("nord_daily_replace", {PLANNED_FOR: begun.isoformat(timespec="minutes")})
    production.stack.until(lambda: production.filling(run_id))

    def headlines() -> list[str]:
        posts = production.inbox.posts[notices:]
        return [post["headline"] for post in posts if "nord" in post["headline"]]

    # The retry has to wait for this run, so that the list stays incomplete until people know of it.
    production.installation.vendor.fault("getOutBounces", "delay", times=99, arg=PATIENCE)
    production.stack.launch("nord_feedback")
    kill_run(production)
    production.stack.until(lambda: bool(headlines()))
    production.installation.vendor.repair()
    if kills == 2:
        delay_fills(production)
        production.stack.until(lambda: any(production.filling(retry) for retry in retries(production, run_id)))
        kill_run(production)
        production.installation.vendor.repair()

    production.stack.until(lambda: finished(production, begun))
    assert headlines() == ["Alarm: nord/newsletter is INCOMPLETE", "All clear: nord/newsletter"]
    assert production.installation.addresses(NEWSLETTER) == production.installation.addresses(PRODUCTS) == ADDRESSES
    assert len(retries(production, run_id)) == 1


def delay_fills(production: ProductionInstallation) -> None:
    production.installation.vendor.fault("addAll3", "delay", times=99, arg=PATIENCE)


def kill_run(production: ProductionInstallation) -> None:
    with production.installation.state_database() as connection:
        owner = connection.execute(select(lease.c.owner).where(lease.c.vendor_id == NEWSLETTER)).scalar_one()
    kill_worker(owner)


def retries(production: ProductionInstallation, run_id: str) -> list[str]:
    runs = production.stack.runs().items()
    return [key for key, run in runs if {"key": ROOT_RUN, "value": run_id} in run["tags"]]


def finished(production: ProductionInstallation, begun: datetime) -> bool:
    """Return whether every list was proven since the day began, and people know what there was to be known since."""
    with production.installation.state() as state:
        proofs = [state.replacements.last_proven("nord", name) for name in LISTS]
        ends = [proof.finished_at for proof in proofs if proof and proof.finished_at and proof.started_at > begun]
        checked = state.incidents.last_checks().get("nord")
        unsent = state.incidents.unsent(begun).of("nord", "webhook ops")
        is_over = not state.view().open_incidents("nord") and not unsent
    return len(ends) == len(LISTS) and checked is not None and checked > max(ends) and is_over
