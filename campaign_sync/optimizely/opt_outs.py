"""The services about opt-outs: unsubscribe lists and the blocklist."""

from collections.abc import Sequence

from campaign_sync.optimizely.array_encoder import Texts
from campaign_sync.optimizely.batching import batches, call_in_batches
from campaign_sync.optimizely.errors import RefusedError, UnknownFaultError
from campaign_sync.optimizely.session import Session

EVERY_LIST = 0
"""Instead of a list id: unsubscribe from everything that the mandator sends."""


class Unsubscribes:
    """The unsubscribe lists of the mandator.

    The vendor's operations that remove people from them, who would then receive mail again, are left out on purpose.
    """

    def __init__(self, session: Session):
        self._session = session
        self.refuses_list_queries = False
        """Whether the vendor has refused queries about the unsubscribe list of a single recipient list."""

    def add_all(self, list_id: int, ids: Sequence[str]) -> None:
        """Put recipient ids on the unsubscribe list, which stops all mail to them. Idempotent.

        They stay in their recipient lists, and the vendor skips them when it sends.

        Args:
            list_id: the recipient list, for mandators with one unsubscribe list per recipient list (set up by the
                vendor's support); ignored for all others. 0 stops the mail of all lists, and is the safe choice.
            ids: the recipient ids.
        """
        if list_id != EVERY_LIST:
            self._session.check_list_ownership(list_id)
        for batch in batches(ids):
            self._session.call("Unsubscribe", "addAll", list_id, batch)

    def contains_all(self, ids: Texts) -> list[bool]:
        """Return for each recipient id whether it is on any unsubscribe list of the mandator."""
        return call_in_batches(self._session, "Unsubscribe", "containsAll", ids)

    def contains_all_of_list(self, list_id: int, ids: Texts) -> list[bool] | None:
        """Return for each recipient id whether it is on the unsubscribe list of a recipient list.

        For a mandator with a single unsubscribe list it is the same as `contains_all` (vendor documentation of
        containsAllByRecipientList). Whether a list with its own one also reports the client's isn't documented.

        Returns:
            None if the user has no permission for this; from then on the vendor isn't asked again.
        """
        if self.refuses_list_queries:
            return None
        self._session.check_list_ownership(list_id)
        try:
            return call_in_batches(self._session, "Unsubscribe", "containsAllByRecipientList", ids, first=[list_id])
        except (RefusedError, UnknownFaultError):  # without the answer, more people are kept out of the list
            self.refuses_list_queries = True
            return None

    def count(self) -> int:
        """Return how many recipients have unsubscribed."""
        return int(self._session.call("Unsubscribe", "getCount"))


class Blacklist:
    """The mandator's blocklist (`Blacklist` in the API), with patterns and entries inherited from parents."""

    def __init__(self, session: Session):
        self._session = session

    def are_blacklisted(self, addresses: Texts) -> list[bool]:
        """Return for each address whether an entry or a pattern of the blocklist matches it."""
        return call_in_batches(self._session, "Blacklist", "areBlacklisted", addresses)

    def count(self) -> int:
        """Return the number of entries."""
        return int(self._session.call("Blacklist", "getCount"))
