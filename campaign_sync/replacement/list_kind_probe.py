"""Whether a list is a regular or an opt-in list, shown by a canary.

The canary is an address of the operator's that has unsubscribed from the mandator.

On an opt-in list `addAll3` takes an unsubscribed person back in and forgets that they unsubscribed (vendor's page of
addAll3); on a regular one it doesn't. The API has no operation that says the kind, so the canary is added, alone.
"""

from datetime import datetime

from campaign_sync.domain.checks import CheckOutcome
from campaign_sync.domain.message import Message
from campaign_sync.domain.rejection import ACCEPTED, ALREADY_STORED, UNSUBSCRIBED_CODE, VENDOR_REASONS
from campaign_sync.optimizely.client import Optimizely
from campaign_sync.optimizely.services import EVERY_LIST
from campaign_sync.replacement.list_settings import ListSettings
from campaign_sync.storage.recipient_lists import ListKind, RecipientListStates

NAME = "list_kind"
"""The name of this check."""

_VOUCHED = Message("the configuration vouches that it is a regular list; no canary_address is set")


def known_opt_in_list(settings: ListSettings, lists: RecipientListStates) -> CheckOutcome | None:
    """Return the refusal of a list that a canary has shown to be an opt-in list; None for all others."""
    if lists.kind(settings.recipient_list_id) is not ListKind.OPT_IN:
        return None
    return CheckOutcome(
        NAME,
        False,
        Message(
            "a canary has shown it to be an opt-in list, where filling revives people who unsubscribed; name a regular "
            "list in recipient_list_id, or have this one made regular and let `campaign-sync check` find out"
        ),
    )


def expected_list_kind(settings: ListSettings, lists: RecipientListStates) -> CheckOutcome:
    """Return what is known of the list's kind before `probe_list_kind` finds it out, which changes the list."""
    if settings.mandator_settings.canary_address is None:
        return CheckOutcome(NAME, True, _VOUCHED)
    if opt_in_list := known_opt_in_list(settings, lists):
        return opt_in_list
    if lists.kind(settings.recipient_list_id):
        return CheckOutcome(NAME, True, Message("a canary has shown it to be a regular list; the run tries that again"))
    return CheckOutcome(NAME, True, Message("no canary has shown it yet; the run finds it out"))


def probe_list_kind(
    settings: ListSettings, vendor: Optimizely, lists: RecipientListStates, now: datetime
) -> CheckOutcome:
    """Find out the list's kind, remember it, and leave the canary as it was: unsubscribed, and in no list."""
    canary, list_id = settings.mandator_settings.canary_address, settings.recipient_list_id
    if canary is None:
        return CheckOutcome(NAME, True, _VOUCHED)
    if not vendor.unsubscribes.contains_all([canary])[0]:
        return CheckOutcome(
            NAME,
            False,
            Message(
                "the canary_address of {mandator} isn't unsubscribed there, so it proves nothing; unsubscribe it in "
                "Campaign. If it was: something revived it, perhaps this list, being an opt-in list",
                mandator=settings.mandator,
            ),
        )
    of_list = settings.has_own_unsubscribe_list and _is_on_lists_own(settings, vendor, canary)
    code = _add(settings, vendor, canary)
    if code == ALREADY_STORED:  # left there by a run that was killed
        vendor.recipients.remove_all(list_id, [canary])
        code = _add(settings, vendor, canary)
    if code not in (ACCEPTED, UNSUBSCRIBED_CODE):
        reason = VENDOR_REASONS[code].value if code in VENDOR_REASONS else f"code {code}"
        refused = Message(
            "the vendor refuses the canary_address for another reason ({reason}); choose another address", reason=reason
        )
        return CheckOutcome(NAME, False, refused)
    # The code doesn't decide: it isn't documented that a regular list never answers 0. Whether it was revived does.
    revived = not _has_left(settings, vendor, canary, of_list)
    if revived:
        vendor.unsubscribes.add_all(list_id if of_list else EVERY_LIST, [canary])
        if not _has_left(settings, vendor, canary, of_list):
            vendor.unsubscribes.add_all(EVERY_LIST, [canary])
    if code == ACCEPTED:
        vendor.recipients.remove_all(list_id, [canary])
    unclear = not revived and settings.has_own_unsubscribe_list and vendor.unsubscribes.refuses_list_queries
    if not unclear:
        lists.set_kind(list_id, ListKind.OPT_IN if revived else ListKind.REGULAR, now)
    summary = (
        Message(
            "the configuration vouches that it is a regular list; the canary wasn't revived, but the vendor doesn't "
            "say from which lists it is unsubscribed"
        )
        if unclear
        else Message("a canary shows it to be a regular list")
    )
    return known_opt_in_list(settings, lists) or CheckOutcome(NAME, True, summary)


def _has_left(settings: ListSettings, vendor: Optimizely, canary: str, of_list: bool) -> bool:
    """Return whether it is on the unsubscribe list that this recipient list would take it off."""
    own = vendor.unsubscribes.contains_all_of_list(settings.recipient_list_id, [canary]) if of_list else None
    return own[0] if own else vendor.unsubscribes.contains_all([canary])[0]


def _is_on_lists_own(settings: ListSettings, vendor: Optimizely, canary: str) -> bool:
    """Put the canary on this recipient list's own unsubscribe list, where it has one that can be read.

    On others it would prove nothing here: reviving it would leave it there. Return False where only the client's list
    counts.
    """
    list_id, unsubscribes = settings.recipient_list_id, vendor.unsubscribes
    own = unsubscribes.contains_all_of_list(list_id, [canary])
    if own == [False]:
        unsubscribes.add_all(list_id, [canary])
        own = unsubscribes.contains_all_of_list(list_id, [canary])
    return own == [True]


def _add(settings: ListSettings, vendor: Optimizely, canary: str) -> int:
    # With all attributes, so that whatever the vendor has against the form of a batch shows before anything is cleared.
    names = settings.schema.list_attributes
    batch = vendor.recipients.prepare(settings.recipient_list_id, [canary], [canary], names, [[""]] * len(names))
    return vendor.recipients.add_all(settings.recipient_list_id, batch)[0]
