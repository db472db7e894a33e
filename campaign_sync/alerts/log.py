"""Alerts in the log, in addition to every other channel."""

import logging
from collections.abc import Callable
from datetime import tzinfo

from campaign_sync.alerts.messages import text_of
from campaign_sync.domain.incident import Notice, NoticeKind, headline
from campaign_sync.domain.printable_text import printable_line


class LogChannel:
    """Writes to a logger: alarms as errors, other notices as information.

    The logger is requested only for a notice: Dagster creates a file for every tick that requests it.
    """

    name = "log"

    def __init__(self, logger: Callable[[], logging.Logger], zone: tzinfo) -> None:
        self._logger, self._zone = logger, zone

    def send(self, notice: Notice) -> None:
        """Write one line."""
        level = (
            logging.ERROR if notice.kind in (NoticeKind.ALARM, NoticeKind.WORSE, NoticeKind.UNWATCHED) else logging.INFO
        )
        line = f"{headline(notice)}. {text_of(notice, self._zone)}"
        self._logger().log(level, "%s", printable_line(line))
