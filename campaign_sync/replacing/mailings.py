"""The send interlock: a list isn't cleared under a mailing that is being sent or is about to start."""

import time
from collections.abc import Callable
from datetime import timedelta

from campaign_sync.domain.checks import CheckOutcome
from campaign_sync.optimizely.client import Optimizely
from campaign_sync.replacing.target import Target

NAME = "mailings"
"""What the gate calls this check."""

MAILING_TYPES = ("regular", "split")
"""Those that go to whole lists. Event mailings, once started, count as being sent for ever."""

OVERDUE = timedelta(minutes=15)
"""A mailing that should have started so long ago and is still new, isn't about to start: it is a draft."""

ASKED_EVERY = timedelta(seconds=30)


def wait_for_mailings(
    target: Target, vendor: Optimizely, say: Callable[[str], None], sleep: Callable[[float], None] = time.sleep
) -> tuple[CheckOutcome, timedelta]:
    """Wait until no mailing stands in the way, or would for longer than the list's `max_wait`.

    `say` is told what is being waited for, whenever that changes. Returns the gate's outcome and how long it took.
    """
    if not target.watch_mailings:
        return CheckOutcome(NAME, True, f"mailings.watch is off for {target.mandator}"), timedelta(0)
    waited, said = timedelta(0), None
    while obstacle := _obstacle(target, vendor):
        what, earliest_end = obstacle
        if waited + max(earliest_end, ASKED_EVERY) > target.max_wait:
            remedy = f"replace it once that mailing is through (max_wait is {target.max_wait})"
            return CheckOutcome(NAME, False, f"{what}; {remedy}"), waited
        if what != said:
            say(f"{target} waits: {what}")
            said = what
        sleep(ASKED_EVERY.total_seconds())
        waited += ASKED_EVERY
    quiet = f"no mailing uses the list now or within {target.quiet_before_mailing}"
    return CheckOutcome(NAME, True, f"{quiet}{f', after waiting {waited}' if waited else ''}"), waited


def _obstacle(target: Target, vendor: Optimizely) -> tuple[str, timedelta] | None:
    """The mailing that stands in the way, and how long it will at least."""
    for mailing_id in _using(target, vendor, "SENDING"):
        return f"mailing {mailing_id}, which uses the list, is being sent", timedelta(0)
    now = vendor.closed_loop.current_time()
    for mailing_id in _using(target, vendor, "NEW"):
        start = vendor.mailings.schedule_date(mailing_id)
        if start and now - OVERDUE <= start <= now + target.quiet_before_mailing:
            what = f"mailing {mailing_id}, which uses the list, starts at {start:%Y-%m-%d %H:%M} UTC"
            return what, max(start - now, timedelta(0))
    return None


def _using(target: Target, vendor: Optimizely, status: str) -> list[int]:
    return [
        mailing_id
        for mailing_type in MAILING_TYPES
        for mailing_id in vendor.mailings.ids_in_status(mailing_type, status)
        if target.recipient_list_id in vendor.mailings.recipient_list_ids(mailing_id)
    ]
