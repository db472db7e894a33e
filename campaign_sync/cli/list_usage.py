"""What `campaign-sync check` finds out about the use of recipient lists: by which mailings, and who has left them."""

from collections import defaultdict
from collections.abc import Collection, Iterator
from itertools import islice

from campaign_sync.crm.port import CrmSnapshot
from campaign_sync.domain.address import usable_address
from campaign_sync.feedback.mailing_lists import MailingRecipientLists
from campaign_sync.feedback.unsubscribe_lists import lists_left, unsubscribed_flags
from campaign_sync.optimizely.client import Optimizely
from campaign_sync.optimizely.errors import RefusedError, UnknownFaultError
from campaign_sync.replacement.list_settings import ListSettings
from campaign_sync.replacement.mailing_interlock import SMART_CAMPAIGN, quoted_name

Finding = tuple[bool | None, str]
"""Whether it is good (None for what should be known), and what was found."""

PEOPLE = 10_000
"""The most people asked about for each list."""

MAILINGS = 200
"""The most mailings of one type and status that are looked at."""

_TYPES = ("regular", "split", SMART_CAMPAIGN, "event", "confirmation", "template")
_STATUSES = ("SENDING", "NEW", "ACTIVATION_REQUIRED")

_UNDOCUMENTED = (
    "what the vendor answers about a recipient list with its own unsubscribe list for people on the client's isn't "
    "documented; whoever is on no recipient list's own is kept out"
)


def mailings_by_list(vendor: Optimizely, list_ids: Collection[int]) -> dict[int, Finding]:
    """By recipient list, the mailings of every type that use it, are being sent or are still to be.

    Types and statuses that the vendor doesn't know are left out, and so are those that it keeps to itself.
    """
    uses: defaultdict[int, list[str]] = defaultdict(list)
    campaigns, lists_of = set[int](), MailingRecipientLists(lambda: vendor)
    for mailing_type in _TYPES:
        for status in _STATUSES if mailing_type == SMART_CAMPAIGN else _STATUSES[:2]:
            for mailing_id in _ids(vendor, mailing_type, status):
                for list_id in (lists_of(mailing_id) or frozenset()).intersection(list_ids):
                    uses[list_id].append(f"{mailing_type} {mailing_id}{quoted_name(vendor, mailing_id)} ({status})")
                    if (mailing_type, status) == (SMART_CAMPAIGN, "SENDING"):
                        campaigns.add(list_id)
    return {list_id: _used(uses[list_id], list_id in campaigns) for list_id in list_ids}


def _used(uses: list[str], by_campaign: bool) -> Finding:
    if not uses:
        return True, "no mailing that is new or being sent uses it"
    found = f"used by {', '.join(uses)}"
    if not by_campaign:
        return True, found
    advice = "a Smart Campaign that is being sent may find it empty while it is replaced; with strategy: differential"
    return None, f"{found}; {advice} it never is"


def _ids(vendor: Optimizely, mailing_type: str, status: str) -> list[int]:
    try:
        return vendor.mailings.ids_in_status(mailing_type, status)[:MAILINGS]
    except (RefusedError, UnknownFaultError):
        return []


def unsubscribe_lists_of(settings: ListSettings, vendor: Optimizely, crm: CrmSnapshot) -> Finding | None:
    """Whether the list has an unsubscribe list of its own, shown by people who left; None where nobody did.

    Asked about are people whom the CRM picks for it, and whom it holds where the vendor gives out their ids.
    """
    asked = sorted(set(islice(_people(settings, vendor, crm), PEOPLE)))
    own, some = unsubscribed_flags(vendor, settings.recipient_list_id, asked)
    elsewhere = [each for each, of_list, of_some in zip(asked, own, some, strict=True) if of_some and not of_list]
    place = f"mandators.{settings.mandator}.unsubscribe_lists"
    per_list = settings.has_own_unsubscribe_list
    if vendor.unsubscribes.refuses_list_queries:
        consequence = (
            "everybody on any unsubscribe list is kept out" if per_list else "whether it has its own is unknown"
        )
        found = "the vendor doesn't say who has left this list (Unsubscribe.containsAllByRecipientList is refused)"
        return (None, f"{found}, so {consequence}; have its support allow it") if per_list or any(some) else None
    of_others = sum(bool(lists) for lists in lists_left(vendor, elsewhere, rows_name_opt_ins=False).values())
    if of_others and not per_list:
        return None, (
            f"of {len(asked)} people asked about, {of_others} left other recipient lists and not this one, so "
            f"lists have unsubscribe lists of their own: set {place}: per_list, else they are kept out of this list as "
            f"well. Mind that {_UNDOCUMENTED}"
        )
    if per_list:
        return True, (
            f"of {len(asked)} people asked about, {sum(own)} left it, {of_others} only other recipient lists, and "
            f"{len(elsewhere) - of_others} are on no recipient list's own; {_UNDOCUMENTED}"
        )
    return (True, f"unsubscribes are the client's, as {sum(some)} of {len(asked)} people show") if any(some) else None


def _people(settings: ListSettings, vendor: Optimizely, crm: CrmSnapshot) -> Iterator[str]:
    """Recipient ids: at most half of them of people in the list, then of those whom the CRM picks for it."""
    if settings.recipient_list.id_attribute:
        page = vendor.recipients.page(
            settings.recipient_list_id, [settings.recipient_list.id_attribute], None, 0, PEOPLE // 2
        )
        yield from (recipient_id for (recipient_id,) in page if recipient_id)
    for chunk in crm.select(settings.pick, settings.schema.opt_in_id, []):
        yield from filter(None, (usable_address(email) for email in chunk["email"].dropna()))
