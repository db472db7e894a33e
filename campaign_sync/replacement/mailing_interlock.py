"""The send interlock: a list isn't cleared under a mailing that is being sent or is about to start.

A Smart Campaign is being sent for as long as it is switched on, so it is waited for as long as may be, and then passes
with a warning, unless the configuration says otherwise.
"""

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from campaign_sync.domain.checks import CheckOutcome
from campaign_sync.feedback.mailing_lists import ListsOfMailings
from campaign_sync.optimizely.client import Optimizely
from campaign_sync.optimizely.errors import RefusedError, UnknownFaultError
from campaign_sync.replacement.target import Target

NAME = "mailings"
"""What the gate calls this check."""

MAILING_TYPES = ("regular", "split")
"""Those that go to whole lists. Event mailings, once started, count as being sent for ever."""

SMART_CAMPAIGN = "campaign"
"""The mailing type of Smart Campaigns."""

CAMPAIGN_STATUSES = ("SENDING", "NEW", "ACTIVATION_REQUIRED")
"""Those of Smart Campaigns that use their lists, or are going to."""

OVERDUE = timedelta(minutes=15)
"""A mailing that should have started so long ago and is still new, isn't about to start: it is a draft."""

ASKED_EVERY = timedelta(seconds=30)

NOT_SHOWN = "the vendor doesn't tell about Smart Campaigns: it refuses the mailing type campaign"


@dataclass(frozen=True)
class Wait:
    """How waiting for mailings has ended."""

    outcome: CheckOutcome
    took: timedelta = timedelta(0)
    passed: frozenset[int] = frozenset()
    """Smart Campaigns that are being sent and were waited for long enough: they don't stop this replace any more."""


@dataclass(frozen=True)
class _Use:
    """A mailing that uses the list now, or soon."""

    mailing_id: int
    found: str
    earliest_end: timedelta = timedelta(0)
    endless: bool = False
    """Whether it is a Smart Campaign being sent, of which nobody knows when it ends."""


@dataclass(frozen=True)
class _Uses:
    """Every mailing that stands in the way, and what else should be known."""

    uses: tuple[_Use, ...]
    notes: tuple[str, ...]
    campaigns_are_shown: bool
    """Whether the vendor says which Smart Campaigns are being sent."""


def wait_for_mailings(
    target: Target, vendor: Optimizely, say: Callable[[str], None], sleep: Callable[[float], None] = time.sleep
) -> Wait:
    """Wait until no mailing stands in the way, or would for longer than the list's `max_wait`.

    `say` is told what is being waited for, whenever that changes.
    """
    if not target.watch_mailings:
        return Wait(CheckOutcome(NAME, True, f"mailings.watch is off for {target.mandator}"))
    waited, said = timedelta(0), None
    while (found := _uses(target, vendor)).uses:
        next_use = _longest(found.uses)
        if waited + max(next_use.earliest_end, ASKED_EVERY) > target.max_wait:
            return _end_of_patience(target, found, waited)
        if next_use.found != said:
            say(f"{target} waits: {next_use.found}")
            said = next_use.found
        sleep(ASKED_EVERY.total_seconds())
        waited += ASKED_EVERY
    quiet = f"no mailing uses the list now or within {target.quiet_before_mailing}"
    summary = f"{quiet}{f', after waiting {waited}' if waited else ''}"
    if found.campaigns_are_shown:
        return Wait(CheckOutcome(NAME, True, "; ".join([summary, *found.notes])), waited)
    if target.smart_campaigns == "refuse":
        remedy = f"set {_setting(target)} to warn, or ask the vendor's support to show them"
        return Wait(CheckOutcome(NAME, False, f"{NOT_SHOWN}; {remedy}"), waited)
    return Wait(CheckOutcome(NAME, True, f"{summary}; {NOT_SHOWN}"), waited)


def mailings_before_clear(target: Target, vendor: Optimizely, passed: Collection[int]) -> CheckOutcome:
    """What stands in the way at the very moment of clearing.

    Nothing is waited for any more: the look at who has left would grow old. `passed` are the Smart Campaigns that were
    waited for before.
    """
    if not target.watch_mailings:
        return CheckOutcome(NAME, True, f"mailings.watch is off for {target.mandator}")
    begun = [use for use in _uses(target, vendor).uses if use.mailing_id not in passed]
    if not begun:
        return CheckOutcome(NAME, True, "no mailing has begun meanwhile")
    return CheckOutcome(NAME, False, f"{begun[0].found}, since the list was admitted; replace it again")


def _longest(uses: Collection[_Use]) -> _Use:
    """The one that stands in the way for longest, of those that end at all."""
    return max(uses, key=lambda use: (not use.endless, use.earliest_end))


def _end_of_patience(target: Target, found: _Uses, waited: timedelta) -> Wait:
    ending = [use for use in found.uses if not use.endless]
    if ending:
        remedy = f"replace it once that mailing is through (max_wait is {target.max_wait})"
        return Wait(CheckOutcome(NAME, False, f"{_longest(ending).found}; {remedy}"), waited)
    campaigns = " · ".join(use.found for use in found.uses)
    waiting = f"{campaigns}, {f'and still is after waiting {waited}' if waited else f'max_wait is {target.max_wait}'}"
    if target.smart_campaigns == "refuse":
        remedy = "pause the campaign, choose strategy: differential for this list, or set it to warn"
        return Wait(CheckOutcome(NAME, False, f"{waiting}; {_setting(target)} is refuse: {remedy}"), waited)
    summary = (
        f"{waiting}; the list is replaced all the same, and the campaign may find it empty or half full meanwhile: "
        f"choose strategy: differential for this list (no empty moment), or set {_setting(target)} to refuse"
    )
    passed = frozenset(use.mailing_id for use in found.uses)
    return Wait(CheckOutcome(NAME, False, "; ".join([summary, *found.notes]), warning=True), waited, passed)


def _setting(target: Target) -> str:
    return f"mandators.{target.mandator}.mailings.smart_campaigns"


def _uses(target: Target, vendor: Optimizely) -> _Uses:
    uses = [
        _Use(mailing_id, f"{who} is being sent")
        for mailing_type in MAILING_TYPES
        for mailing_id, who in _using(target, vendor, mailing_type, "SENDING").items()
    ]
    for mailing_type in MAILING_TYPES:
        uses += _starting(target, vendor, _using(target, vendor, mailing_type, "NEW"), vendor.mailings.schedule_date)
    sending, planned, inactive = (_campaigns(target, vendor, status) for status in CAMPAIGN_STATUSES)
    uses += [_Use(campaign, f"{who} is being sent", endless=True) for campaign, who in (sending or {}).items()]
    uses += _starting(target, vendor, planned or {}, lambda campaign: _start(vendor, campaign))
    notes = [f"{who} isn't activated yet" for who in (inactive or {}).values()]
    return _Uses(tuple(uses), tuple(notes), sending is not None)


def _starting(
    target: Target, vendor: Optimizely, new: Mapping[int, str], start_of: Callable[[int], datetime | None]
) -> Iterator[_Use]:
    """Of new mailings, those that start soon or should have started a moment ago."""
    now = vendor.closed_loop.current_time() if new else None
    for mailing_id, who in new.items():
        start = start_of(mailing_id)
        if now and start and now - OVERDUE <= start <= now + target.quiet_before_mailing:
            starts = f"{who} starts at {start:%Y-%m-%d %H:%M} UTC"
            yield _Use(mailing_id, starts, max(start - now, timedelta(0)))


def _using(target: Target, vendor: Optimizely, mailing_type: str, status: str) -> dict[int, str]:
    """The mailings that use the list, each with what it is called."""
    return {
        mailing_id: f"mailing {mailing_id}, which uses the list,"
        for mailing_id in vendor.mailings.ids_in_status(mailing_type, status)
        if target.recipient_list_id in vendor.mailings.recipient_list_ids(mailing_id)
    }


def _campaigns(target: Target, vendor: Optimizely, status: str) -> dict[int, str] | None:
    """The Smart Campaigns that use the list, and those whose lists the vendor doesn't tell.

    None where it doesn't know the word: of other mailings it has told by then, so they may be asked about.
    """
    try:
        campaigns = vendor.mailings.ids_in_status(SMART_CAMPAIGN, status)
    except (RefusedError, UnknownFaultError):
        return None
    lists_of = ListsOfMailings(lambda: vendor)
    found = {}
    for campaign in campaigns:
        lists = lists_of(campaign)
        if lists is None or target.recipient_list_id in lists:
            uses = "which uses the list" if lists else "of which the vendor doesn't tell whether it uses the list"
            found[campaign] = f"Smart Campaign {campaign}{quoted_name(vendor, campaign)}, {uses},"
    return found


def _start(vendor: Optimizely, campaign: int) -> datetime | None:
    """When a Smart Campaign is to start; None where it has no such time, which nobody documents how the vendor says."""
    try:
        return vendor.mailings.schedule_date(campaign)
    except (RefusedError, UnknownFaultError):
        return None


def quoted_name(vendor: Optimizely, mailing_id: int) -> str:
    """A mailing's name in quotes after a blank, to stand behind its id; empty where the vendor gives out none."""
    try:
        name = vendor.mailings.name(mailing_id)
    except (RefusedError, UnknownFaultError):
        return ""
    return f" “{name}”" if name else ""
