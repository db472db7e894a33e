"""A report by mail: one a day, and a further one when the colour of its headline has changed."""

from datetime import datetime
from email.message import EmailMessage
from typing import Final

from campaign_sync.config import Configuration, EmailSettings
from campaign_sync.domain.printable_text import printable_line
from campaign_sync.reports.daily_report import Report
from campaign_sync.reports.headline import severity
from campaign_sync.reports.html_page import report_page
from campaign_sync.reports.localization import Localizer, gettext_noop
from campaign_sync.reports.publication import mail_language
from campaign_sync.reports.templates import fill_template
from campaign_sync.reports.view_models import Page
from campaign_sync.smtp import new_message, send_mail
from campaign_sync.storage.report_mails import ReportMail
from campaign_sync.storage.state import State

_VERDICTS: Final = {
    "good": gettext_noop("all lists are ready"),
    "fair": gettext_noop("please read before you send"),
    "bad": gettext_noop("don’t send to every list"),
}

HEADLINE_COLOURS: Final = {
    "good": ("#eef8f3", "#b5dccb", "#125239"),
    "fair": ("#fdf6ea", "#ecd2a4", "#6b3f05"),
    "bad": ("#fdf1f0", "#efc1bd", "#7d1812"),
}
"""Background, border and text, as on the page."""


def is_due(report: Report, last: ReportMail | None) -> bool:
    """Return whether a report is mailed: the first one of a settled day, and one whose colour has changed since.

    A day is settled when no list follows without a person. A mail that couldn't be sent doesn't count.

    Args:
        report: as it was written just now.
        last: the last mail of its mandator, sent or not.
    """
    if report.unfinished_day and report.unfinished_day.followed:
        return False
    return last is None or last.problem is not None or (last.day, last.severity) != (report.day, severity(report))


def mail_report(
    report: Report, mandator: str, configuration: Configuration, state: State, link: str | None, now: datetime
) -> str | None:
    """Mail a report to `report_to`, if it is due.

    Args:
        report: as it was written just now.
        mandator: a key of the configuration.
        configuration: has the recipients, the mail server and the languages.
        state: knows what was mailed, and learns what is.
        link: the URL of the report's page, or of its asset; None without any.
        now: the current time.

    Returns:
        Why the mail couldn't be sent, and what to do; None if it was sent, or none is due.

    Raises:
        StateError: the state database can't be used.
    """
    to, server = configuration.mandators[mandator].report_to, configuration.alarms.email
    if not to or server is None:
        return None
    last = state.report_mails.last().get(mandator)
    if not is_due(report, last):
        return None
    is_update = last is not None and last.problem is None and last.day == report.day
    localizer = Localizer(mail_language(configuration), report.zone)
    page = report_page(report, localizer)
    message = new_message(server, to, _subject(report, localizer, is_update=is_update))
    _fill(message, page, localizer, link)
    problem = _send(message, server, mandator)
    state.report_mails.record(mandator, ReportMail(report.day, severity(report), now, problem))
    return problem


def send_test_mail(mandator: str, configuration: Configuration) -> str | None:
    """Send a test to `report_to`. Return why it couldn't be sent; None if it was, or there are no recipients."""
    settings, server = configuration.mandators[mandator], configuration.alarms.email
    if not settings.report_to or server is None:
        return None
    localizer = Localizer(mail_language(configuration), settings.zone)
    called = settings.display_name(mandator)
    message = new_message(server, settings.report_to, localizer.gettext("Test: report on {mandator}", mandator=called))
    message.set_content(
        localizer.gettext("This is a test of whether the daily report on {mandator} reaches you.", mandator=called)
        + "\n"
    )
    return _send(message, server, mandator)


def _send(message: EmailMessage, server: EmailSettings, mandator: str) -> str | None:
    """Send a mail to `report_to`. Return why it couldn't be sent, and what to do."""
    reason = send_mail(server, message, f"mandators.{mandator}.report_to")
    return f"the mail server {server.host}:{server.port} took no report: {reason}" if reason else None


def _subject(report: Report, localizer: Localizer, *, is_update: bool) -> str:
    subject = localizer.gettext(
        "{mandator}: {verdict} ({day})",
        mandator=report.display_name,
        verdict=localizer.gettext(_VERDICTS[severity(report)]),
        day=localizer.long_date(report.day),
    )
    return printable_line(localizer.gettext("Changed: {subject}", subject=subject) if is_update else subject)


def _fill(message: EmailMessage, page: Page, localizer: Localizer, link: str | None) -> None:
    background, border, ink = HEADLINE_COLOURS[page.severity]
    values = {"page": page, "link": link, "background": background, "border": border, "ink": ink}
    text, html = (fill_template(name, _=localizer.gettext, **values) for name in ("mail.txt.j2", "mail.html.j2"))
    message.set_content(text)
    message.add_alternative(html, subtype="html")
