"""Whom the vendor doesn't write to: its unsubscribe list and its blocklist."""

from collections.abc import Sequence

from campaign_sync.optimizely.bulk_writing import Texts
from campaign_sync.optimizely.rows import asked_in_chunks, chunks
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

    def add_all(self, list_id: int, ids: Sequence[str]) -> None:
        """Put recipient ids on the unsubscribe list: all mail to them stops. Done twice, nothing changes.

        They stay in their recipient lists, and the vendor skips them when it sends.

        Args:
            list_id: for mandators whose support has set up one unsubscribe list per recipient list: which of them.
                For all others it means nothing. 0 stops the mail of all lists of any mandator, and is the safe choice.
            ids: whom.
        """
        if list_id != EVERY_LIST:
            self._session.require_own(list_id)
        for chunk in chunks(ids):
            self._session.call("Unsubscribe", "addAll", list_id, chunk)

    def contains_all(self, ids: Texts) -> list[bool]:
        """For each recipient id, whether it has unsubscribed."""
        return asked_in_chunks(self._session, "Unsubscribe", "containsAll", ids)

    def count(self) -> int:
        """How many have unsubscribed."""
        return int(self._session.call("Unsubscribe", "getCount"))


class Blacklist:
    """The mandator's blocklist (the API's older word for it), patterns and entries inherited from parents included."""

    def __init__(self, session: Session):
        self._session = session

    def are_blacklisted(self, addresses: Texts) -> list[bool]:
        """For each address, whether an entry or a pattern of the blocklist matches it."""
        return asked_in_chunks(self._session, "Blacklist", "areBlacklisted", addresses)

    def count(self) -> int:
        """How many entries the blocklist has."""
        return int(self._session.call("Blacklist", "getCount"))
