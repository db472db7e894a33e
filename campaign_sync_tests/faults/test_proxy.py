"""Every kind of network fault, at every step of a replacement: the list ends complete, or an error says it isn't."""

from typing import Any

import pytest
from hypothesis import settings

from campaign_sync.optimizely.errors import OptimizelyError
from campaign_sync.replacement.errors import IncompleteListError, ReplacementRefusedError
from campaign_sync.replacement.list_writer import ListWriter
from campaign_sync.storage.replacements import ReplacementState
from campaign_sync_tests.faults.proxied_installation import ProxiedInstallation, Run
from campaign_sync_tests.faults.proxy import NetworkFault
from campaign_sync_tests.installation import NEWSLETTER, NORD

carry_out = ListWriter.carry_out

NAMES = {1: "Änne", 2: "Björn", 3: "Çelik", 4: "Dörte", 5: "Émile"}
LEAVES, BOUNCES = 2, 4
"""The people whom the sweep removes, because they unsubscribe and bounce during the fill."""

CHANGING = {"addAll3", "clear", "removeAll", "removeBlacklisted", "removeBounced", "removeUnsubscribed",
            "setAttributes"}  # fmt: skip

FAULTS = [
    NetworkFault.LOST_REQUEST,
    NetworkFault.LOST_ANSWER,
    NetworkFault.TRUNCATED_ANSWER,
    NetworkFault.SHORTENED_ANSWER,
    NetworkFault.BAD_GATEWAY,
    NetworkFault.PAGE,
    NetworkFault.DUPLICATE,
]
ALL_COMBINATIONS = settings.get_current_profile_name() == "long"
"""Whether to test every combination, not only those that differ in kind."""


@pytest.fixture
def installation(installation: ProxiedInstallation, monkeypatch: pytest.MonkeyPatch) -> ProxiedInstallation:
    """An installation behind a proxy, in which two people unsubscribe and bounce during the fill."""

    def fill_while_two_leave(*arguments: Any, **options: Any) -> object:
        codes = carry_out(*arguments, **options)
        installation.vendor.unsubscribe(NORD, f"person{LEAVES}@example.org")
        installation.vendor.bounce(NORD, f"person{BOUNCES}@example.org")
        return codes

    monkeypatch.setattr(ListWriter, "carry_out", fill_while_two_leave)
    return installation


def recipients(installation: ProxiedInstallation) -> list[tuple[str, str, dict[str, str | None]]]:
    """Return the ids, addresses and attributes in the list, sorted."""
    return sorted(
        (recipient["id"], recipient["address"], recipient["attributes"])
        for recipient in installation.vendor.recipients(NEWSLETTER)
    )


def wanted() -> list[tuple[str, str, dict[str, str | None]]]:
    """Return the recipients that the list must have in the end."""
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
    """Replace the list once, and return whether it was proven.

    Check that the list is complete, or as before, or that an error says that it is incomplete.
    """
    before, calls, journal = (
        recipients(installation),
        len(installation.vendor.calls()),
        run.resources.state.replacements,
    )
    was_incomplete = journal.incomplete("nord", "newsletter") is not None
    outcome, message = "proven", ""
    try:
        run.replace()
    except (ReplacementRefusedError, OptimizelyError) as error:
        outcome, message = "refused", str(error)
    except IncompleteListError as error:
        outcome, message = "incomplete", str(error)
    calls_since = [call for call in installation.vendor.calls()[calls:] if call.list_id == NEWSLETTER]
    incomplete = journal.incomplete("nord", "newsletter")
    assert ("INCOMPLETE since" in message) == (outcome == "incomplete")
    if outcome == "proven":
        proven = journal.last_proven("nord", "newsletter")
        assert recipients(installation) == wanted()
        assert incomplete is None
        assert proven is not None
        assert proven.in_list == len(wanted())
    elif outcome == "refused":
        assert recipients(installation) == before
        assert [call for call in calls_since if call.operation in CHANGING] == []
        assert (incomplete is not None) == was_incomplete
    else:
        assert incomplete is not None
        assert incomplete.state is ReplacementState.FAILED
    return outcome == "proven"


def replace_until_proven(installation: ProxiedInstallation, tries: int = 5, **optimizely: object) -> int:
    """Replace the list until it is proven, in one session like Dagster's retries, and return the number of tries."""
    with installation.run(batch_size=1, **optimizely) as run:
        number = next((n for n in range(1, tries + 1) if replace_and_judge(installation, run)), None)
    assert number is not None, f"not proven in {tries} tries"
    installation.proxy.deliver_delayed_requests()
    assert recipients(installation) == wanted(), "a late call changed a proven list"
    return number


CALLS = [
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
"""Calls of a replacement, by operation and number: first, middle, last."""


@pytest.mark.sample(12)
@pytest.mark.parametrize(
    ("fault", "times", "parallel_calls"),
    [
        *((fault, 1, 1) for fault in FAULTS),
        *(
            (fault, 4, 4)
            for fault in (
                FAULTS
                if ALL_COMBINATIONS
                else (NetworkFault.LOST_REQUEST, NetworkFault.LOST_ANSWER, NetworkFault.DUPLICATE)
            )
        ),
    ],
)
@pytest.mark.parametrize(("operation", "nth"), CALLS)
def test_a_fault_of_any_call_ends_in_the_complete_list(
    installation: ProxiedInstallation, operation: str, nth: int, fault: NetworkFault, times: int, parallel_calls: int
) -> None:
    installation.proxy.inject(operation, fault, nth, times)

    replace_until_proven(installation, parallel_calls=parallel_calls)
    assert set(installation.proxy.occurred) == {fault}


@pytest.mark.sample(3)
@pytest.mark.parametrize("fault", FAULTS if ALL_COMBINATIONS else [NetworkFault.LOST_ANSWER, NetworkFault.DUPLICATE])
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
def test_a_fault_of_the_differential_strategy_ends_in_the_complete_list_as_well(
    installation: ProxiedInstallation, strategy: str, operation: str, nth: int, fault: NetworkFault
) -> None:
    installation.installation.list_settings().update(strategy=strategy, id_attribute="Recipient")
    installation.proxy.inject(operation, fault, nth)

    replace_until_proven(installation, parallel_calls=2)
    assert installation.proxy.occurred == [fault]


@pytest.mark.smoke
def test_slow_answers_need_no_second_try(installation: ProxiedInstallation) -> None:
    for operation in dict(CALLS):
        installation.proxy.inject(operation, NetworkFault.DELAY, times=99)

    assert replace_until_proven(installation, parallel_calls=4) == 1


@pytest.mark.sample(4)
@pytest.mark.parametrize("after", range(20) if ALL_COMBINATIONS else [0, 8])
@pytest.mark.parametrize("times", [1, 4])
@pytest.mark.parametrize(("operation", "nth"), [("clear", 1), ("addAll3", 1), ("addAll3", 3), ("addAll3", 5)])
def test_a_call_that_arrives_late_does_not_change_a_proven_list(
    installation: ProxiedInstallation, operation: str, nth: int, times: int, after: int
) -> None:
    installation.proxy.inject(operation, NetworkFault.LATE, nth, times, after)

    replace_until_proven(installation, parallel_calls=1)
