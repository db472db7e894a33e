"""`campaign-sync alarms`: what is wrong, and whether alarms reach people."""

from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from campaign_sync.cli.alarms import show_troubles, try_channels
from campaign_sync.domain.trouble import Trouble, TroubleKind
from campaign_sync_tests.alarms.listeners import mail_server, web_server
from campaign_sync_tests.rig import rig


def test_what_is_wrong_is_shown_until_it_is_over(tmp_path: Path) -> None:
    console = Console(record=True, width=200)
    broken = Trouble("nord", "newsletter", TroubleKind.INCOMPLETE, datetime(2026, 11, 24, 4, tzinfo=UTC),
                     "The list is INCOMPLETE.", "Send nothing to it.", "/runs")  # fmt: skip
    with rig(tmp_path) as shop:
        assert show_troubles(shop.configuration, console)
        with shop.state() as state:
            state.troubles.settle("nord", [broken], [], datetime.now(UTC))
        assert not show_troubles(shop.configuration, console)
        with shop.state() as state:
            state.troubles.settle("nord", [], [], datetime.now(UTC))
        assert show_troubles(shop.configuration, console)

    told = console.export_text()
    assert told.count("Nothing is wrong") == 2
    assert "nord/newsletter" in told
    assert "2026-11-24 05:00 CET" in told
    assert "The list is INCOMPLETE. Send nothing to it." in told


def test_a_test_reaches_everybody_and_tells_who_was_not_reached(tmp_path: Path) -> None:
    console = Console(record=True, width=200)
    with rig(tmp_path) as shop, mail_server() as mailbox, web_server() as inbox:
        assert try_channels(shop.configuration, console)
        assert "alarms go to the log only" in console.export_text()
        shop.environment["HOOK"] = inbox.url
        shop.settings["alarms"] = {
            "email": {"host": "127.0.0.1", "port": mailbox.port, "security": "none", "sender": "a@example.net",
                      "to": ["ops@example.net"]},
            "webhooks": {"ops": {"url": {"env": "HOOK"}}},
        }  # fmt: skip
        shop.settings["mandators"]["sued"]["alarms_to"] = ["sued@example.net"]
        assert try_channels(shop.configuration, console)
        assert mailbox.recipients == [["ops@example.net"], ["sued@example.net"]]
        assert [post["stage"] for post in inbox.posts] == ["test", "test"]
        inbox.status = 404
        assert not try_channels(shop.configuration, console)

    assert "alarms.webhooks.ops took no alarm: it answered HTTP 404" in console.export_text()
