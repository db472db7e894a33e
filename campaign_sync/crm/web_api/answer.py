"""An answer of a web API, and what a judge of it can say."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from campaign_sync.crm.port import CrmError


@dataclass(frozen=True)
class Answer:
    """An HTTP answer, received completely."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    """Their names are compared without regard to case."""
    content: bytes = field(repr=False)

    @property
    def ok(self) -> bool:
        """Whether the status is one of success."""
        return 200 <= self.status < 300

    def json(self) -> Any:
        """Return the content.

        Raises:
            ValueError: it isn't JSON.
        """
        return json.loads(self.content)

    @property
    def retry_after(self) -> float | None:
        """How many seconds the server asks to wait; None if it doesn't say, or not in a form that HTTP knows."""
        value = self.headers.get("Retry-After", "").strip()
        if value.isdecimal():
            return float(value)
        try:
            moment = parsedate_to_datetime(value)
        except ValueError:
            return None
        return max(0.0, (moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)).total_seconds())

    @property
    def sent_at(self) -> datetime | None:
        """When the server sent it, by its own clock; None if it doesn't say."""
        try:
            moment = parsedate_to_datetime(self.headers.get("Date", ""))
        except ValueError:
            return None
        return moment.replace(tzinfo=moment.tzinfo or UTC)


@dataclass(frozen=True)
class Retry:
    """The same call may succeed later. It had no effect."""

    reason: str
    """The problem and its remedy, for the message if it never succeeds; without personal data."""
    after: float | None = None
    """Seconds that the API asks to wait; None if it doesn't say."""
    renew_token: bool = False
    """Whether a new login is needed first."""


Judge = Callable[[Answer], Retry | CrmError | None]
"""Says what an answer means: try again, an error, or nothing of these: the caller takes it, whatever its status."""
