"""The heartbeat: a request every minute to a receiver outside, which alerts people when it stays away."""

import logging
from collections.abc import Callable

from pydantic import SecretStr

from campaign_sync.alerts.http_request import send_request
from campaign_sync.errors import CampaignSyncError

TIMEOUT_SECONDS = 5.0
"""How long the receiver may take to answer: alarms wait for it."""


class HeartbeatError(CampaignSyncError):
    """The receiver didn't accept a heartbeat. The message names the remedy and no part of the URL."""


def send_heartbeat(url: SecretStr) -> None:
    """Send a heartbeat: a GET, which healthchecks, Uptime Kuma and their like all accept.

    Raises:
        HeartbeatError: the receiver couldn't be reached, or answered with an error.
        UnavailableError: the URL can't be read.
    """
    problem = send_request("GET", url, timeout=TIMEOUT_SECONDS, refused="check the URL")
    if problem:
        raise HeartbeatError(f"the receiver at alarms.heartbeat_url accepted no heartbeat: {problem}")


class Heartbeat:
    """Heartbeats of one process. What the receiver doesn't accept is logged once, until it accepts the next."""

    def __init__(self, url: SecretStr | None) -> None:
        self._url, self._failed = url, False

    def send(self, logger: Callable[[], logging.Logger]) -> None:
        """Send a heartbeat if a receiver is configured. The logger is requested only for an error."""
        if self._url is None:
            return
        problem = ""
        try:
            send_heartbeat(self._url)
        except CampaignSyncError as error:
            problem = str(error)
        if problem and not self._failed:
            logger().error("%s", problem)
        self._failed = bool(problem)
