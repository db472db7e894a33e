"""To which recipient lists mailings went."""

from collections.abc import Callable

from campaign_sync.optimizely.client import Optimizely
from campaign_sync.optimizely.errors import RefusedError, UnknownFaultError


class MailingRecipientLists:
    """Asks the vendor once for each mailing. One that is gone, or that may not be looked at, tells nothing."""

    def __init__(self, vendor: Callable[[], Optimizely]) -> None:
        self._vendor = vendor
        self._found: dict[int, frozenset[int] | None] = {}

    def __call__(self, mailing_id: int) -> frozenset[int] | None:
        """Return the ids of a mailing's recipient lists; None where nobody tells."""
        if mailing_id not in self._found:
            try:
                self._found[mailing_id] = self._vendor().mailings.recipient_list_ids(mailing_id)
            except (RefusedError, UnknownFaultError):
                self._found[mailing_id] = None
        return self._found[mailing_id]
