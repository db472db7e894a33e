"""Faults of Salesforce and Dynamics 365, each alone and in random order: every list is right, or untouched and why."""

import logging
import random
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from campaign_sync.crm.dataverse import open as dataverse_open
from campaign_sync.crm.dataverse.source import DataverseSource
from campaign_sync.crm.salesforce import source as salesforce_source
from campaign_sync.crm.salesforce.source import SalesforceSource
from campaign_sync.orchestration.retry_policy import RetryPolicy
from campaign_sync.sandbox.server import serve
from campaign_sync.sandbox.vendor_state import VendorState
from campaign_sync_tests.crm.dataverse import stand_in as dynamics
from campaign_sync_tests.crm.salesforce import org as salesforce
from campaign_sync_tests.crm_faults.crm import FaultyCrm
from campaign_sync_tests.crm_faults.days import LISTS, Days
from campaign_sync_tests.crm_faults.dynamics import PAGE_ROWS, FaultyDynamics
from campaign_sync_tests.crm_faults.salesforce import FaultySalesforce
from campaign_sync_tests.installation import ATTRIBUTES, ENVIRONMENT, NORD, Installation

_log = logging.getLogger(__name__)

CRMS = ["salesforce", "dataverse"]

FAULTS = [
    *(("salesforce", name) for name in FaultySalesforce(salesforce.Org(), "").faults()),
    *(("dataverse", name) for name in FaultyDynamics(dynamics.Dataverse(), "").faults()),
]

LASTING = "day|limit|half|hidden|report|mine|sums$|50,001"
"""Faults that last for the whole day; a scheduled run gets over all others."""

PARTIAL = "writes cut after the work"
"""Each attempt writes a little: whether that is enough depends on how much is to be written."""

Begin = Callable[..., Days]


@pytest.fixture
def begin(tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Iterator[Begin]:
    """Return what builds an installation on a CRM. Nothing waits."""
    monkeypatch.setattr(salesforce_source, "SalesforceSource", partial(SalesforceSource, wait=_at_once))
    small_pages = partial(DataverseSource, page_rows=PAGE_ROWS, wait=_at_once)
    monkeypatch.setattr(dataverse_open, "DataverseSource", small_pages)
    caplog.set_level(logging.INFO, logger="campaign_sync")
    with ExitStack() as stack:

        def begun(
            kind: str, seed: int, people: tuple[int, int] = (24, 14), lists: Sequence[str] = tuple(LISTS)
        ) -> Days:
            crm: FaultyCrm
            if kind == "salesforce":
                org = salesforce.Org()
                crm = FaultySalesforce(org, stack.enter_context(salesforce.serving(org)))
            else:
                environment = dynamics.Dataverse()
                crm = FaultyDynamics(environment, stack.enter_context(dynamics.serving(environment)))
            vendor = VendorState(tmp_path / "vendor.db")
            stack.callback(vendor.close)
            vendor.add_mandator(NORD, ENVIRONMENT["USERNAME_OF_BOTH"], ENVIRONMENT["PASSWORD_OF_BOTH"])
            installation = _installed(tmp_path, crm, vendor, stack.enter_context(serve(vendor)), lists)
            days = Days(crm, installation, random.Random(seed), caplog, lists)
            days.first_people(*people)
            return days

        yield begun


def _at_once(_: float) -> None:
    """Wait no time."""


def _installed(folder: Path, crm: FaultyCrm, vendor: VendorState, base_url: str, lists: Sequence[str]) -> Installation:
    for name in lists:
        vendor.add_list(NORD, LISTS[name], name, ATTRIBUTES)
    installation = Installation(folder, vendor, base_url, "unused", f"sqlite:///{folder / 'state.db'}")
    installation.environment |= crm.secrets
    settings = installation.settings
    settings["crm"] = crm.settings
    del settings["mandators"]["sued"]
    settings["mandators"]["nord"]["lists"] = {
        name: {
            "recipient_list_id": LISTS[name],
            "kind": "regular",
            "opt_in_id": crm.opt_ins[name],
            "attributes": {"Vorname": "first_name", "Nachname": "last_name", "Ort": "city"},
            "limits": {"max_shrink": 0.9, "max_growth": 9},
            "select": dict(crm.selections[name]),
        }
        for name in lists
    }
    installation.retry_policy = RetryPolicy(seconds_unattended=0, seconds_by_hand=0)
    return installation


def days_with_faults(days: Days, count: int, seed: int, busy: float = 1) -> None:
    """Let days pass with drawn faults, and a last one without any."""
    _log.warning("%s with seed %d", type(days.crm).__name__, seed)
    rng, names = random.Random(seed), sorted(days.crm.faults())
    for _ in range(count):
        days.morning(busy)
        drawn = rng.sample(names, rng.choice([0, 1, 1, 1, 2, 3]))
        refused = [person for person in days.people if rng.random() < 0.5] if rng.random() < 0.3 else []
        how = {"withdraws_meanwhile": rng.random() < 0.4, "by_hand": rng.random() < 0.3}
        _log.warning("day %d: %s, %d refused, %s", days.number, drawn, len(refused), how)
        with days.crm.refusing(refused):
            day = days.run(*drawn, **how)
        _log.warning("untouched: %s %s", day.untouched, day.problems)
        if not drawn and not refused:
            days.judge_feedback()
    days.run()
    days.judge_feedback()


@pytest.mark.thorough
@pytest.mark.parametrize(("kind", "seed"), [("salesforce", 19), pytest.param("dataverse", 26, marks=pytest.mark.long)])
def test_after_two_days_with_faults_a_list_is_right_and_nothing_is_lost(begin: Begin, kind: str, seed: int) -> None:
    days_with_faults(begin(kind, seed, (12, 5), ["newsletter"]), 1, seed, busy=4)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("kind", CRMS)
def test_after_ten_days_with_faults_every_list_is_right_and_nothing_is_lost(begin: Begin, kind: str, seed: int) -> None:
    days = begin(kind, seed)
    days.run()
    days_with_faults(days, 10, seed)


@pytest.mark.long
@pytest.mark.parametrize(("kind", "name"), FAULTS)
def test_a_fault_alone_leaves_every_list_right_or_untouched(begin: Begin, kind: str, name: str) -> None:
    days = begin(kind, 1)
    days.run()
    days.morning(busy=2)
    day = days.run(name)
    _log.warning("%s", day)
    assert name == PARTIAL or bool(day.problems) == bool(re.search(LASTING, name)), day
    days.run()
    days.judge_feedback()
