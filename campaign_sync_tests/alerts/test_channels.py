"""Delivery of alarms: by mail, to Teams, to Slack, as JSON, in the log."""

import dataclasses
import logging
import socket
import ssl
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import trustme
from pydantic import SecretStr, ValidationError

from campaign_sync.alerts.channel import ChannelError
from campaign_sync.alerts.email import EmailChannel
from campaign_sync.alerts.log import LogChannel
from campaign_sync.alerts.messages import Wording
from campaign_sync.alerts.webhook import WebhookChannel
from campaign_sync.config import EmailSettings, WebhookSettings
from campaign_sync.domain.incident import Incident, IncidentKind, Notice, NoticeKind, Subject
from campaign_sync.domain.message import Message
from campaign_sync.domain.moment import moment
from campaign_sync_tests.alerts.receivers import mail_server, web_server

BERLIN = ZoneInfo("Europe/Berlin")
SINCE = datetime(2026, 11, 24, 4, 12, tzinfo=UTC)
BROKEN = Incident(
    "nord",
    Subject.of_list("newsletter"),
    IncidentKind.INCOMPLETE,
    SINCE,
    "The list “Newsletter für Österreich” is INCOMPLETE & <open>.",
    "Send nothing to it.",
    "/assets/nord/newsletter_recipient_list",
)
ALARM = Notice(NoticeKind.ALARM, BROKEN)
ALL_CLEAR = Notice(NoticeKind.ALL_CLEAR, BROKEN, SINCE + timedelta(minutes=19))
LINK = "https://dagster.example.net/assets/nord/newsletter_recipient_list"


def by_mail(port: int, **settings: Any) -> EmailChannel:
    given = {"host": "localhost", "port": port, "security": "none", "sender": "sync@example.net",
             "to": ["ops@example.net", "crm@example.net"], **settings}  # fmt: skip
    checked = EmailSettings.model_validate(given)
    return EmailChannel(checked, checked.to, Wording(BERLIN), "https://dagster.example.net/")


def by_webhook(url: str, **settings: Any) -> WebhookChannel:
    checked = WebhookSettings.model_validate({"url": SecretStr(url), **settings})
    return WebhookChannel("ops", checked, Wording(BERLIN), "https://dagster.example.net")


def test_one_mail_says_what_is_wrong_with_a_link_and_a_second_one_that_it_is_over() -> None:
    with mail_server() as mailbox:
        for notice in (ALARM, ALL_CLEAR):
            by_mail(mailbox.port).send(notice)

    assert mailbox.subjects == ["Alarm: nord/newsletter is INCOMPLETE", "All clear: nord/newsletter"]
    assert mailbox.recipients == [["ops@example.net", "crm@example.net"]] * 2
    first, second = (mail.get_content().replace("\r\n", "\n") for mail in mailbox.mails)
    assert first.split("\n\n") == [f"{BROKEN.what} Send nothing to it.", f"{LINK}\n"]
    assert "is over since 2026-11-24 05:31 CET, after 19 min" in second
    assert mailbox.mails[0]["Auto-Submitted"] == "auto-generated"


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_mail_is_encrypted_and_the_certificate_is_verified(
    security: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(tls)
    credentials = {"username": SecretStr("sync"), "password": SecretStr("correct horse")}
    with mail_server(tls=tls, implicit=security == "tls", login=("sync", "correct horse")) as mailbox:
        channel = by_mail(mailbox.port, security=security, **credentials)
        with pytest.raises(ChannelError, match="no trusted TLS connection"):
            channel.send(ALARM)
        authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        channel.send(ALARM)
        stranger = by_mail(mailbox.port, security=security, **credentials | {"password": SecretStr("wrong horse")})
        with pytest.raises(ChannelError, match="doesn't accept the username and password") as caught:
            stranger.send(ALARM)

    assert len(mailbox.mails) == 1
    assert "horse" not in str(caught.value)


def test_a_failing_mail_server_is_named_and_no_recipient() -> None:
    with mail_server() as mailbox:
        mailbox.refuses = True
        with pytest.raises(ChannelError, match=f"localhost:{mailbox.port} accepted no alarm: .* code 451") as caught:
            by_mail(mailbox.port).send(ALARM)
        assert "ops@" not in str(caught.value)
    with pytest.raises(ChannelError, match=r"can't be reached .* check alarms\.email\.host and port"):
        by_mail(mailbox.port).send(ALARM)


def test_an_accepted_mail_is_delivered_whatever_the_server_answers_to_the_farewell() -> None:
    with mail_server() as mailbox:
        mailbox.farewell = "421 too busy"
        by_mail(mailbox.port).send(ALARM)
        assert len(mailbox.mails) == 1


def test_a_password_that_is_not_ascii_is_a_problem_of_this_channel_and_stays_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(tls)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    credentials = {"username": SecretStr("sync"), "password": SecretStr("geheimes Käsebrot")}
    with (
        mail_server(tls=tls, login=("sync", "geheimes Käsebrot")) as mailbox,
        pytest.raises(ChannelError, match=r"it accepts ASCII only; change alarms\.email") as caught,
    ):
        by_mail(mailbox.port, **credentials | {"security": "starttls"}).send(ALARM)
    assert caught.value.__context__ is None


def test_a_webhook_whose_answer_never_ends_delays_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_drip, args=(server,), daemon=True).start()
        by_webhook(f"http://127.0.0.1:{server.getsockname()[1]}/hook").send(ALARM)


def _drip(server: socket.socket) -> None:
    """Accept a request, and answer it byte by byte."""
    connection, _ = server.accept()
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    with connection, suppress(OSError):
        for _ in range(1000):
            connection.sendall(b".")
            time.sleep(0.1)


def test_a_password_is_never_sent_in_the_clear() -> None:
    with pytest.raises(ValidationError, match="isn't sent without encryption"):
        by_mail(25, username=SecretStr("sync"), password=SecretStr("correct horse"))


def test_plain_json_has_all_fields_of_a_notice() -> None:
    with web_server() as inbox:
        by_webhook(inbox.url).send(ALL_CLEAR)

    (post,) = inbox.posts
    assert post == {
        "headline": "All clear: nord/newsletter",
        "text": "What was wrong with nord/newsletter is over since 2026-11-24 05:31 CET, after 19 min.",
        "stage": "all clear",
        "kind": "incomplete",
        "mandator": "nord",
        "subject": "newsletter",
        "since": "2026-11-24T05:12:00+01:00",
        "until": "2026-11-24T05:31:00+01:00",
        "link": LINK,
    }


def test_a_template_stays_json_whatever_is_filled_in() -> None:
    template = {"title": "{headline}", "details": {"lines": ["{text}", "{unknown}"]}, "urgent": True}
    with web_server() as inbox:
        by_webhook(inbox.url, template=template).send(ALARM)

    (post,) = inbox.posts
    assert post["title"] == "Alarm: nord/newsletter is INCOMPLETE"
    assert post["details"] == {"lines": [f"{BROKEN.what} Send nothing to it.", "{unknown}"]}
    assert post["urgent"] is True


def test_slack_gets_an_escaped_text() -> None:
    with web_server() as inbox:
        by_webhook(inbox.url, format="slack").send(ALARM)

    (post,) = inbox.posts
    assert post["text"].startswith("*Alarm: nord/newsletter is INCOMPLETE*\nThe list")
    assert "&amp; &lt;open&gt;" in post["text"]
    assert post["text"].endswith(f"<{LINK}>")


def test_teams_gets_an_adaptive_card_with_a_button() -> None:
    with web_server() as inbox:
        by_webhook(inbox.url, format="teams").send(ALARM)

    (post,) = inbox.posts
    (attachment,) = post["attachments"]
    assert (post["type"], attachment["contentType"]) == ("message", "application/vnd.microsoft.card.adaptive")
    card = attachment["content"]
    assert [(block["type"], block["inlines"][0]["text"]) for block in card["body"]] == [
        ("RichTextBlock", "Alarm: nord/newsletter is INCOMPLETE"),
        ("RichTextBlock", f"{BROKEN.what} Send nothing to it."),
    ], "where Markdown means nothing, so that no name of a mailing becomes a link"
    assert card["actions"] == [{"type": "Action.OpenUrl", "title": "Dagster", "url": LINK}]


def test_alarms_are_in_the_configured_language_and_the_log_is_in_english(caplog: pytest.LogCaptureFixture) -> None:
    german, list_name = Wording(BERLIN, "de"), "“Newsletter für Österreich” (nord/newsletter)"
    what = Message(
        "The list {list} is late since {moment}: it was proven last at {proven}.",
        list=list_name,
        moment=moment(SINCE, BERLIN),
        proven=moment(SINCE - timedelta(days=1), BERLIN),
    )
    incident = dataclasses.replace(BROKEN, kind=IncidentKind.LATE, what=what)
    with web_server() as inbox:
        channel = WebhookChannel("ops", WebhookSettings.model_validate({"url": SecretStr(inbox.url)}), german, None)
        channel.send(Notice(NoticeKind.WORSE, incident))
        channel.send(Notice(NoticeKind.ALL_CLEAR, incident, SINCE + timedelta(hours=3)))
        LogChannel(lambda: logging.getLogger("alarms"), BERLIN).send(Notice(NoticeKind.WORSE, incident))

    alarm, over = inbox.posts
    assert (alarm["headline"], over["headline"]) == (
        "Schlimmer: nord/newsletter: zu spät",
        "Entwarnung: nord/newsletter",
    )
    assert alarm["text"].startswith(f"Die Liste {list_name} ist seit 24.11.2026, 05:12 Uhr MEZ zu spät: Zuletzt")
    assert over["text"] == (
        "Was mit nord/newsletter nicht stimmte, ist seit 24.11.2026, 08:12 Uhr MEZ vorbei, nach 3,0 h."
    )
    assert (alarm["stage"], alarm["kind"], over["stage"]) == ("worse", "late", "all clear"), "for machines"
    (line,) = caplog.messages
    assert line.startswith(
        f"Worse: nord/newsletter is late. The list {list_name} is late since 2026-11-24 05:12 CET: it"
    )


def test_a_name_chosen_at_the_vendor_steers_no_channel(caplog: pytest.LogCaptureFixture) -> None:
    what = "The mailing “[click](https://evil.example) <!channel>\x1b[2J\u202e” uses it.\nERROR all is well."
    notice = Notice(NoticeKind.ALARM, dataclasses.replace(BROKEN, what=what))
    with web_server() as inbox, mail_server() as mailbox:
        for form in ("teams", "slack", "json"):
            by_webhook(inbox.url, format=form).send(notice)
        by_mail(mailbox.port).send(notice)
    LogChannel(lambda: logging.getLogger("alarms"), BERLIN).send(notice)

    texts = [*texts_in(inbox.posts), mailbox.mails[0].get_content(), caplog.messages[0]]
    assert len([text for text in texts if "evil.example" in text]) == 5
    assert [text for text in texts if "\x1b" in text or "\u202e" in text] == []
    assert "\n" not in caplog.messages[0]
    assert "TextBlock" not in str(inbox.posts[0]).replace("RichTextBlock", "")
    assert "&lt;!channel&gt;" in inbox.posts[1]["text"]


def texts_in(value: Any) -> list[str]:
    if isinstance(value, dict | list):
        return [text for inner in (value.values() if isinstance(value, dict) else value) for text in texts_in(inner)]
    return [str(value)]


def test_a_failing_webhook_is_named_without_its_secret_url() -> None:
    with web_server() as inbox:
        inbox.status = 403
        with pytest.raises(
            ChannelError, match=r"alarms\.webhooks\.ops accepted no alarm: it answered HTTP 403"
        ) as caught:
            by_webhook(inbox.url).send(ALARM)
        assert "/hook" not in str(caught.value)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    with pytest.raises(ChannelError, match="can't be reached") as caught:
        by_webhook(f"http://127.0.0.1:{port}/hook").send(ALARM)
    assert "/hook" not in str(caught.value)
    assert caught.value.__context__ is None


def test_the_log_has_alarms_as_errors_and_other_notices_as_information(caplog: pytest.LogCaptureFixture) -> None:
    channel = LogChannel(lambda: logging.getLogger("campaign_sync.alerts"), BERLIN)
    with caplog.at_level(logging.INFO, "campaign_sync.alerts"):
        channel.send(ALARM)
        channel.send(ALL_CLEAR)

    assert [(record.levelname, record.message.partition(".")[0]) for record in caplog.records] == [
        ("ERROR", "Alarm: nord/newsletter is INCOMPLETE"),
        ("INFO", "All clear: nord/newsletter"),
    ]
