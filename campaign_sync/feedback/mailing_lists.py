"""The recipient lists that mailings went to."""

from collections.abc import Callable

from campaign_sync.optimizely.client import Optimizely
from campaign_sync.optimizely.errors import RefusedError, UnknownFaultError


class MailingRecipientLists:
    """Asks the vendor once for the recipient lists of each mailing."""

    def __init__(self, vendor: Callable[[], Optimizely]) -> None:
        self._vendor = vendor
        self._lists_by_mailing: dict[int, frozenset[int] | None] = {}

    def __call__(self, mailing_id: int) -> frozenset[int] | None:
        """Return the ids of a mailing's recipient lists; None if it is gone or the user may not read it."""
        if mailing_id not in self._lists_by_mailing:
            try:
                self._lists_by_mailing[mailing_id] = self._vendor().mailings.recipient_list_ids(mailing_id)
            except (RefusedError, UnknownFaultError):
                self._lists_by_mailing[mailing_id] = None
        return self._lists_by_mailing[mailing_id]
