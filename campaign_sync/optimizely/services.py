"""One typed class per web service, with the operations the product uses and no others."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from campaign_sync.optimizely.faults import TransientError, UnsendableError
from campaign_sync.optimizely.session import Session

MAX_ROWS = 1000
"""The most rows that one call carries, in either direction."""

_NO_OPT_IN_PROCESS = 0
_NO_FILTER = 0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class RecipientLists:
    """The mandator's recipient lists and what they are made of."""

    def __init__(self, session: Session):
        self._session = session

    def all_ids(self) -> frozenset[int]:
        """The ids of all lists of the mandator, asked anew at each call."""
        return self._session.own_lists(fresh=True)

    def name(self, list_id: int) -> str:
        """The list's name, as people see it in Campaign."""
        self._session.require_own(list_id)
        return str(self._session.call("RecipientList", "getName", list_id) or "")

    def attribute_names(self, list_id: int, locale: str = "en") -> tuple[str, ...]:
        """The list's attributes: its own ones first, then the system's read-only ones, whose names `locale` decides."""
        self._session.require_own(list_id)
        return tuple(self._session.call("RecipientList", "getAttributeNames", list_id, locale))

    def is_test_list(self, list_id: int) -> bool:
        """Whether the list is for test mailings only."""
        self._session.require_own(list_id)
        return bool(self._session.call("RecipientList", "isTestRecipientList", list_id))


@dataclass(frozen=True)
class Batch:
    """Recipients of one list, written as they go over the wire, but for the session id."""

    list_id: int
    rows: int
    xml: bytes = field(repr=False)


class Recipients:
    """The recipients in a list. Every operation first makes sure that the list is the mandator's."""

    def __init__(self, session: Session):
        self._session = session

    def prepare(
        self,
        list_id: int,
        ids: Sequence[str],
        addresses: Sequence[str],
        attribute_names: Sequence[str],
        rows: Sequence[Sequence[str]],
    ) -> Batch:
        """Write a batch for `add_all`. Nothing is sent.

        Args:
            list_id: the recipient list.
            ids: one recipient id per row.
            addresses: one e-mail address per row.
            attribute_names: the names of the columns of `rows`.
            rows: one row per recipient, each as long as `attribute_names`.

        Raises:
            UnsendableError: more than `MAX_ROWS` rows, ragged ones, or characters that XML can't carry.
        """
        if not len(ids) == len(addresses) == len(rows):
            raise UnsendableError(f"{len(ids)} ids, {len(addresses)} addresses and {len(rows)} rows don't match.")
        if len(ids) > MAX_ROWS:
            raise UnsendableError(f"a batch of {len(ids)} rows is too large; the vendor takes at most {MAX_ROWS}.")
        if not ids:
            return Batch(list_id, 0, b"")
        if len(rows[0]) != len(attribute_names):
            raise UnsendableError(f"row 0 has {len(rows[0])} values for {len(attribute_names)} attributes.")
        contract = self._session.contract("Recipient")
        arguments = (list_id, _NO_OPT_IN_PROCESS, ids, addresses, attribute_names, rows)
        return Batch(list_id, len(ids), contract.tail(contract.operation("addAll3"), arguments))

    def add_all(self, list_id: int, batch: Batch) -> list[int]:
        """Add a batch, without an opt-in process. Never repeated by itself once it may have arrived.

        Returns:
            The vendor's code for each row, in their order; `domain.rejection` knows their meaning.

        Raises:
            TransientError: the call or its answer was lost. With `outcome_unknown`, any of the rows may be in the list.
            ForeignListError: the list isn't the mandator's.
        """
        if batch.list_id != list_id:
            raise UnsendableError(f"a batch written for recipient list {batch.list_id} can't go to list {list_id}.")
        self._session.require_own(list_id)
        if not batch.rows:
            return []
        contract = self._session.contract("Recipient")
        operation = contract.operation("addAll3")
        codes: list[int] = self._session.send(
            "Recipient",
            "addAll3",
            lambda session_id: contract.request_with_tail(operation, session_id, batch.xml),
            repeatable=False,
        )
        _expect_one_each(codes, batch.rows, "addAll3")
        return codes

    def clear(self, list_id: int) -> None:
        """Remove all recipients of the list. It can't be undone."""
        self._session.require_own(list_id)
        self._session.call("Recipient", "clear", list_id)

    def count(self, list_id: int) -> int:
        """How many recipients the list holds, whatever their state."""
        self._session.require_own(list_id)
        return int(self._session.call("Recipient", "getCount", list_id, _NO_FILTER))

    def contains(self, list_id: int, recipient_id: str) -> bool:
        """Whether the list holds this recipient."""
        self._session.require_own(list_id)
        return bool(self._session.call("Recipient", "contains", list_id, recipient_id))

    def page(
        self, list_id: int, attribute_names: Sequence[str], order_by: str | None, start: int, size: int
    ) -> list[list[str | None]]:
        """Part of the list, in ascending order of an attribute, or in the vendor's own order.

        `start` is what the vendor calls `pageStart`: the position of the first row, from 0. Its documents leave open
        whether a page number could be meant; one call from 0 with the list's count as `size` reads the same either way.

        Returns:
            Rows of values in the order of `attribute_names`, with None for a value that isn't set.
        """
        self._session.require_own(list_id)
        arguments = (list_id, list(attribute_names), _NO_FILTER, order_by, True, start, size)
        return _rows(self._session.call("Recipient", "getAllAdvanced", *arguments))

    def remove_unsubscribed(self, list_id: int) -> int:
        """Remove those who have unsubscribed; how many there were. Not repeated after a lost answer: it would say 0."""
        return self._sweep("removeUnsubscribed", list_id)

    def remove_bounced(self, list_id: int) -> int:
        """Remove those who bounce; how many there were. Not repeated after a lost answer: it would say 0."""
        return self._sweep("removeBounced", list_id)

    def remove_blacklisted(self, list_id: int) -> int:
        """Remove those who are blocklisted; how many there were. Not repeated after a lost answer: it would say 0."""
        return self._sweep("removeBlacklisted", list_id)

    def _sweep(self, operation: str, list_id: int) -> int:
        self._session.require_own(list_id)
        return int(self._session.call("Recipient", operation, list_id, repeatable=False))


class Unsubscribes:
    """Who has unsubscribed from this mandator.

    The vendor can also take people off this list, and would then write to them again. There is no way to do that here,
    on purpose.
    """

    def __init__(self, session: Session):
        self._session = session

    def contains_all(self, ids: Sequence[str]) -> list[bool]:
        """For each recipient id, whether it has unsubscribed."""
        return _asked_in_chunks(self._session, "Unsubscribe", "containsAll", ids)

    def count(self) -> int:
        """How many have unsubscribed."""
        return int(self._session.call("Unsubscribe", "getCount"))


class Blacklist:
    """The mandator's blocklist (the API's older word for it), patterns and entries inherited from parents included."""

    def __init__(self, session: Session):
        self._session = session

    def are_blacklisted(self, addresses: Sequence[str]) -> list[bool]:
        """For each address, whether an entry or a pattern of the blocklist matches it."""
        return _asked_in_chunks(self._session, "Blacklist", "areBlacklisted", addresses)

    def count(self) -> int:
        """How many entries the blocklist has."""
        return int(self._session.call("Blacklist", "getCount"))


class Reader(StrEnum):
    """What the closed-loop interface can be asked for; each is the name of its operation."""

    OUT_BOUNCES = "getOutBounces"
    UNSUBSCRIBES = "getUnsubscribes"
    MAILING_UNSUBSCRIBES = "getMailingUnsubscribes"
    RESPONSES = "getResponses"
    OPENS = "getOpens"
    CLICKS = "getClicks"
    LINKS = "getLinks"
    MAILINGS = "getMailings"
    RECIPIENTS = "getRecipients"


class ClosedLoop:
    """What has happened to mailings, as the vendor's export files hold it."""

    def __init__(self, session: Session):
        self._session = session

    def current_time(self) -> datetime:
        """The vendor's clock, in UTC: the one that `since` and `until` are about."""
        return _EPOCH + int(self._session.call("ClosedLoop", "getCurrentTime")) * _MILLISECOND

    def read(self, reader: Reader, since: datetime, until: datetime, start: int, size: int) -> list[list[str | None]]:
        """Rows of the export files that were written between `since` and `until`, both with a time zone.

        The time is the file's, not the event's. Columns and header are between vendor and customer.

        Args:
            reader: what to read.
            since: the window's beginning.
            until: the window's end.
            start: the position of the first row in the window, from 0.
            size: the most rows to return, at most `MAX_ROWS`. Fewer mean that the window ends there.
        """
        arguments = ((since - _EPOCH) // _MILLISECOND, (until - _EPOCH) // _MILLISECOND, start, size)
        return _rows(self._session.call("ClosedLoop", reader.value, *arguments))


def _asked_in_chunks(session: Session, service: str, operation: str, texts: Sequence[str]) -> list[bool]:
    answers: list[bool] = []
    for chunk in _chunks(texts):
        found = session.call(service, operation, chunk)
        _expect_one_each(found, len(chunk), operation)
        answers += found
    return answers


def _chunks(texts: Sequence[str]) -> Iterator[list[str]]:
    for start in range(0, len(texts), MAX_ROWS):
        yield list(texts[start : start + MAX_ROWS])


def _expect_one_each(answers: Sequence[object], rows: int, operation: str) -> None:
    if len(answers) != rows or None in answers:
        raise TransientError(
            f"{operation} gave {len(answers)} answers for {rows} rows. Try again; if it stays, ask its support.",
            outcome_unknown=True,
        )


def _rows(answer: Sequence[list[str | None] | None]) -> list[list[str | None]]:
    return [row or [] for row in answer]
