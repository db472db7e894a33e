"""What Dynamics 365 refuses of a write-back: single records, or everything that takes a privilege the user lacks."""

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable

from campaign_sync.crm.dataverse.errors import TITLE, forbidden, missing_privilege, refusal_reason
from campaign_sync.crm.web_api.answer import Answer

_log = logging.getLogger(__name__)


class Refusals:
    """Collects refusals, so that everything else is written before they are reported.

    Args:
        title: what is written, for messages.
        needed: returns the names, in small letters, of the privileges without which nothing can be written. Others
            are those of plug-ins, which may need them for some records only.
    """

    def __init__(self, title: str, needed: Callable[[], Collection[str]]) -> None:
        self.title, self._needed = title, needed
        self._reasons: Counter[str] = Counter()
        self._privileges: dict[str, Answer] = {}

    def add(self, refused: Iterable[Answer]) -> None:
        """Add the answers that refused an operation."""
        for answer in refused:
            self._reasons[refusal_reason(answer)] += 1
            if privilege := missing_privilege(answer):
                self._privileges.setdefault(privilege, answer)

    def report(self) -> None:
        """Log how many records were refused, and why.

        Raises:
            CrmSetupError: the user lacks a privilege that all records of a table take.
        """
        needed = self._needed() if self._privileges else ()
        missing = [answer for privilege, answer in self._privileges.items() if privilege.lower() in needed]
        raised = refusal_reason(missing[0]) if missing else None
        for reason, count in self._reasons.most_common():
            if reason != raised:
                _log.warning("%s: %s refused %d records, which stay pending: %s", self.title, TITLE, count, reason)
        if missing:
            raise forbidden(missing[0])
