"""Alerts through Apprise, to a real receiver on this machine."""

import logging
import socket
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from pydantic import SecretStr
from rich.console import Console

from campaign_sync.alerts.apprise import AppriseChannel
from campaign_sync.alerts.channel import ChannelError
from campaign_sync.alerts.messages import Wording
from campaign_sync.cli.alarms import send_test_notices
from campaign_sync.config import AppriseSettings, ConfigurationError
from campaign_sync_tests.alerts.receivers import Inbox, web_server
from campaign_sync_tests.alerts.test_channels import ALARM, ALL_CLEAR, BROKEN, LINK
from campaign_sync_tests.installation import running_installation
from campaign_sync_tests.root_log import root_log


def channel(url: str) -> AppriseChannel:
    settings = AppriseSettings.model_validate({"url": SecretStr(url)})
    return AppriseChannel("pager", settings, Wording(ZoneInfo("Europe/Berlin")), "https://dagster.example.net")


def json_url(inbox: Inbox, token: str = "zaunkoenig") -> str:
    return f"{inbox.url.replace('http://', 'json://sync:geheim4711@')}/{token}"


def test_a_target_receives_headline_text_link_and_kind_of_each_notice() -> None:
    with web_server() as inbox:
        for notice in (ALARM, ALL_CLEAR):
            channel(json_url(inbox)).send(notice)

    alarm, all_clear = inbox.posts
    assert (alarm["title"], alarm["type"]) == ("Alarm: nord/newsletter is INCOMPLETE", "failure")
    assert alarm["message"] == f"{BROKEN.what} Send nothing to it.\n\n{LINK}"
    assert (all_clear["title"], all_clear["type"]) == ("All clear: nord/newsletter", "success")


def test_a_refusal_is_explained_without_any_part_of_the_url() -> None:
    with root_log(logging.DEBUG) as records:
        caught, refused = refusals()
    logged = [record.getMessage() for record in records if record.name.startswith(("apprise", "campaign_sync"))]
    for text in (caught, refused, *logged):
        assert "zaunkoenig" not in text
        assert "geheim4711" not in text
    assert "127.0.0.1" not in refused


def refusals() -> tuple[str, str]:
    """Return the errors for a receiver that refuses, and for an unreachable one."""
    with web_server() as inbox:
        inbox.status = 503
        with pytest.raises(ChannelError, match=r"alarms\.apprise\.pager accepted no alarm: .*error=503") as caught:
            channel(json_url(inbox)).send(ALARM)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        unreachable = f"json://sync:geheim4711@127.0.0.1:{closed.getsockname()[1]}/zaunkoenig"
        with pytest.raises(ChannelError, match=r"Connection error") as refused:
            channel(unreachable).send(ALARM)
    assert caught.value.__context__ is None
    return str(caught.value), str(refused.value)


def test_redirects_are_not_followed() -> None:
    with web_server() as inbox, web_server() as other_inbox:
        inbox.status, inbox.location = 307, other_inbox.url
        with pytest.raises(ChannelError, match="error=307"):
            channel(f"{json_url(inbox)}?redirect=yes").send(ALARM)
    assert other_inbox.posts == []


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("nonsense://sync:geheim4711@127.0.0.1", "doesn't understand the URL"),
        ("jsons://sync:geheim4711@127.0.0.1:1/?verify=no", "remove verify=no"),
    ],
)
def test_a_url_that_is_unknown_or_unsafe_sends_nothing(url: str, problem: str) -> None:
    with pytest.raises(ChannelError, match=problem) as caught:
        channel(url).send(ALARM)
    assert "geheim4711" not in str(caught.value)


def test_a_test_notice_goes_to_the_targets_of_each_mandator(tmp_path: Path) -> None:
    console = Console(record=True, width=200)
    with running_installation(tmp_path) as installation, web_server() as inbox:
        installation.environment["PAGER"] = json_url(inbox)
        installation.settings["alarms"] = {"apprise": {"pager": {"url": {"env": "PAGER"}, "mandators": ["sued"]}}}
        assert not send_test_notices(installation.configuration, console), "nord has no target"
        assert [post["type"] for post in inbox.posts] == ["info"]
        assert "geheim4711" not in repr(installation.configuration)
        inbox.status = 404
        assert not send_test_notices(installation.configuration, console)
        installation.settings["alarms"]["apprise"]["pager"]["mandators"] = ["west"]
        with pytest.raises(ConfigurationError, match="there is no such mandator"):
            send_test_notices(installation.configuration, console)

    shown = console.export_text()
    assert "✓ sued: apprise pager" in shown
    assert "✗ sued: the target alarms.apprise.pager accepted no alarm" in shown
    assert "✗ nord: alarms go to the log only" in shown
    assert "geheim4711" not in shown
