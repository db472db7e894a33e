"""Heartbeats to a receiver outside."""

import logging
import socket

import pytest
from pydantic import SecretStr

from campaign_sync.alerts import heartbeat
from campaign_sync.alerts.heartbeat import Heartbeat, HeartbeatError, send_heartbeat
from campaign_sync_tests.alerts.receivers import web_server

SECRET = "0f9e8d7c"


@pytest.mark.parametrize("path", [f"/ping/{SECRET}", f"/api/push/{SECRET}?status=up&msg=OK&ping="])
def test_a_heartbeat_requests_the_url_as_it_is(path: str) -> None:
    with web_server() as inbox:
        send_heartbeat(SecretStr(inbox.url.removesuffix("/hook") + path))
        assert inbox.gets == [path]


def problem(url: str) -> str:
    with pytest.raises(HeartbeatError) as caught:
        send_heartbeat(SecretStr(url))
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is caught.value.__context__ is None, "a chained error would hold the URL"
    return str(caught.value)


@pytest.mark.parametrize("status", [301, 404, 503])
def test_a_receiver_that_answers_with_an_error_is_named_without_its_url(status: int) -> None:
    with web_server() as inbox:
        inbox.status, inbox.location = status, f"{inbox.url}/{SECRET}" if status == 301 else ""
        assert f"alarms.heartbeat_url accepted no heartbeat: it answered HTTP {status}" in problem(
            f"{inbox.url}/{SECRET}"
        )


@pytest.mark.parametrize("url", [f"http://127.0.0.1:1/{SECRET}", f"ftp://127.0.0.1/{SECRET}", SECRET])
def test_a_receiver_that_cannot_be_reached_is_named_without_its_url(url: str) -> None:
    assert "it can't be reached" in problem(url)


def test_a_receiver_that_never_answers_is_given_up_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    assert heartbeat.TIMEOUT_SECONDS
    monkeypatch.setattr(heartbeat, "TIMEOUT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert "it can't be reached (ReadTimeout)" in problem(f"http://127.0.0.1:{silent.getsockname()[1]}/{SECRET}")


def test_what_a_receiver_does_not_accept_is_logged_once_until_it_accepts_the_next(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = logging.getLogger(__name__)
    with web_server() as inbox:
        heartbeats = Heartbeat(SecretStr(inbox.url))
        for status in (503, 503, 200, 503):
            inbox.status = status
            heartbeats.send(lambda: log)
        assert len(inbox.gets) == 1
    assert [record.getMessage().partition(": ")[2] for record in caplog.records] == [
        "it answered HTTP 503; check the URL"
    ] * 2
    Heartbeat(None).send(lambda: log)
