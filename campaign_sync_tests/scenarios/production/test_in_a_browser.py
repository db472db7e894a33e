"""The pages of Dagster's UI and the daily report in a real browser."""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from campaign_sync_tests.installation import NORD
from campaign_sync_tests.scenarios.production.installation import ProductionInstallation
from campaign_sync_tests.waiting import PATIENCE

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = [
    pytest.mark.thorough,
    pytest.mark.xdist_group("production"),
    pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1500, "height": 1000})
        page.set_default_timeout(PATIENCE * 1000)
        expect.set_options(timeout=PATIENCE * 1000)
        yield page
        browser.close()


def visit(page: Page, production: ProductionInstallation, path: str) -> None:
    page.goto(f"http://127.0.0.1:{production.stack.port}{path}")


def test_the_lineage_shows_the_assets_of_every_list(production: ProductionInstallation, page: Page) -> None:
    visit(page, production, "/locations/campaign_sync/asset-groups/nord")

    for asset in ("bounces", "suppression_state", "newsletter_selection", "products_recipient_list"):
        expect(page.get_by_text(asset, exact=True).first).to_be_visible()


def test_the_page_of_a_list_explains_to_marketers_what_it_is(production: ProductionInstallation, page: Page) -> None:
    visit(page, production, "/assets/nord/newsletter_recipient_list")

    expect(page.get_by_text("Newsletter für Österreich").first).to_be_visible()
    expect(page.get_by_text("If it is red:").first).to_be_visible()


def test_a_failed_check_shows_its_reason(production: ProductionInstallation, page: Page) -> None:
    fitting, unreadable = ["stranger@example.org", "1795000000000"], ["not an address", "not a time"]
    production.installation.vendor.publish(NORD, "getUnsubscribes", [fitting, unreadable])
    run_id = production.stack.launch("nord_feedback")
    production.stack.until(lambda: production.stack.runs()[run_id]["status"] in ("SUCCESS", "FAILURE"))

    visit(page, production, "/assets/nord/suppression_state?view=checks&checkDetail=layout")

    expect(page.get_by_text("1 row of getUnsubscribes can't be read").first).to_be_visible()
    expect(page.get_by_text("mandators.nord.feedback.readers").first).to_be_visible()
    with production.installation.vendor.transaction() as vendor:  # later tests import feedback as well
        vendor.execute("DELETE FROM export_row WHERE mandator_id = ?", [NORD])
    with production.installation.state() as state:
        for read in state.feedback_imports.pending("nord"):
            state.feedback_imports.dismiss(read.id, "the test", "it was to be unreadable", datetime.now(UTC))


def test_schedules_and_sensors_say_when_and_why(production: ProductionInstallation, page: Page) -> None:
    visit(page, production, "/automation")

    for name in ("nord_daily", "campaign_sync_repair", "campaign_sync_alarms"):
        expect(page.get_by_text(name, exact=True).first).to_be_visible()


def test_the_report_that_the_daily_run_links_to_opens_and_loads_nothing_else(
    production: ProductionInstallation, page: Page
) -> None:
    page.goto("about:blank")  # a page that it was on before asks the server now and then
    run_id = production.stack.launch("nord_daily_replace")
    production.stack.until(lambda: "campaign_sync/report" in tags(production, run_id))
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))

    page.goto(f"file://{tags(production, run_id)['campaign_sync/report']}")

    expect(page.get_by_role("heading", level=1)).to_be_visible()
    expect(page.get_by_text("Newsletter für Österreich").first).to_be_visible()
    assert page.locator("svg").count() > 0
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing sticks out"
    assert [url for url in requested if not url.startswith(("file:", "data:"))] == []


def tags(production: ProductionInstallation, run_id: str) -> dict[str, str]:
    return {tag["key"]: tag["value"] for tag in production.stack.runs()[run_id]["tags"]}
