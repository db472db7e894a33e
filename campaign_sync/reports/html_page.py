"""The page of a report: one HTML file without scripts that loads nothing."""

from campaign_sync.domain.message import Language
from campaign_sync.reports.check_findings import feedback_findings
from campaign_sync.reports.contacts import contacts
from campaign_sync.reports.daily_report import ListReport, Report
from campaign_sync.reports.headline import headline, missing_lists, severity
from campaign_sync.reports.list_cards import list_card
from campaign_sync.reports.localization import UNKNOWN, Localizer
from campaign_sync.reports.opt_out_figures import opt_out_figures
from campaign_sync.reports.planned_mailings import mailing_table, next_mailing
from campaign_sync.reports.reason_figures import reason_figures
from campaign_sync.reports.templates import fill_template
from campaign_sync.reports.terms import terms
from campaign_sync.reports.view_models import Page, Table


def render(report: Report, language: Language) -> str:
    """Return the report as an HTML page."""
    localizer = Localizer(language, report.zone)
    return fill_template("page.html.j2", _=localizer.gettext, page=report_page(report, localizer))


def report_page(report: Report, localizer: Localizer) -> Page:
    """Return what the page shows, in one language."""
    return Page(
        language=localizer.language,
        check_language=report.check_language,
        title=localizer.gettext("Recipient lists of {mandator}", mandator=report.display_name),
        day=localizer.full_date(report.day),
        made_at=localizer.gettext(
            "As of {moment} ({zone})", moment=localizer.date_time(report.made_at), zone=report.zone.key
        ),
        headline=headline(report, localizer),
        severity=severity(report),
        missing_lists=missing_lists(report, localizer),
        next_mailing=next_mailing(report, localizer),
        contacts=contacts(report, localizer),
        mailings=mailing_table(report, localizer),
        cards=[list_card(number, entry, report, localizer) for number, entry in enumerate(report.lists, start=1)],
        feedback_findings=feedback_findings(report, localizer),
        reasons=reason_figures(report, localizer),
        opt_outs=opt_out_figures(report, localizer),
        proofs=_proofs(report, localizer),
        terms=terms(localizer),
    )


def _proofs(report: Report, localizer: Localizer) -> Table:
    header = [
        localizer.gettext("List"),
        localizer.gettext("Proven"),
        localizer.gettext("Equal rows"),
        localizer.gettext("Frozen"),
        localizer.gettext("Snapshot"),
        localizer.gettext("Digest (SHA-256)"),
    ]
    return Table(header, [_proof_row(entry, localizer) for entry in report.lists])


def _proof_row(entry: ListReport, localizer: Localizer) -> list[str]:
    proof = entry.proof
    if proof is None:
        return [entry.display_name, *[UNKNOWN] * 5]
    return [
        entry.display_name,
        localizer.date_time(proof.proven_at),
        localizer.number(proof.equal),
        localizer.date_time(proof.frozen_at),
        proof.snapshot_id,
        proof.digest,
    ]
