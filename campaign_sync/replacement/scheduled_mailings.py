"""The mailings that are about to use the recipient lists of a mandator."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from campaign_sync.config import MandatorSettings
from campaign_sync.domain.readiness import Attempt
from campaign_sync.errors import CampaignSyncError
from campaign_sync.optimizely.client import Optimizely
from campaign_sync.replacement.mailing_interlock import MAILING_TYPES, OVERDUE, mailing_name

HORIZON = timedelta(days=7)
"""How far ahead mailings are of interest."""


MOST_MAILINGS = 500
"""How many mailings the vendor is asked about at most: it names the lists of each by a call of its own."""


@dataclass(frozen=True)
class ScheduledMailing:
    """A mailing that is being sent, or is going to be."""

    mailing_id: int
    name: str
    """As shown in Campaign; empty where the vendor gives out none."""
    starts_at: datetime | None
    """None if it is being sent."""
    lists: tuple[str, ...]
    """Keys of the mandator's lists that it uses, in the order of the configuration."""


def scheduled_mailings(
    settings: MandatorSettings, attempts: Collection[Attempt], login: Callable[[], Optimizely]
) -> tuple[ScheduledMailing, ...] | None:
    """Return the mailings of the next days that use a list of the mandator, the next one first.

    Smart Campaigns and drafts aren't among them. The vendor isn't asked after runs that it didn't let in: a further
    wrong password might lock the user out, and a vendor that is away would delay a report on that.

    Args:
        settings: of the mandator.
        attempts: the newest runs of its lists.
        login: returns the vendor's API, logged in to it.

    Returns:
        None if the vendor can't be asked, has more than `MOST_MAILINGS`, a secret is missing, or `mailings.watch` is
        off.
    """
    if not settings.mailings.watch or not any(attempt.reached_vendor for attempt in attempts):
        return None
    try:
        vendor = login()
        ids = [
            (mailing_id, status == "NEW")
            for mailing_type in MAILING_TYPES
            for status in ("SENDING", "NEW")
            for mailing_id in vendor.mailings.ids_in_status(mailing_type, status)
        ]
        if len(ids) > MOST_MAILINGS:
            return None
        mailings = [
            mailing for mailing_id, is_new in ids if (mailing := _mailing(settings, vendor, mailing_id, is_new=is_new))
        ]
        now = vendor.closed_loop.current_time() if mailings else None
    except CampaignSyncError:
        return None
    shown = [
        mailing
        for mailing in mailings
        if mailing.starts_at is None or (now and now - OVERDUE <= mailing.starts_at <= now + HORIZON)
    ]
    return tuple(sorted(shown, key=_order))


def _mailing(
    settings: MandatorSettings, vendor: Optimizely, mailing_id: int, *, is_new: bool
) -> ScheduledMailing | None:
    """Return the mailing; None if it uses none of the lists, or is a draft without a time."""
    ids = vendor.mailings.recipient_list_ids(mailing_id)
    lists = tuple(name for name, section in settings.lists.items() if section.recipient_list_id in ids)
    if not lists:
        return None
    starts_at = vendor.mailings.schedule_date(mailing_id) if is_new else None
    if is_new and starts_at is None:
        return None
    return ScheduledMailing(mailing_id, mailing_name(vendor, mailing_id), starts_at, lists)


def _order(mailing: ScheduledMailing) -> tuple[float, int]:
    return (mailing.starts_at.timestamp() if mailing.starts_at else 0, mailing.mailing_id)
