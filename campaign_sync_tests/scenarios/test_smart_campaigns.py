"""Replacements of lists that Smart Campaigns use, which they do until they are switched off."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest

from campaign_sync.cli.run import problems
from campaign_sync.replacement import mailing_interlock
from campaign_sync.replacement.preflight import Preflight
from campaign_sync_tests.installation import ADDRESSES, NEWSLETTER, NORD, PRODUCTS, Installation
from campaign_sync_tests.scenarios.daily_run import CHAIN, gate

CAMPAIGN = 78


@pytest.fixture
def sleeps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the seconds that the interlock would have slept, without sleeping."""
    slept: list[float] = []
    monkeypatch.setattr(mailing_interlock, "sleep", slept.append)
    return slept


def add_campaign(
    installation: Installation, status: str, starts_in: timedelta | None = None, list_id: int = NEWSLETTER
) -> None:
    start = datetime.now(UTC) + starts_in if starts_in is not None else None
    installation.vendor.add_mailing(
        NORD, CAMPAIGN, "Willkommen", mailing_type="campaign", status=status, list_ids=[list_id], scheduled_at=start
    )


def configure_mailings(installation: Installation, **settings: str) -> None:
    installation.settings["mandators"]["nord"]["mailings"] = settings


@pytest.mark.two_lists
@pytest.mark.usefixtures("sleeps")
def test_a_list_is_replaced_every_day_despite_a_smart_campaign_that_never_ends(
    installation: Installation,
) -> None:
    add_campaign(installation, "SENDING")
    for day in (1, 2):
        installation.add_contact(f"new{day}", f"new{day}@example.org")
        result = installation.day()
        assert problems(result) == []
        assert f"new{day}@example.org" in installation.addresses()
        preflight = gate(result)
        assert (preflight.passed, preflight.severity) == (False, dg.AssetCheckSeverity.WARN)
        assert "Smart Campaign 78 “Willkommen”, which uses the list, is being sent" in (preflight.description or "")
        assert "strategy: differential" in (preflight.description or "")
        assert gate(result, "products").passed, "it uses another list"


def test_a_replacement_waits_once_for_a_smart_campaign_and_checks_opt_outs_afterwards(
    installation: Installation, sleeps: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    add_campaign(installation, "SENDING")
    configure_mailings(installation, max_wait="10m")

    def sleep(seconds: float) -> None:
        sleeps.append(seconds)
        installation.vendor.unsubscribe(NORD, "person5@example.org")

    monkeypatch.setattr(mailing_interlock, "sleep", sleep)
    result = installation.run(assets=CHAIN)

    assert result.success, problems(result)
    assert sum(sleeps) == 600
    assert installation.addresses() == ADDRESSES[:4]
    with installation.state() as state:
        assert state.rejections.counts(result.run_id, "nord", "newsletter") == {("gate", "unsubscribed"): 1}


@pytest.mark.long
def test_a_smart_campaign_that_ends_while_it_is_waited_for_leaves_no_warning(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_campaign(installation, "SENDING")
    monkeypatch.setattr(mailing_interlock, "sleep", lambda _: installation.vendor.set_mailing_status(CAMPAIGN, "DONE"))
    assert gate(installation.day()).passed


@pytest.mark.usefixtures("sleeps")
def test_a_smart_campaign_keeps_a_list_untouched_if_the_configuration_says_so(installation: Installation) -> None:
    installation.fill_by_hand(NEWSLETTER, ADDRESSES[:4])
    add_campaign(installation, "SENDING")
    configure_mailings(installation, smart_campaigns="refuse")

    result = installation.run(assets=CHAIN)

    (problem,) = problems(result)
    assert "Smart Campaign 78 “Willkommen”, which uses the list, is being sent" in problem
    assert "mandators.nord.mailings.smart_campaigns is refuse" in problem
    assert installation.addresses() == ADDRESSES[:4]


@pytest.mark.long
@pytest.mark.usefixtures("sleeps")
def test_a_smart_campaign_that_starts_soon_is_waited_for_like_any_other_mailing(installation: Installation) -> None:
    add_campaign(installation, "NEW", timedelta(minutes=50))

    result = installation.run(assets=CHAIN)

    assert "Smart Campaign 78 “Willkommen”, which uses the list, starts at" in problems(result)[0]
    assert installation.clears() == 0


@pytest.mark.sample(1)
@pytest.mark.two_lists
@pytest.mark.parametrize(
    ("status", "starts_in", "list_id", "shown"),
    [
        ("ACTIVATION_REQUIRED", None, NEWSLETTER, True),
        ("ACTIVATION_REQUIRED", timedelta(minutes=5), NEWSLETTER, True),
        ("NEW", None, NEWSLETTER, False),
        ("NEW", timedelta(minutes=70), NEWSLETTER, False),
        ("SENDING", None, PRODUCTS + 5, False),
        ("DONE", None, NEWSLETTER, False),
    ],
)
def test_other_smart_campaigns_do_not_stop_a_replacement(
    installation: Installation, status: str, starts_in: timedelta | None, list_id: int, shown: bool
) -> None:
    add_campaign(installation, status, starts_in, list_id)

    preflight = gate(installation.day())

    assert preflight.passed
    assert (
        "Smart Campaign 78 “Willkommen”, which uses the list, isn't activated yet" in str(preflight.metadata)
    ) == shown


@pytest.mark.long
@pytest.mark.usefixtures("sleeps")
def test_a_regular_mailing_beside_a_smart_campaign_still_keeps_the_list_untouched(installation: Installation) -> None:
    add_campaign(installation, "SENDING")
    installation.vendor.add_mailing(NORD, 77, "November", status="SENDING", list_ids=[NEWSLETTER])

    result = installation.run(assets=CHAIN)

    assert "mailing 77, which uses the list, is being sent" in problems(result)[0]
    assert installation.clears() == 0


@pytest.fixture
def no_smart_campaigns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the vendor refuse the mailing type `campaign`."""
    from campaign_sync.sandbox import web_services

    ids_in_status: Callable[..., Any] = web_services.HANDLERS["Mailing", "getIdsInStatus"]

    def refuse(caller: Any, mailing_type: str, status: str) -> Any:
        if mailing_type == "campaign":
            raise caller.fault("java.lang.IllegalArgumentException: No enum constant", mailingType=mailing_type)
        return ids_in_status(caller, mailing_type, status)

    monkeypatch.setitem(web_services.HANDLERS, ("Mailing", "getIdsInStatus"), refuse)


@pytest.mark.usefixtures("no_smart_campaigns")
def test_a_vendor_that_does_not_know_smart_campaigns_stops_no_list(installation: Installation) -> None:
    preflight = gate(installation.day())

    assert preflight.passed
    assert "the vendor doesn't show Smart Campaigns" in str(preflight.metadata)


@pytest.mark.usefixtures("no_smart_campaigns")
def test_with_refuse_a_list_is_not_cleared_if_the_vendor_does_not_show_smart_campaigns(
    installation: Installation,
) -> None:
    configure_mailings(installation, smart_campaigns="refuse")

    assert "set mandators.nord.mailings.smart_campaigns to warn" in problems(installation.run(assets=CHAIN))[0]
    assert installation.clears() == 0


@pytest.mark.sample(1)
@pytest.mark.parametrize("mailing_type", ["regular", "campaign"])
def test_a_mailing_that_starts_between_preflight_and_clear_refuses_the_replacement(
    installation: Installation, sleeps: list[float], monkeypatch: pytest.MonkeyPatch, mailing_type: str
) -> None:
    installation.fill_by_hand(NEWSLETTER, ADDRESSES[:4])
    run = Preflight.run

    def run_and_begin(*arguments: Any) -> Any:
        result = run(*arguments)
        installation.vendor.add_mailing(
            NORD, CAMPAIGN, "Willkommen", mailing_type=mailing_type, status="SENDING", list_ids=[NEWSLETTER]
        )
        return result

    monkeypatch.setattr(Preflight, "run", run_and_begin)
    result = installation.run(assets=CHAIN)

    assert "is being sent, since the list was admitted" in problems(result)[0]
    assert sleeps == []
    assert installation.addresses() == ADDRESSES[:4]
