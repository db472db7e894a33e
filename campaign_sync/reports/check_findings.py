"""What checks found, as a report shows it: why the newest run was refused, and what failed or warned in it."""

from collections.abc import Iterable
from typing import Final

from campaign_sync.domain.checks import SIZE
from campaign_sync.domain.readiness import CheckFinding
from campaign_sync.reports.daily_report import ListReport, Report
from campaign_sync.reports.localization import Localizer, gettext_noop
from campaign_sync.reports.view_models import Finding, FindingGroup

CHECK_TITLES: Final = {
    "withdrawals": gettext_noop("vanished withdrawals"),
    "consents": gettext_noop("consents that can’t be understood"),
    "exclusions": gettext_noop("exclusions"),
    "utf8": gettext_noop("damaged texts"),
    "technical_fields": gettext_noop("technical fields"),
    "single_consent": gettext_noop("one consent per list"),
    "not_suppressed": gettext_noop("people who bounced or opted out"),
    "unique_recipients": gettext_noop("everybody once"),
    "list_attributes": gettext_noop("fields of the list"),
    SIZE: gettext_noop("size of the list"),
    "gate": gettext_noop("last check before filling"),
    "proof": gettext_noop("proof"),
    "rejections": gettext_noop("refused by Optimizely"),
    "layout": gettext_noop("layout of the feedback"),
    "matched": gettext_noop("people the CRM doesn’t know"),
    "unsubscribes": gettext_noop("opt-outs without a person"),
    "silence": gettext_noop("silent feedback"),
    "propagation": gettext_noop("time until opt-outs take effect"),
    "consent_changes": gettext_noop("new consents in the CRM"),
    "attributed": gettext_noop("opt-ins named by opt-outs"),
}
"""The titles of checks by their names, except of those that sensors and audits evaluate."""


def refusal_reason(entry: ListReport, localizer: Localizer) -> str | None:
    """Return in a few words why the newest run didn't replace the list; None if no check refused it."""
    refusals = entry.attempt.refusals if entry.attempt else ()
    if not refusals:
        return None
    if entry.refused_people is not None and entry.people and entry.refused_people != entry.people:
        change = abs(entry.refused_people - entry.people) / entry.people
        fewer = entry.refused_people < entry.people
        message = gettext_noop("{share} fewer people") if fewer else gettext_noop("{share} more people")
        return localizer.gettext(message, share=localizer.percent(change))
    titles = localizer.join(list(dict.fromkeys(_title(finding, localizer) for finding in refusals)))
    return localizer.gettext("check “{titles}”", titles=titles)


def list_findings(entry: ListReport, report: Report, localizer: Localizer) -> FindingGroup | None:
    """Return what checks of the list found in its newest run; None if nothing."""
    own = [finding for finding in entry.findings if finding.of_list]
    if not own or entry.attempt is None:
        return None
    moment = localizer.time_or_date_time(entry.attempt.ended_at, report.day)
    failed = () if entry.attempt is None else entry.attempt.failed_checks
    title = localizer.gettext("What checks found in the last run (ended {moment})", moment=moment)
    return FindingGroup(title, _findings(own, failed, localizer))


def feedback_findings(report: Report, localizer: Localizer) -> FindingGroup | None:
    """Return what checks of the feedback found, which all lists share; None if nothing."""
    shared = {str(finding): finding for entry in report.lists for finding in entry.findings if not finding.of_list}
    if not shared:
        return None
    failed = [finding for entry in report.lists if entry.attempt for finding in entry.attempt.failed_checks]
    title = localizer.gettext("What checks of the opt-outs and bounces found")
    return FindingGroup(title, _findings(shared.values(), failed, localizer))


def _findings(findings: Iterable[CheckFinding], failed: Iterable[CheckFinding], localizer: Localizer) -> list[Finding]:
    stopping = set(failed)
    return [
        Finding(
            status="failed" if finding in stopping else "warning",
            status_text=localizer.gettext("failed") if finding in stopping else localizer.gettext("warning"),
            title=_title(finding, localizer),
            sentence=finding.finding,
            check=f"{finding.asset}/{finding.check}",
        )
        for finding in findings
    ]


def _title(finding: CheckFinding, localizer: Localizer) -> str:
    title = CHECK_TITLES.get(finding.check)
    return localizer.gettext(title) if title else finding.check
