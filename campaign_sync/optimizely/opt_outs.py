"""Whom the vendor doesn't write to: its unsubscribe list and its blocklist."""

from collections.abc import Sequence

from campaign_sync.optimizely.array_encoder import Texts
from campaign_sync.optimizely.batching import call_in_batches, chunks
from campaign_sync.optimizely.errors import RefusedError, UnknownFaultError
from campaign_sync.optimizely.session import Session

EVERY_LIST = 0
"""In place of a list's id, it unsubscribes from everything that the mandator sends."""


class Unsubscribes:
    """Who has unsubscribed from this mandator.

    The vendor can also take people off this list, and would then write to them again. There is no way to do that here,
    on purpose.
    """

    def __init__(self, session: Session):
        self._session = session
        self.lists_are_closed = False
        """Whether the vendor has refused to say who has unsubscribed from a single recipient list."""

    def add_all(self, list_id: int, ids: Sequence[str]) -> None:
        """Put recipient ids on the unsubscribe list: all mail to them stops. Done twice, nothing changes.

        They stay in their recipient lists, and the vendor skips them when it sends.

        Args:
            list_id: for mandators whose support has set up one unsubscribe list per recipient list: which of them.
                For all others it means nothing. 0 stops the mail of all lists of any mandator, and is the safe choice.
            ids: whom.
        """
        if list_id != EVERY_LIST:
            self._session.check_list_ownership(list_id)
        for chunk in chunks(ids):
            self._session.call("Unsubscribe", "addAll", list_id, chunk)

    def contains_all(self, ids: Texts) -> list[bool]:
        """For each recipient id, whether it is on at least one unsubscribe list of the mandator."""
        return call_in_batches(self._session, "Unsubscribe", "containsAll", ids)

    def contains_all_of_list(self, list_id: int, ids: Texts) -> list[bool] | None:
        """For each recipient id, whether it is on the unsubscribe list of a recipient list.

        Where the mandator has one unsubscribe list only, the same as `contains_all` (vendor documentation of
        containsAllByRecipientList). Whether a list with its own also tells of those on the client's, isn't documented.

        Returns:
            None where this user may not ask that; then nothing is asked any more.
        """
        if self.lists_are_closed:
            return None
        self._session.check_list_ownership(list_id)
        try:
            return call_in_batches(self._session, "Unsubscribe", "containsAllByRecipientList", ids, first=[list_id])
        except (RefusedError, UnknownFaultError):  # to know less about lists keeps more people out of them
            self.lists_are_closed = True
            return None

    def count(self) -> int:
        """How many have unsubscribed."""
        return int(self._session.call("Unsubscribe", "getCount"))


class Blacklist:
    """The mandator's blocklist (the API's older word for it), patterns and entries inherited from parents included."""

    def __init__(self, session: Session):
        self._session = session

    def are_blacklisted(self, addresses: Texts) -> list[bool]:
        """For each address, whether an entry or a pattern of the blocklist matches it."""
        return call_in_batches(self._session, "Blacklist", "areBlacklisted", addresses)

    def count(self) -> int:
        """How many entries the blocklist has."""
        return int(self._session.call("Blacklist", "getCount"))
