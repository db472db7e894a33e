"""`campaign-sync why`: whether people are in each recipient list, and why or why not."""

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.text import Text

from campaign_sync.cli.inquiries import record_inquiry
from campaign_sync.cli.list_sections import Line, ListSection, print_list_sections
from campaign_sync.cli.membership_text import (
    SEARCH_STATUS,
    absence_text,
    bounce_text,
    event_text,
    event_with_origin_text,
    heading_text,
    no_consent_text,
    rejection_text,
    suppression_text,
    waiting_lines,
    warning_lines,
)
from campaign_sync.cli.output import LocalTime
from campaign_sync.config import Configuration
from campaign_sync.crm.address_key import address_key
from campaign_sync.domain.consent import GRANTING
from campaign_sync.domain.message import as_sentence
from campaign_sync.domain.rejection import Reason
from campaign_sync.inquiry.person_query import PersonQuery
from campaign_sync.inquiry.person_report import PersonListReport, PersonReport
from campaign_sync.inquiry.person_search import report_memberships
from campaign_sync.inquiry.sources import open_sources


def print_why(configuration: Configuration, who: str, console: Console) -> None:
    """Print, for all people whom `who` names and for every list, whether they are in it, and why.

    Raises:
        InvalidPersonError: `who` is neither an address nor a record.
        UnknownPersonError: no source has them. The message doesn't repeat an address.
    """
    print_person_reports(find_person(configuration, who, console), console)


def find_person(configuration: Configuration, who: str, console: Console) -> Sequence[PersonReport]:
    """Return what is known now of all people whom `who` names. See `print_why`."""
    query = PersonQuery.parse(who)
    with open_sources(configuration) as sources, console.status(SEARCH_STATUS):
        record_inquiry(sources.state, "why", query)
        return report_memberships(sources, query)


def print_person_reports(reports: Sequence[PersonReport], console: Console) -> None:
    """Print people's current memberships, with their addresses: only for users who asked for these very people."""
    for report in reports:
        console.print(Text(heading_text(report), "bold"))
        for sentence in _bounces(report):
            console.print(Text(sentence, "yellow"))
        sections = (
            ListSection(entry.settings, entry.zone, entry.now.in_list, _lines(report, entry)) for entry in report.lists
        )
        print_list_sections(sections, console)


def _bounces(report: PersonReport) -> list[str]:
    """Return the bounces of the address, which keep it out of every list."""
    sentences = (
        as_sentence(bounce_text(reason, LocalTime(entry.zone)))
        for entry in report.lists
        for reason in entry.suppression_reasons
        if reason.reason is Reason.BOUNCED
    )
    return list(dict.fromkeys(sentences))


def _lines(report: PersonReport, entry: PersonListReport) -> Iterator[Line]:
    local, now = LocalTime(entry.zone), entry.now
    yield from warning_lines(now, local)
    if now.in_list is False:
        yield "why", _absence(report, entry, local)
    yield "proven", local(now.list.proven.proven_at) if now.list.proven else "never yet"
    yield from waiting_lines(entry, local)
    if report.key is not None:
        yield from _consent(report, entry, local)
    for reason in entry.suppression_reasons:
        if reason.reason is not Reason.BOUNCED:  # is printed above all lists
            yield "now", suppression_text(reason, report.key, entry.settings.schema.opt_in_id, local)
    for rejection in now.rejections.newer:
        yield "since", f"{rejection_text(rejection, entry.settings, local)} – in a run whose list isn't proven yet"
    for rejection in now.rejections.older:
        yield "before", rejection_text(rejection, entry.settings, local)


def _absence(report: PersonReport, entry: PersonListReport, local: LocalTime) -> str:
    if report.key is None:
        return "no record is known that could be selected"
    return absence_text(entry.now, entry.settings, local)


def _consent(report: PersonReport, entry: PersonListReport, local: LocalTime) -> Iterator[Line]:
    row, sent, current = entry.now.row, entry.now.consent, entry.consent
    if row and sent:
        yield "consent", event_text(sent, local)
        if report.email is not None and row.address != address_key(report.email):
            yield "sent to", f"{row.address}, which isn't their address in the CRM any more"
        if current and current.event_id == sent.event_id:
            return
    label = "by now" if sent else "consent"
    if current:
        yield label, event_with_origin_text(entry, current, local)
        if current.evidence and current.kind not in GRANTING and current.event_id not in entry.origins:
            yield "", f"evidence: {current.evidence}"
    elif entry.now.known:  # people who were never selected need no consent
        yield label, no_consent_text(entry.settings)
