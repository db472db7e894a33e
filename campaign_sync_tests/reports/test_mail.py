"""The report by mail: one a day once the day is settled, one more if its colour changes, and no failure of a run."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from typing import Any

import dagster as dg
import pytest
from lxml import html
from rich.console import Console

from campaign_sync.alerts.detection import unsent_report
from campaign_sync.cli.alarms import send_test_notices
from campaign_sync.config import ConfigurationError
from campaign_sync.domain.incident import IncidentKind
from campaign_sync.domain.readiness import Readiness
from campaign_sync.reports.daily_report import Report, UnfinishedDay
from campaign_sync.reports.mail import is_due, mail_report
from campaign_sync.storage.report_mails import ReportMail
from campaign_sync_tests.alerts.receivers import Mailbox, mail_server
from campaign_sync_tests.installation import Installation
from campaign_sync_tests.reports.pages import report_of

pytestmark = pytest.mark.xdist_group("report")

NOW = datetime(2026, 11, 27, 7, tzinfo=UTC)
LINK = "https://dagster.example.net/assets/nord/report"


def configure(installation: Installation, mailbox: Mailbox, **more: Any) -> None:
    email = {"host": "127.0.0.1", "port": mailbox.port, "security": "none", "sender": "sync@example.net"}
    installation.settings["alarms"] = {"email": {**email, "to": ["ops@example.net"]}}
    installation.settings["mandators"]["nord"]["report_to"] = ["marketing@example.net", "privacy@example.net"]
    installation.settings |= more


def ready(report: Report) -> Report:
    lists = tuple(replace(entry, status=Readiness.READY, people=12) for entry in report.lists)
    return replace(report, lists=lists)


def send(installation: Installation, report: Report, now: datetime = NOW) -> str | None:
    with installation.state() as state:
        return mail_report(report, "nord", installation.configuration, state, LINK, now)


def part(mail: EmailMessage, kind: str) -> str:
    body = mail.get_body((kind,))
    assert body is not None
    return str(body.get_content())


def test_a_day_is_mailed_once_and_again_when_its_colour_changes(installation: Installation) -> None:
    with mail_server() as mailbox:
        configure(installation, mailbox, language="de")
        red = report_of(installation)
        assert [send(installation, report) for report in (red, red, ready(red), ready(red))] == [None] * 4

    first, second = mailbox.subjects
    assert "nicht an alle Listen senden (" in first
    assert second.startswith("Geändert: ")
    assert "alle Listen sind bereit (" in second
    assert mailbox.recipients == [["marketing@example.net", "privacy@example.net"]] * 2
    text, page = part(mailbox.mails[0], "plain"), html.fromstring(part(mailbox.mails[0], "html"))
    for content in (text, page.text_content()):
        assert "bitte noch nichts dorthin senden" in content
        assert "Der ganze Bericht" in content
    assert LINK in text
    assert LINK in [link.get("href") for link in page.iter("a")]
    assert [heading.tag for heading in page.iter("h1", "h2", "h3")] == ["h1", "h2", "h3", "h3"]
    assert not list(page.iter("style", "script", "img", "svg", "link")), "Outlook and Gmail show none of these"
    assert all(table.get("role") == "presentation" for table in page.iter("table"))


def test_names_are_escaped_in_html_and_not_in_text(installation: Installation) -> None:
    with mail_server() as mailbox:
        configure(installation, mailbox)
        report = report_of(installation)
        lists = (replace(report.lists[0], display_name="A & <b>B</b>"), *report.lists[1:])
        send(installation, replace(report, lists=lists))
    assert "A & <b>B</b>: never filled" in part(mailbox.mails[0], "plain")
    assert "A &amp; &lt;b&gt;B&lt;/b&gt;: never filled" in part(mailbox.mails[0], "html")


def test_nothing_is_mailed_while_lists_follow_by_themselves(installation: Installation) -> None:
    report = report_of(installation)
    following, left = UnfinishedDay(NOW, ("newsletter",), ()), UnfinishedDay(NOW, (), ("newsletter",))
    assert not is_due(replace(report, unfinished_day=following), None)
    assert is_due(replace(report, unfinished_day=left), None)
    sent = ReportMail(report.day, "bad", NOW)
    assert not is_due(report, sent)
    assert is_due(report, replace(sent, problem="it can't be reached"))
    assert is_due(report, replace(sent, day=report.day - timedelta(days=1)))


def test_a_mail_server_that_fails_is_an_incident_until_a_mail_is_sent_and_fails_no_run(
    installation: Installation,
) -> None:
    with mail_server() as mailbox, dg.instance_for_test() as instance:
        configure(installation, mailbox)
        mailbox.refuses = True
        job = installation.definitions.resolve_job_def("nord_report")
        assert job.execute_in_process(instance=instance).success
        with installation.state() as state:
            (incident,) = unsent_report(installation.configuration, "nord", state.report_mails.last()["nord"])
            assert incident.kind is IncidentKind.FAILED
            assert "took no report: it answered with code 451; check alarms.email.sender." in incident.what
            assert "@" not in incident.what
            mailbox.refuses = False
            assert job.execute_in_process(instance=instance).success
            assert list(unsent_report(installation.configuration, "nord", state.report_mails.last()["nord"])) == []
    assert len(mailbox.mails) == 1


def test_the_test_of_alarms_tries_the_mail_as_well(installation: Installation) -> None:
    with mail_server() as mailbox:
        configure(installation, mailbox)
        assert send_test_notices(installation.configuration, Console())
        mailbox.unknown = "marketing@example.net"
        assert not send_test_notices(installation.configuration, Console())
    assert mailbox.subjects[0] == "Test: report on nord"
    assert mailbox.recipients[0] == ["marketing@example.net", "privacy@example.net"]


def test_a_mailed_report_needs_a_server_and_a_language(installation: Installation) -> None:
    installation.settings["mandators"]["nord"]["report_to"] = ["marketing@example.net"]
    installation.settings["reports"] = {"languages": []}
    with pytest.raises(ConfigurationError, match=r"configure that, or leave report_to out") as caught:
        _ = installation.configuration
    assert "reports.languages is empty" in str(caught.value)
