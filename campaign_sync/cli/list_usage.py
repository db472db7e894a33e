"""The use of recipient lists, for `campaign-sync check`: mailings that use them, unsubscribe lists of their own."""

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
"""Whether it is as it should be (None for what should be known), and the summary."""

PEOPLE = 10_000
"""How many people are asked about for each list at most."""

MAILINGS = 200
"""How many mailings of one type and status are read at most."""

_TYPES = ("regular", "split", SMART_CAMPAIGN, "event", "confirmation", "template")
_STATUSES = ("SENDING", "NEW", "ACTIVATION_REQUIRED")

_UNDOCUMENTED = (
    "what the vendor answers about a recipient list with its own unsubscribe list for people on the client's isn't "
    "documented; people on no recipient list's own are kept out"
)


def mailings_by_list(vendor: Optimizely, list_ids: Collection[int]) -> dict[int, Finding]:
    """Return by recipient list which mailings of every type use it and are being sent or still to be sent.

    Types and statuses that the vendor doesn't know or doesn't give out are left out.
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
    return {list_id: _usage(uses[list_id], list_id in campaigns) for list_id in list_ids}


def _usage(uses: list[str], by_campaign: bool) -> Finding:
    if not uses:
        return True, "no mailing that is new or being sent uses it"
    summary = f"used by {', '.join(uses)}"
    if not by_campaign:
        return True, summary
    advice = "a Smart Campaign that is being sent may find it empty while it is replaced; with strategy: differential"
    return None, f"{summary}; {advice} it never is"


def _ids(vendor: Optimizely, mailing_type: str, status: str) -> list[int]:
    try:
        return vendor.mailings.ids_in_status(mailing_type, status)[:MAILINGS]
    except (RefusedError, UnknownFaultError):
        return []


def unsubscribe_lists_of(settings: ListSettings, vendor: Optimizely, crm: CrmSnapshot) -> Finding | None:
    """Return whether the list has an unsubscribe list of its own; None if no unsubscribe of its people shows that.

    The vendor is asked about people whom the CRM picks for the list and, if it gives out ids, about those in it.
    """
    ids = sorted(set(islice(_recipient_ids(settings, vendor, crm), PEOPLE)))
    on_own, on_any = unsubscribed_flags(vendor, settings.recipient_list_id, ids)
    on_others_only = [
        recipient_id for recipient_id, own, any_list in zip(ids, on_own, on_any, strict=True) if any_list and not own
    ]
    place = f"mandators.{settings.mandator}.unsubscribe_lists"
    per_list = settings.has_own_unsubscribe_list
    if vendor.unsubscribes.refuses_list_queries:
        consequence = "people on any unsubscribe list are kept out" if per_list else "whether it has its own is unknown"
        if not per_list and not any(on_any):
            return None
        problem = "the vendor doesn't say who has left this list (Unsubscribe.containsAllByRecipientList is refused)"
        return None, f"{problem}, so {consequence}; have its support allow it"
    of_others = sum(bool(lists) for lists in lists_left(vendor, on_others_only, rows_name_opt_ins=False).values())
    if of_others and not per_list:
        return None, (
            f"of {len(ids)} people asked about, {of_others} left other recipient lists and not this one, so "
            f"lists have unsubscribe lists of their own: set {place}: per_list, else they are kept out of this list as "
            f"well. Mind that {_UNDOCUMENTED}"
        )
    if per_list:
        return True, (
            f"of {len(ids)} people asked about, {sum(on_own)} left it, {of_others} only other recipient lists, and "
            f"{len(on_others_only) - of_others} are on no recipient list's own; {_UNDOCUMENTED}"
        )
    return (True, f"unsubscribes are the client's, as {sum(on_any)} of {len(ids)} people show") if any(on_any) else None


def _recipient_ids(settings: ListSettings, vendor: Optimizely, crm: CrmSnapshot) -> Iterator[str]:
    """Yield recipient ids: up to half of `PEOPLE` from the list, then of those whom the CRM picks for it."""
    if settings.recipient_list.id_attribute:
        page = vendor.recipients.page(
            settings.recipient_list_id, [settings.recipient_list.id_attribute], None, 0, PEOPLE // 2
        )
        yield from (recipient_id for (recipient_id,) in page if recipient_id)
    for chunk in crm.select(settings.pick, settings.schema.opt_in_id, []):
        yield from filter(None, (usable_address(email) for email in chunk["email"].dropna()))
