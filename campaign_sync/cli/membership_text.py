"""Sentences about one person in one list, for `why` and `prove`."""

from collections.abc import Iterator

from campaign_sync.cli.tables import Line, LocalTime
from campaign_sync.domain.membership import Rejection
from campaign_sync.domain.rejection import Reason, describe_reason
from campaign_sync.domain.suppression_reasons import SuppressionReason
from campaign_sync.inquiry.person_report import ListMembership
from campaign_sync.replacement.list_settings import ListSettings


def warning_lines(membership: ListMembership, local: LocalTime, *, until: str = "") -> Iterator[Line]:
    """Yield why it is unknown whether the person was in the list; `until` ends the sentence on a missing proof."""
    state = membership.list
    if state.unreadable:
        yield "beware", f"unknown: {state.unreadable}"
    if state.cleared_at:
        yield "beware", f"INCOMPLETE since {local(state.cleared_at)}: it was cleared, and no proof followed{until}"
    if membership.row and membership.row.doubtful:
        yield "beware", "the row was rejected before and after that proof; the rejections don't say whether at that one"


def absence_text(membership: ListMembership, settings: ListSettings, local: LocalTime) -> str:
    """Return why the person wasn't in the list."""
    if membership.reason:
        return rejection_text(membership.reason, local)
    return f"not selected: the {settings.pick.kind.replace('_', ' ')} “{settings.pick.name}” didn't name them"


def rejection_text(rejection: Rejection, local: LocalTime) -> str:
    """Return stage and reason of a rejection, and when it was seen."""
    code = f" (vendor's code {rejection.vendor_code})" if rejection.vendor_code is not None else ""
    first, last = local(rejection.first_seen), local(rejection.last_seen)
    seen = first if first == last else f"first {first}, last {last}"
    return f"{rejection.stage}: {describe_reason(rejection.reason)}{code}; {seen}"


def suppression_text(reason: SuppressionReason, key: str | None, opt_in_id: str, local: LocalTime) -> str:
    """Return why the person `key` must not be written to on this opt-in."""
    when = since_text(reason, local)
    if reason.reason is Reason.BLOCKLISTED:
        return f"the vendor's blocklist matches this address, seen{when}"
    if reason.reason is Reason.WITHDRAWAL_VANISHED:
        return (
            f"{opt_in_id} was withdrawn{when}, by this record or another one with the address; the CRM doesn't have "
            "that withdrawal any more, and no newer consent"
        )
    if reason.reason is Reason.ON_UNSUBSCRIBE_LIST:
        return (
            f"on the vendor's unsubscribe list{when}, which keeps them out of all of the mandator's lists; which "
            "consent they withdrew isn't known until the feedback row has come"
        )
    if reason.entity_key is None:
        return f"this address unsubscribed{when}, and no consent in the CRM could be withdrawn for it"
    if reason.reason is Reason.CONSENT_UNCLEAR:
        whose = "" if reason.entity_key == key else f" about {reason.entity_key}, who has the same address,"
        return f"the CRM has a consent event{whose} that can't be understood{when}; correct it there"
    who = "" if reason.entity_key == key else f"{reason.entity_key}, who has the same address, "
    return f"{who}withdrew {opt_in_id}{when}"


def since_text(reason: SuppressionReason, local: LocalTime) -> str:
    """Return since when a suppression applies, and its source; begins with a blank unless it is empty."""
    when = f" {local(reason.since)}" if reason.since else ""
    return f"{when} ({reason.source})" if reason.source else when
