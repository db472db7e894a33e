"""`campaign-sync prove`: on which consent people were in which recipient list on one day."""

from collections.abc import Collection, Iterator, Sequence
from datetime import date, datetime
from itertools import groupby
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.text import Text

from campaign_sync.cli.inquiries import record_inquiry
from campaign_sync.cli.list_sections import Line, ListSection, print_list_sections
from campaign_sync.cli.membership_text import (
    SEARCH_STATUS,
    absence_text,
    event_text,
    event_with_origin_text,
    heading_text,
    no_consent_text,
    suppression_text,
    waiting_lines,
    warning_lines,
)
from campaign_sync.cli.output import LocalTime
from campaign_sync.config import Configuration
from campaign_sync.crm.address_key import address_key
from campaign_sync.domain.consent import ConsentEvent, ConsentKind, current_consent, precedence_key
from campaign_sync.domain.feedback_age import format_duration
from campaign_sync.domain.rejection import Reason
from campaign_sync.inquiry.list_archive import SentRow
from campaign_sync.inquiry.person_query import PersonQuery
from campaign_sync.inquiry.person_report import PersonListReport, PersonReport
from campaign_sync.inquiry.person_search import report_memberships_on
from campaign_sync.inquiry.sources import open_sources


def print_proof(
    configuration: Configuration, who: str, lists: Collection[tuple[str, str]], day: date | None, console: Console
) -> None:
    """Print on which consent all people whom `who` names were in which list, and what has happened since.

    Args:
        configuration: all mandators.
        who: an address, or a record of the CRM.
        lists: keys of mandator and list.
        day: its end counts, in each mandator's time zone; None for now.
        console: where to print.

    Raises:
        InvalidPersonError: `who` is neither an address nor a record.
        UnknownPersonError: no source has them. The message doesn't repeat an address.
        FutureDayError: the day lies ahead.
    """
    print_consent_proofs(find_proofs(configuration, who, lists, day, console), day, console)


def find_proofs(
    configuration: Configuration, who: str, lists: Collection[tuple[str, str]], day: date | None, console: Console
) -> Sequence[PersonReport]:
    """Return what is known of all people whom `who` names at the end of a day. See `print_proof`."""
    query = PersonQuery.parse(who)
    mandator, name = next(iter(lists)) if len(lists) == 1 else (None, None)
    with open_sources(configuration) as sources, console.status(SEARCH_STATUS):
        record_inquiry(sources.state, "prove", query, mandator=mandator, name=name)
        return report_memberships_on(sources, query, day, lists)


def print_consent_proofs(reports: Sequence[PersonReport], day: date | None, console: Console) -> None:
    """Print people's consents with their addresses: only for users who asked for these very people."""
    for report in reports:
        console.print(Text(heading_text(report), "bold"))
        console.print(Text(f"Consents and lists at the end of {day}" if day else "Consents and lists as of now"))
        sections = (
            ListSection(entry.settings, entry.zone, entry.then.in_list, _lines(report, entry, LocalTime(entry.zone)))
            for entry in report.lists
        )
        print_list_sections(sections, console, heading="in it then" if day else "in it")


def _lines(report: PersonReport, entry: PersonListReport, local: LocalTime) -> Iterator[Line]:
    then = entry.then
    yield from warning_lines(then, local, until=" by then")
    if then.in_list is False:
        yield "why", absence_text(then, entry.settings, local)
    if then.row and then.consent:
        yield "address", then.row.address
        yield from _consent_sent_on(entry, then.row, then.consent, local)
    else:
        yield "consent", _consent_in_crm(entry, local)
        if entry.consent_then and entry.consent_then.evidence and entry.consent_then.event_id not in entry.origins:
            yield "", f"evidence: {entry.consent_then.evidence}"
    yield from _proof_lines(entry, local)
    yield from (("since", text) for text in _since(report, entry, local))
    yield "now", _now(entry, local)
    yield from waiting_lines(entry, local)


def _consent_in_crm(entry: PersonListReport, local: LocalTime) -> str:
    event = entry.consent_then
    if event:
        return f"{event_with_origin_text(entry, event, local)}, according to the CRM now"
    if entry.events:
        return f"none yet for {entry.settings.schema.opt_in_id}, according to the CRM now"
    return no_consent_text(entry.settings)


def _consent_sent_on(entry: PersonListReport, row: SentRow, consent: ConsentEvent, local: LocalTime) -> Iterator[Line]:
    in_crm = next((event for event in entry.events if event.event_id == consent.event_id), None)
    if row.has_evidence:
        yield from _event_lines("consent", consent, local, "as frozen in the snapshot")
    elif in_crm:
        yield from _event_lines("consent", in_crm, local, "from the CRM; this snapshot doesn't keep evidence yet")
    else:
        yield "consent", event_text(consent, local)
        yield "", "this snapshot doesn't keep source and evidence yet, and the CRM doesn't have the event any more"
    if in_crm is None and row.has_evidence:
        yield "beware", "the CRM doesn't have this event any more; the snapshot is what proves it"
    elif in_crm and (in_crm.kind, in_crm.occurred_at) != (consent.kind, consent.occurred_at):
        yield "beware", f"the CRM has this event otherwise by now: {event_text(in_crm, local)}"
    grant = _confirmed_grant(consent, entry.events)
    if grant:
        yield from _event_lines("confirms", grant, local, "from the CRM")


def _event_lines(label: str, event: ConsentEvent, local: LocalTime, origin: str) -> Iterator[Line]:
    """Yield one consent event line by line, with what is recorded of it and what isn't."""
    yield label, f"{event_text(event, local)} ({origin})"
    yield "", f"source: {event.source or 'not recorded'}"
    yield "", f"evidence: {event.evidence or 'not recorded'}"
    yield "", f"text version: {event.text_version or 'not recorded'}"


def _confirmed_grant(event: ConsentEvent, events: Sequence[ConsentEvent]) -> ConsentEvent | None:
    """Return the grant right before a confirmation."""
    earlier = current_consent(other for other in events if precedence_key(other) < precedence_key(event))
    is_confirmation = event.kind is ConsentKind.CONFIRMED and earlier and earlier.kind is ConsentKind.GRANTED
    return earlier if is_confirmation else None


def _proof_lines(entry: PersonListReport, local: LocalTime) -> Iterator[Line]:
    proven = entry.then.list.proven
    if proven is None:
        yield "proven", "never by then"
        return
    yield "proven", local(proven.proven_at)
    if proven.since and _day(proven.proven_at, entry.zone) == _day(entry.moment, entry.zone):
        yield "", f"earlier on that day the proof of {local(proven.since)} counted"
    if approval := proven.approval:
        yield "approved", f"{local(approval.approved_at)} by {approval.approved_by}: {approval.reason}"
        yield "", f"plan {approval.plan_id}"
    yield "snapshot", f"{proven.snapshot_id}, frozen {local(proven.frozen_at)}"
    if proven.people_of and proven.consents_of:
        age = format_duration(proven.frozen_at - min(proven.people_of, proven.consents_of))
        yield (
            "",
            f"from people of {local(proven.people_of)} and consents of {local(proven.consents_of)}, {age} old then",
        )
    yield "file", proven.file
    yield "sha256", proven.digest
    for digest, redactions in groupby(proven.redactions, key=lambda redaction: redaction.digest_before):
        at_once = list(redactions)
        rows = sum(redaction.rows for redaction in at_once)
        count = f"{rows} row{'s were' if rows > 1 else ' was'} erased"
        yield "", f"{count} {local(at_once[0].redacted_at)}; before that the sha256 was {digest}"


def _since(report: PersonReport, entry: PersonListReport, local: LocalTime) -> Iterator[str]:
    proven, row = entry.then.list.proven, entry.then.row
    base = entry.then.consent or entry.consent_then
    for event in entry.events:
        if base and precedence_key(event) <= precedence_key(base):
            continue
        late = proven is not None and event.occurred_at <= proven.frozen_at
        note = "; it bears an earlier date and came to the CRM after this selection" if late else ""
        yield f"{event_with_origin_text(entry, event, local)}{note}"
    for reason in entry.sent_address_reasons:
        is_event = reason.entity_key == report.key and reason.reason not in (Reason.BOUNCED, Reason.CONSENT_UNCLEAR)
        if not is_event:  # withdrawals are among the events
            yield suppression_text(reason, report.key, entry.settings.schema.opt_in_id, local)
    for bounce in entry.reset_bounces:
        yield f"the address bounced {local(bounce.occurred_at)} ({bounce.source}), which the CRM has reset since"
    if report.email is not None and row and row.address and row.address != address_key(report.email):
        yield f"their address in the CRM isn't that one any more, but {report.email.strip() or 'none'}"


def _now(entry: PersonListReport, local: LocalTime) -> str:
    now = entry.now
    state = now.list
    if state.proven is None:
        return "not proven yet"
    if state.unreadable:
        return f"unknown: {state.unreadable}"
    if entry.then.list.proven is state.proven and not state.cleared_at:
        return "that proof is the newest"
    if state.cleared_at:
        return f"INCOMPLETE since {local(state.cleared_at)}: unknown"
    as_of = f"by the newest proof, {local(state.proven.proven_at)}"
    if now.in_list is None:
        return f"perhaps in it {as_of}"
    if now.in_list:
        return f"in it {as_of}"
    return f"not in it {as_of}: {absence_text(now, entry.settings, local)}"


def _day(moment: datetime, zone: ZoneInfo) -> date:
    return moment.astimezone(zone).date()
