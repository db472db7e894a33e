"""Every kind of trouble on the wire, at every step of a replace: the list ends whole, or somebody is told."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import dagster as dg
import pytest
from hypothesis import settings
from tenacity import wait_none

from campaign_sync.optimizely import session
from campaign_sync.optimizely.errors import OptimizelyError
from campaign_sync.orchestration.resources import Resources
from campaign_sync.replacement import list_writer
from campaign_sync.replacement.errors import IncompleteListError, ReplacementRefusedError
from campaign_sync.replacement.list_settings import ListSettings, list_settings
from campaign_sync.replacement.list_writer import ListWriter
from campaign_sync.sandbox.server import serve
from campaign_sync.sandbox.vendor_state import Recipient, VendorState
from campaign_sync.storage.replacements import ReplacementState
from campaign_sync_tests.faults.proxy import Proxy, Trouble, proxied
from campaign_sync_tests.installation import NEWSLETTER, NORD, Installation, running_installation

carry_out = ListWriter.carry_out

BEFORE: list[Recipient] = [
    {"id": "old@example.com", "attributes": {"Vorname": "Olga"}},
    {"id": "person1@example.org", "attributes": {"Vorname": "Anna", "entity-id": "c1"}},
    {"id": "person3@example.org", "attributes": {"Vorname": "Carla", "entity-id": "c3"}},
]
NAMES = {1: "Änne", 2: "Björn", 3: "Çelik", 4: "Dörte", 5: "Émile"}
LEAVES, BOUNCES = 2, 4
"""Whom the sweep takes out, because they left and bounced during the fill."""

CHANGING = {"addAll3", "clear", "removeAll", "removeBlacklisted", "removeBounced", "removeUnsubscribed",
            "setAttributes"}  # fmt: skip

AT_ONCE = [Trouble.CUT, Trouble.SWALLOW, Trouble.TRUNCATE, Trouble.SHORTEN, Trouble.BAD_GATEWAY, Trouble.PAGE,
           Trouble.TWICE]  # fmt: skip
EVERYTHING = settings.get_current_profile_name() == "long"
"""Whether to try every combination, and not only those that differ in kind."""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installation whose snapshot is frozen, and whose list holds what it held yesterday."""
    folder = tmp_path_factory.mktemp("template")
    with running_installation(folder) as built, dg.DagsterInstance.ephemeral() as instance:
        feedback = [("nord", name) for name in ("bounces", "unsubscribes", "suppression_state")]
        picked = [("nord", f"newsletter_{asset}") for asset in ("selection", "snapshot")]
        built.list_settings()["limits"] = {"max_growth": 1000, "max_shrink": 1}
        assert built.run("nord", instance, assets=[*feedback, *picked]).success
        built.vendor.put(NEWSLETTER, BEFORE)
    return folder


class ProxiedInstallation:
    """A copy of the template, which reaches its vendor through a proxy."""

    def __init__(self, folder: Path, vendor: VendorState, proxy: Proxy) -> None:
        self.vendor, self.proxy = vendor, proxy
        self.installation = Installation(
            folder, vendor, proxy.base_url, f"sqlite:///{folder / 'crm.db'}", f"sqlite:///{folder / 'state.db'}"
        )
        self.installation.list_settings()["limits"] = {"max_growth": 1000, "max_shrink": 1}

    @contextmanager
    def run(self, **optimizely: object) -> "Iterator[Run]":
        """A run, with these settings."""
        self.installation.settings["optimizely"] |= optimizely
        ports = Resources(self.installation.configuration)
        try:
            yield Run(ports, list_settings(self.installation.configuration, "nord", "newsletter"))
        finally:
            ports.close()


@dataclass(frozen=True)
class Run:
    """What a run opens."""

    ports: Resources
    settings: ListSettings

    def replace(self) -> None:
        """Replace the newsletter, as its asset does."""
        self.ports.replacer("nord", str(uuid4()), lambda _: None).replace(self.settings)


@pytest.fixture
def installation(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ProxiedInstallation]:
    for module, name in (
        (session, "wait_exponential"),
        (session, "wait_random"),
        (list_writer, "wait_random_exponential"),
    ):
        monkeypatch.setattr(module, name, lambda *_, **__: wait_none())
    folder = tmp_path / "copy"
    shutil.copytree(template, folder)
    vendor = VendorState(folder / "vendor.db")
    with serve(vendor) as base_url, proxied(base_url) as proxy:
        installation = ProxiedInstallation(folder, vendor, proxy)

        def fill_while_two_leave(*arguments: Any, **options: Any) -> object:
            codes = carry_out(*arguments, **options)
            vendor.unsubscribe(NORD, f"person{LEAVES}@example.org")
            vendor.bounce(NORD, f"person{BOUNCES}@example.org")
            return codes

        monkeypatch.setattr(ListWriter, "carry_out", fill_while_two_leave)
        yield installation
    vendor.close()


def held(installation: ProxiedInstallation) -> list[tuple[str, str, dict[str, str | None]]]:
    """The list as it is: ids, addresses and what was sent, sorted."""
    return sorted((one["id"], one["address"], one["attributes"]) for one in installation.vendor.recipients(NEWSLETTER))


def wanted() -> list[tuple[str, str, dict[str, str | None]]]:
    """The list as it should be in the end."""
    return [
        (
            f"person{number}@example.org",
            f"person{number}@example.org",
            {
                "opt-in-id": "newsletter-nord",
                "description": "News",
                "media-type": "email",
                "entity-type": "contact",
                "entity-id": f"c{number}",
                "Vorname": name,
                "Nachname": "Groß",
                "Ort": "Köln",
            },
        )
        for number, name in NAMES.items()
        if number not in (LEAVES, BOUNCES)
    ]


def replace_and_judge(installation: ProxiedInstallation, run: Run) -> bool:
    """Replace the list once. Whatever happens, the list is whole, or as before, or somebody was told.

    Returns whether it was proven.
    """
    before, calls, journal = held(installation), len(installation.vendor.calls()), run.ports.state.replacements
    was_incomplete = journal.incomplete("nord", "newsletter") is not None
    ended, told = "proven", ""
    try:
        run.replace()
    except (ReplacementRefusedError, OptimizelyError) as error:
        ended, told = "refused", str(error)
    except IncompleteListError as error:
        ended, told = "incomplete", str(error)
    calls_since = [call for call in installation.vendor.calls()[calls:] if call.list_id == NEWSLETTER]
    incomplete = journal.incomplete("nord", "newsletter")
    assert ("INCOMPLETE since" in told) == (ended == "incomplete")
    if ended == "proven":
        proven = journal.last_proven("nord", "newsletter")
        assert held(installation) == wanted()
        assert incomplete is None
        assert proven is not None
        assert proven.in_list == len(wanted())
    elif ended == "refused":
        assert held(installation) == before
        assert [call for call in calls_since if call.operation in CHANGING] == []
        assert (incomplete is not None) == was_incomplete
    else:
        assert incomplete is not None
        assert incomplete.state is ReplacementState.FAILED
    return ended == "proven"


def replace_until_proven(installation: ProxiedInstallation, tries: int = 5, **optimizely: object) -> int:
    """Replace and replace again, in one session as Dagster's retries do; judged each time. Returns how often."""
    with installation.run(batch_size=1, **optimizely) as run:
        number = next((n for n in range(1, tries + 1) if replace_and_judge(installation, run)), None)
    assert number is not None, f"not proven in {tries} tries"
    installation.proxy.deliver_late_ones()
    assert held(installation) == wanted(), "a late call changed a proven list"
    return number


SPOTS = [
    ("login", 1),
    ("containsAll", 1),
    ("clear", 1),
    ("addAll3", 1),
    ("addAll3", 3),
    ("addAll3", 5),
    ("removeUnsubscribed", 1),
    ("removeBounced", 1),
    ("containsAll", 2),
    ("getCount", 1),
    ("getAllAdvanced", 1),
]
"""Operations of a replace, and which of their calls: first, middle, last."""


@pytest.mark.parametrize(
    ("trouble", "times", "parallel_calls"),
    [
        *((trouble, 1, 1) for trouble in AT_ONCE),
        *((trouble, 4, 4) for trouble in (AT_ONCE if EVERYTHING else (Trouble.CUT, Trouble.SWALLOW, Trouble.TWICE))),
    ],
)
@pytest.mark.parametrize(("operation", "nth"), SPOTS)
def test_trouble_with_a_call_ends_in_the_whole_list(
    installation: ProxiedInstallation, operation: str, nth: int, trouble: Trouble, times: int, parallel_calls: int
) -> None:
    installation.proxy.spoil(operation, trouble, nth, times)

    replace_until_proven(installation, parallel_calls=parallel_calls)
    assert set(installation.proxy.met) == {trouble}


@pytest.mark.parametrize("trouble", AT_ONCE if EVERYTHING else [Trouble.SWALLOW, Trouble.TWICE])
@pytest.mark.parametrize(
    ("strategy", "operation", "nth"),
    [
        ("differential", "getAllAdvanced", 1),
        ("differential", "removeAll", 1),
        ("differential", "setAttributes", 1),
        ("differential", "addAll3", 1),
        ("differential", "addAll3", 3),
    ],
)
def test_other_strategies_end_in_the_whole_list_as_well(
    installation: ProxiedInstallation, strategy: str, operation: str, nth: int, trouble: Trouble
) -> None:
    installation.installation.list_settings().update(strategy=strategy, id_attribute="Recipient")
    installation.proxy.spoil(operation, trouble, nth)

    replace_until_proven(installation, parallel_calls=2)
    assert installation.proxy.met == [trouble]


@pytest.mark.smoke
def test_slow_answers_cost_nothing_but_time(installation: ProxiedInstallation) -> None:
    for operation in dict(SPOTS):
        installation.proxy.spoil(operation, Trouble.DELAY, times=99)

    assert replace_until_proven(installation, parallel_calls=4) == 1


@pytest.mark.parametrize("after", range(20) if EVERYTHING else [0, 8])
@pytest.mark.parametrize("times", [1, 4])
@pytest.mark.parametrize(("operation", "nth"), [("clear", 1), ("addAll3", 1), ("addAll3", 3), ("addAll3", 5)])
def test_a_call_that_arrives_when_nobody_expects_it_any_more_spoils_no_proven_list(
    installation: ProxiedInstallation, operation: str, nth: int, times: int, after: int
) -> None:
    installation.proxy.spoil(operation, Trouble.LATE, nth, times, after)

    replace_until_proven(installation, parallel_calls=1)
