"""The send interlock: a list isn't cleared while a mailing that uses it is being sent or is about to start.

A Smart Campaign is being sent while it is switched on, so the interlock waits for it no longer than `max_wait`; then it
passes with a warning, unless the configuration says otherwise.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import sleep

from campaign_sync.domain.checks import CheckOutcome
from campaign_sync.domain.message import Message, join_messages
from campaign_sync.domain.moment import moment
from campaign_sync.feedback.mailing_lists import MailingRecipientLists
from campaign_sync.optimizely.client import Optimizely
from campaign_sync.optimizely.errors import RefusedError, UnknownFaultError
from campaign_sync.replacement.list_settings import ListSettings

NAME = "mailings"
"""The name of this check."""

MAILING_TYPES = ("regular", "split")
"""Those that go to whole lists. Event mailings, once started, count as being sent for ever."""

SMART_CAMPAIGN = "campaign"
"""The mailing type of Smart Campaigns."""

CAMPAIGN_STATUSES = ("SENDING", "NEW", "ACTIVATION_REQUIRED")
"""Those of Smart Campaigns that use their lists, or are going to."""

OVERDUE = timedelta(minutes=15)
"""A mailing that is still new this long after its start time isn't about to start: it is a draft."""

POLL_INTERVAL = timedelta(seconds=30)
"""How long the interlock sleeps before it asks the vendor again."""

NOT_SHOWN = Message("the vendor doesn't show Smart Campaigns: it refuses the mailing type campaign")


@dataclass(frozen=True)
class Wait:
    """How waiting for mailings ended."""

    outcome: CheckOutcome
    took: timedelta = timedelta(0)
    passed: frozenset[int] = frozenset()
    """Smart Campaigns that are being sent and were waited for long enough: they don't stop this replacement."""


@dataclass(frozen=True)
class _Use:
    """A mailing that uses the list now, or soon."""

    mailing_id: int
    description: str
    earliest_end: timedelta = timedelta(0)
    endless: bool = False
    """Whether it is a Smart Campaign being sent, whose end isn't known."""


@dataclass(frozen=True)
class _Uses:
    """Every mailing that keeps the list from being cleared, and what else should be known."""

    uses: tuple[_Use, ...]
    notes: tuple[str, ...]
    campaigns_are_shown: bool
    """Whether the vendor says which Smart Campaigns are being sent."""


def wait_for_mailings(settings: ListSettings, vendor: Optimizely, on_wait: Callable[[str], None]) -> Wait:
    """Wait until no mailing uses the list, or one would for longer than the mandator's `max_wait`.

    `on_wait` is called with what is being waited for, whenever that changes.
    """
    if not settings.mandator_settings.mailings.watch:
        return Wait(CheckOutcome(NAME, True, _not_watched(settings)))
    waited, announced = timedelta(0), None
    while (current := _uses(settings, vendor)).uses:
        next_use = _longest(current.uses)
        if _takes_too_long(settings, next_use, waited):
            return _end_of_wait(settings, current, waited)
        if next_use.description != announced:
            on_wait(f"{settings} waits: {next_use.description}")
            announced = next_use.description
        sleep(POLL_INTERVAL.total_seconds())
        waited += POLL_INTERVAL
    return Wait(_quiet(settings, current, waited), waited)


def mailings_now(settings: ListSettings, vendor: Optimizely) -> CheckOutcome:
    """Return what waiting for mailings would begin with if the list were replaced now, or what it would end with."""
    if not settings.mandator_settings.mailings.watch:
        return CheckOutcome(NAME, True, _not_watched(settings))
    current = _uses(settings, vendor)
    if not current.uses:
        return _quiet(settings, current, timedelta(0))
    next_use = _longest(current.uses)
    if next_use.endless or _takes_too_long(settings, next_use, timedelta(0)):
        return _end_of_wait(settings, current, timedelta(0)).outcome
    limit = settings.mandator_settings.mailings.max_wait
    summary = Message(
        "{mailing}; a run waits for that, and is refused if it takes longer than max_wait ({limit})",
        mailing=next_use.description,
        limit=str(limit),
    )
    return CheckOutcome(NAME, False, summary, warning=True)


def _takes_too_long(settings: ListSettings, use: _Use, waited: timedelta) -> bool:
    return waited + max(use.earliest_end, POLL_INTERVAL) > settings.mandator_settings.mailings.max_wait


def _quiet(settings: ListSettings, current: _Uses, waited: timedelta) -> CheckOutcome:
    before = str(settings.mandator_settings.mailings.quiet_before_mailing)
    summary = (
        Message(
            "no mailing uses the list now or within {before}, after waiting {waited}", before=before, waited=str(waited)
        )
        if waited
        else Message("no mailing uses the list now or within {before}", before=before)
    )
    if current.campaigns_are_shown:
        return CheckOutcome(NAME, True, join_messages("; ", [summary, *current.notes]))
    if settings.mandator_settings.mailings.smart_campaigns == "refuse":
        remedy = Message("set {setting} to warn, or ask the vendor's support to show them", setting=_setting(settings))
        return CheckOutcome(NAME, False, join_messages("; ", [NOT_SHOWN, remedy]))
    return CheckOutcome(NAME, True, join_messages("; ", [summary, NOT_SHOWN]))


def _not_watched(settings: ListSettings) -> Message:
    return Message("mailings.watch is off for {mandator}", mandator=settings.mandator)


def mailings_before_clear(settings: ListSettings, vendor: Optimizely, passed: Collection[int]) -> CheckOutcome:
    """Check that no mailing uses the list at the very moment of clearing.

    It doesn't wait, because the check of who has unsubscribed would grow old. `passed` are the Smart Campaigns that
    were waited for before.
    """
    if not settings.mandator_settings.mailings.watch:
        return CheckOutcome(NAME, True, _not_watched(settings))
    begun = [use for use in _uses(settings, vendor).uses if use.mailing_id not in passed]
    if not begun:
        return CheckOutcome(NAME, True, Message("no mailing has begun meanwhile"))
    summary = Message("{mailing}, since the list was admitted; replace it again", mailing=begun[0].description)
    return CheckOutcome(NAME, False, summary)


def _longest(uses: Collection[_Use]) -> _Use:
    """Return the use that ends last, of those that end at all."""
    return max(uses, key=lambda use: (not use.endless, use.earliest_end))


def _end_of_wait(settings: ListSettings, current: _Uses, waited: timedelta) -> Wait:
    limit = Message("max_wait is {limit}", limit=str(settings.mandator_settings.mailings.max_wait))
    ending = [use for use in current.uses if not use.endless]
    if ending:
        summary = Message(
            "{mailing}; replace it once that mailing is through ({limit})",
            mailing=_longest(ending).description,
            limit=limit,
        )
        return Wait(CheckOutcome(NAME, False, summary), waited)
    campaigns = join_messages(" · ", [use.description for use in current.uses])
    still = Message("and still is after waiting {waited}", waited=str(waited)) if waited else limit
    values = {"campaigns": campaigns, "waiting": still, "setting": _setting(settings)}
    if settings.mandator_settings.mailings.smart_campaigns == "refuse":
        refused = Message(
            "{campaigns}, {waiting}; {setting} is refuse: pause the campaign, choose strategy: differential for this "
            "list, or set it to warn",
            **values,
        )
        return Wait(CheckOutcome(NAME, False, refused), waited)
    summary = Message(
        "{campaigns}, {waiting}; the list is replaced all the same, and the campaign may find it empty or half full "
        "meanwhile: choose strategy: differential for this list (no empty moment), or set {setting} to refuse",
        **values,
    )
    passed = frozenset(use.mailing_id for use in current.uses)
    outcome = CheckOutcome(NAME, False, join_messages("; ", [summary, *current.notes]), warning=True)
    return Wait(outcome, waited, passed)


def _setting(settings: ListSettings) -> str:
    return f"mandators.{settings.mandator}.mailings.smart_campaigns"


def _uses(settings: ListSettings, vendor: Optimizely) -> _Uses:
    uses = [
        _Use(mailing_id, Message("{mailing} is being sent", mailing=mailing))
        for mailing_type in MAILING_TYPES
        for mailing_id, mailing in _using(settings, vendor, mailing_type, "SENDING").items()
    ]
    for mailing_type in MAILING_TYPES:
        uses += _starting(
            settings, vendor, _using(settings, vendor, mailing_type, "NEW"), vendor.mailings.schedule_date
        )
    sending, planned, inactive = (_campaigns(settings, vendor, status) for status in CAMPAIGN_STATUSES)
    uses += [
        _Use(campaign, Message("{mailing} is being sent", mailing=name), endless=True)
        for campaign, name in (sending or {}).items()
    ]
    uses += _starting(settings, vendor, planned or {}, lambda campaign: _start(vendor, campaign))
    notes = [Message("{mailing} isn't activated yet", mailing=name) for name in (inactive or {}).values()]
    return _Uses(tuple(uses), tuple(notes), sending is not None)


def _starting(
    settings: ListSettings, vendor: Optimizely, new: Mapping[int, str], start_of: Callable[[int], datetime | None]
) -> Iterator[_Use]:
    """Yield the new mailings that start soon or should have started a moment ago."""
    now = vendor.closed_loop.current_time() if new else None
    for mailing_id, mailing in new.items():
        start = start_of(mailing_id)
        if now and start and now - OVERDUE <= start <= now + settings.mandator_settings.mailings.quiet_before_mailing:
            starts = Message("{mailing} starts at {moment}", mailing=mailing, moment=moment(start, UTC))
            yield _Use(mailing_id, starts, max(start - now, timedelta(0)))


def _using(settings: ListSettings, vendor: Optimizely, mailing_type: str, status: str) -> dict[int, str]:
    """Return the mailings that use the list, each with what messages call it."""
    return {
        mailing_id: Message("mailing {id}, which uses the list,", id=mailing_id)
        for mailing_id in vendor.mailings.ids_in_status(mailing_type, status)
        if settings.recipient_list_id in vendor.mailings.recipient_list_ids(mailing_id)
    }


def _campaigns(settings: ListSettings, vendor: Optimizely, status: str) -> dict[int, str] | None:
    """Return the Smart Campaigns that use the list, and those whose lists the vendor doesn't name.

    None where the vendor refuses this mailing type; it has answered for other types by then, so the right is there.
    """
    try:
        campaigns = vendor.mailings.ids_in_status(SMART_CAMPAIGN, status)
    except (RefusedError, UnknownFaultError):
        return None
    lists_of = MailingRecipientLists(lambda: vendor)
    names: dict[int, str] = {}
    for campaign in campaigns:
        lists = lists_of(campaign)
        if lists is None or settings.recipient_list_id in lists:
            called = f"{campaign}{quoted_name(vendor, campaign)}"
            names[campaign] = (
                Message("Smart Campaign {campaign}, which uses the list,", campaign=called)
                if lists
                else Message(
                    "Smart Campaign {campaign}, of which the vendor doesn't say whether it uses the list,",
                    campaign=called,
                )
            )
    return names


def _start(vendor: Optimizely, campaign: int) -> datetime | None:
    """Return when a Smart Campaign is to start; None where the vendor names no such time, in whatever way."""
    try:
        return vendor.mailings.schedule_date(campaign)
    except (RefusedError, UnknownFaultError):
        return None


def quoted_name(vendor: Optimizely, mailing_id: int) -> str:
    """Return a mailing's name in quotes after a blank, to follow its id; empty where the vendor gives out none."""
    name = mailing_name(vendor, mailing_id)
    return f" “{name}”" if name else ""


def mailing_name(vendor: Optimizely, mailing_id: int) -> str:
    """Return a mailing's name as shown in Campaign; empty where the vendor gives out none."""
    try:
        return vendor.mailings.name(mailing_id)
    except (RefusedError, UnknownFaultError):
        return ""
