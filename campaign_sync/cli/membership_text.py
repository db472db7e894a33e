"""Sentences about one person in one list, for `why` and `prove`."""

from collections.abc import Iterator

from campaign_sync.cli.list_sections import Line
from campaign_sync.cli.output import LocalTime
from campaign_sync.domain.consent import ConsentEvent
from campaign_sync.domain.membership import Rejection
from campaign_sync.domain.rejection import Reason, describe_reason
from campaign_sync.domain.suppression_reasons import SuppressionReason
from campaign_sync.inquiry.person_report import EventOrigin, ListMembership, PersonListReport, PersonReport
from campaign_sync.replacement.list_approval import approving_command
from campaign_sync.replacement.list_settings import ListSettings

SEARCH_STATUS = "Searching CRM, snapshots and rejections"
"""Shown while the person is searched for."""


def heading_text(report: PersonReport) -> str:
    """Return who the report is about."""
    if report.key is None:
        return "No record in the CRM has this address; the vendor's feedback has it."
    if report.email is None:
        proven = report.last_sent
        last_sent = f", last sent to {proven.mandator}/{proven.list} of {proven.proven_at:%Y-%m-%d}" if proven else ""
        return f"{report.key} · not in the CRM any more{last_sent}"
    return f"{report.key} · {report.email.strip() or 'no address'}"


def warning_lines(membership: ListMembership, local: LocalTime, *, until: str = "") -> Iterator[Line]:
    """Yield why it is unknown whether the person was in the list; `until` ends the sentence on a missing proof."""
    state = membership.list
    if state.unreadable:
        yield "beware", f"unknown: {state.unreadable}"
    if state.cleared_at:
        yield "beware", f"INCOMPLETE since {local(state.cleared_at)}: it was cleared, and no proof followed{until}"
    if membership.row and membership.row.doubtful:
        yield "beware", "the row was rejected before and after that proof; the rejections don't say whether at that one"


def waiting_lines(entry: PersonListReport, local: LocalTime) -> Iterator[Line]:
    """Yield that the list waits for the approval of a plan, if it does, and what approves it."""
    if plan := entry.awaited_plan:
        yield "waits", f"for the approval of plan {plan.id} of {local(plan.planned_at)}; until then it isn't replaced"
        yield "", f"`{approving_command(entry.settings, plan.id)}`, if it is right"


def absence_text(membership: ListMembership, settings: ListSettings, local: LocalTime) -> str:
    """Return why the person wasn't in the list."""
    if membership.reason:
        return rejection_text(membership.reason, settings, local)
    proven = membership.list.proven
    # The list was sent people who had been selected earlier: by a plan, or a snapshot that was replayed.
    selected = f" on {local(proven.frozen_at)}" if proven and proven.snapshot_run_id != proven.run_id else ""
    return f"not selected: the {settings.pick_title} didn't name them{selected}"


def rejection_text(rejection: Rejection, settings: ListSettings, local: LocalTime) -> str:
    """Return stage and reason of a rejection, and when it was seen."""
    code = f" (vendor's code {rejection.vendor_code})" if rejection.vendor_code is not None else ""
    first, last = local(rejection.first_seen), local(rejection.last_seen)
    seen = first if first == last else f"first {first}, last {last}"
    return f"{rejection.stage}: {_reason_text(rejection, settings)}{code}; {seen}"


def _reason_text(rejection: Rejection, settings: ListSettings) -> str:
    """Return the reason of a rejection; for an exclusion with those that the configuration has now."""
    if rejection.reason == Reason.EXCLUDED and settings.exclusions:
        return f"excluded by the {settings.exclusion_titles}, which names them or another record with the same address"
    return describe_reason(rejection.reason)


def event_text(event: ConsentEvent, local: LocalTime) -> str:
    """Return what a consent event says, when, and its id."""
    return f"{event.kind.value} {local(event.occurred_at)}, event {event.event_id}"


def event_with_origin_text(entry: PersonListReport, event: ConsentEvent, local: LocalTime) -> str:
    """Return a consent event with its source and, if we wrote it, the feedback that led to it."""
    source = f" ({event.source})" if event.source else ""
    origin = entry.origins.get(event.event_id)
    return f"{event_text(event, local)}{source}{_origin_text(origin) if origin else ''}"


def no_consent_text(settings: ListSettings) -> str:
    """Return that the CRM has no consent event of the person for this list."""
    return f"none for {settings.schema.opt_in_id} in the CRM"


def bounce_text(reason: SuppressionReason, local: LocalTime) -> str:
    """Return that a bounce keeps the address out of every list."""
    return f"the address bounced{_since_text(reason, local)} and gets into no list"


def suppression_text(reason: SuppressionReason, key: str | None, opt_in_id: str, local: LocalTime) -> str:
    """Return why the person `key` must not be written to on this opt-in."""
    if reason.reason is Reason.BOUNCED:
        return bounce_text(reason, local)
    since = _since_text(reason, local)
    if reason.reason is Reason.ERASED:
        return f"erased{since}, and no consent is newer; a newer one in the CRM is of a new person"
    if reason.reason is Reason.BLOCKLISTED:
        return f"the vendor's blocklist matches this address, seen{since}"
    if reason.reason is Reason.WITHDRAWAL_VANISHED:
        return (
            f"{opt_in_id} was withdrawn{since}, by this record or another one with the address; the CRM doesn't have "
            "that withdrawal any more, and no newer consent"
        )
    if reason.reason is Reason.UNDATED_REGRANT:
        return (
            f"{opt_in_id} was withdrawn{since}, and the CRM shows it as granted again without a newer date; it counts "
            "once that is accepted (`campaign-sync run MANDATOR --list LIST --accept-withdrawals REASON`), "
            "or the grant has a newer date"
        )
    if reason.reason is Reason.ON_UNSUBSCRIBE_LIST:
        return (
            f"on the vendor's unsubscribe list{since}, which keeps them out of all of the mandator's lists; which "
            "consent they withdrew isn't known until the feedback row has come"
        )
    if reason.entity_key is None:
        return f"this address unsubscribed{since}, and no consent in the CRM could be withdrawn for it"
    if reason.reason is Reason.CONSENT_UNCLEAR:
        whose = "" if reason.entity_key == key else f" about {reason.entity_key}, who has the same address,"
        return f"the CRM has a consent event{whose} that can't be understood{since}; correct it there"
    who = "" if reason.entity_key == key else f"{reason.entity_key}, who has the same address, "
    return f"{who}withdrew {opt_in_id}{since}"


def _origin_text(origin: EventOrigin) -> str:
    """Return the feedback row a withdrawal came from, counted from 1, and why it is about this consent."""
    parts = []
    if origin.row is not None:
        row = f"row {origin.row + 1} of {origin.file}" if origin.file else "a row that isn't known any more"
        parts.append(f", because of {row}")
    if origin.attribution:
        parts.append(f", {origin.attribution.meaning}")
    return "".join(parts)


def _since_text(reason: SuppressionReason, local: LocalTime) -> str:
    """Return since when a suppression applies, and its source; begins with a blank unless it is empty."""
    when = f" {local(reason.since)}" if reason.since else ""
    return f"{when} ({reason.source})" if reason.source else when
