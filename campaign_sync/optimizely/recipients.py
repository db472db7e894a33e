"""The recipient lists of a mandator, and the recipients in them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Self

import pyarrow as pa

from campaign_sync.domain.text import name_spellings, normalize_text
from campaign_sync.optimizely.array_encoder import Texts
from campaign_sync.optimizely.batching import MAX_ROWS, call_in_batches, expect_one_each
from campaign_sync.optimizely.errors import UnsendableError
from campaign_sync.optimizely.row_reader import Listed, SinkKind
from campaign_sync.optimizely.session import Session
from campaign_sync.optimizely.soap_encoding import Columns

_NO_OPT_IN_PROCESS = 0
_NO_FILTER = 0


class RecipientLists:
    """The mandator's recipient lists and what they are made of."""

    def __init__(self, session: Session):
        self._session = session
        self._spellings: dict[int, dict[str, str]] = {}

    def all_ids(self) -> frozenset[int]:
        """The ids of all lists of the mandator, asked anew at each call."""
        return self._session.own_lists(fresh=True)

    def name(self, list_id: int) -> str:
        """The list's name, as people see it in Campaign."""
        self._session.check_list_ownership(list_id)
        return str(self._session.call("RecipientList", "getName", list_id) or "")

    def attribute_names(self, list_id: int, locale: str = "en") -> tuple[str, ...]:
        """The list's attributes: its own ones first, then the system's read-only ones, whose names `locale` decides."""
        self._session.check_list_ownership(list_id)
        names = tuple(self._session.call("RecipientList", "getAttributeNames", list_id, locale))
        self._spellings[list_id] = name_spellings(names)
        return names

    def spelled(self, list_id: int, names: Sequence[str]) -> list[str]:
        """Attribute names as the list spells them, which may differ in blanks around them and in composed letters.

        What the list doesn't know stays as it is. The list is asked for its names once a session, and again whenever
        `attribute_names` is.
        """
        if list_id not in self._spellings:
            self.attribute_names(list_id)
        return [self._spellings[list_id].get(normalize_text(name), name) for name in names]

    def is_test_list(self, list_id: int) -> bool:
        """Whether the list is for test mailings only."""
        self._session.check_list_ownership(list_id)
        return bool(self._session.call("RecipientList", "isTestRecipientList", list_id))


_PACKING = pa.Codec("lz4_raw")
"""Batches of a list of a million would take 400 MB; packed, 50. Unpacking takes less than sending."""


@dataclass(frozen=True)
class Batch:
    """Recipients of one list, written as they go over the wire, but for the session id; packed until they do."""

    list_id: int
    rows: int
    digest: str
    """SHA-256 of what is written."""
    _size: int
    _packed: bytes = field(repr=False)

    @classmethod
    def of(cls, list_id: int, rows: int, xml: bytes) -> Self:
        """Pack what is written."""
        return cls(list_id, rows, sha256(xml).hexdigest(), len(xml), _PACKING.compress(xml, asbytes=True))

    @property
    def xml(self) -> bytes:
        """What is written, unpacked."""
        unpacked: bytes = _PACKING.decompress(self._packed, self._size, asbytes=True)
        return unpacked


class Recipients:
    """The recipients in a list. Every operation first makes sure that the list is the mandator's.

    Attributes are named in composed Unicode without outer blanks, however the list itself spells them.
    """

    def __init__(self, session: Session, lists: RecipientLists):
        self._session, self._lists = session, lists

    def prepare(
        self,
        list_id: int,
        ids: Texts,
        addresses: Texts,
        attribute_names: Sequence[str],
        columns: Sequence[Texts],
    ) -> Batch:
        """Write a batch for `add_all`. Nothing is sent.

        Args:
            list_id: the recipient list.
            ids: one recipient id per row.
            addresses: one e-mail address per row.
            attribute_names: one attribute per column.
            columns: one value per row each.

        Raises:
            UnsendableError: more than `MAX_ROWS` rows, columns that differ in length, or characters that XML can't
                carry.
        """
        lengths = {len(column) for column in (ids, addresses, *columns)}
        if len(lengths) != 1:
            told = ", ".join(str(length) for length in sorted(lengths))
            raise UnsendableError(f"ids, addresses and attributes of {told} rows don't match.")
        if len(ids) > MAX_ROWS:
            raise UnsendableError(f"a batch of {len(ids)} rows is too large; the vendor takes at most {MAX_ROWS}.")
        if len(ids) == 0:
            return Batch.of(list_id, 0, b"")
        if len(columns) != len(attribute_names):
            raise UnsendableError(f"{len(columns)} columns for {len(attribute_names)} attributes don't match.")
        contract = self._session.contract("Recipient")
        rows = Columns(columns, len(ids))
        names = self._lists.spelled(list_id, attribute_names)
        arguments = (list_id, _NO_OPT_IN_PROCESS, ids, addresses, names, rows)
        return Batch.of(list_id, len(ids), contract.tail(contract.operation("addAll3"), arguments))

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
        self._session.check_list_ownership(list_id)
        if not batch.rows:
            return []
        contract = self._session.contract("Recipient")
        operation = contract.operation("addAll3")
        codes: list[int] = self._session.send(
            "Recipient",
            "addAll3",
            lambda session_id: contract.request_with_tail(operation, session_id, batch.xml),
            repeatable=False,
            rows=batch.rows,
        )
        expect_one_each(codes, batch.rows, "addAll3")
        return codes

    def clear(self, list_id: int) -> None:
        """Remove all recipients of the list. It can't be undone, and is never repeated by itself."""
        self._session.check_list_ownership(list_id)
        self._session.call("Recipient", "clear", list_id, repeatable=False)

    def count(self, list_id: int) -> int:
        """How many recipients the list holds, whatever their state."""
        self._session.check_list_ownership(list_id)
        return int(self._session.call("Recipient", "getCount", list_id, _NO_FILTER))

    def contains(self, list_id: int, recipient_id: str) -> bool:
        """Whether the list holds this recipient."""
        self._session.check_list_ownership(list_id)
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
        return self.read(list_id, attribute_names, order_by, start, size, Listed).rows

    def read(
        self,
        list_id: int,
        attribute_names: Sequence[str],
        order_by: str | None,
        start: int,
        size: int,
        new_sink: Callable[[], SinkKind],
    ) -> SinkKind:
        """As `page`, but the rows go to a sink while they come in. Each attempt has a new one; the last is returned."""
        self._session.check_list_ownership(list_id)
        names = self._lists.spelled(list_id, attribute_names)
        order = order_by and self._lists.spelled(list_id, [order_by])[0]
        arguments = (list_id, names, _NO_FILTER, order, True, start, size)
        return self._session.read("Recipient", "getAllAdvanced", *arguments, rows_asked_for=size, new_sink=new_sink)

    def remove_all(self, list_id: int, ids: Sequence[str]) -> list[bool]:
        """Take recipients out of the list, which neither unsubscribes anybody nor makes them receive mail again.

        Returns:
            For each id, whether it was there. A lost answer is asked for again, and those whom the first call removed
            are False then: nobody of `ids` is in the list afterwards, whatever is returned.
        """
        self._session.check_list_ownership(list_id)
        return call_in_batches(self._session, "Recipient", "removeAll", ids, first=[list_id])

    def set_attributes(
        self, list_id: int, recipient_id: str, attribute_names: Sequence[str], values: Sequence[str]
    ) -> None:
        """Overwrite some attributes of one recipient; all others stay as they are.

        Raises:
            RefusedError: the list doesn't hold the recipient, or an attribute can't be written.
            UnsendableError: names and values don't match, or a value holds a character that XML can't carry.
        """
        if len(attribute_names) != len(values):
            raise UnsendableError(f"{len(values)} values for {len(attribute_names)} attributes don't match.")
        self._session.check_list_ownership(list_id)
        arguments = (list_id, recipient_id, self._lists.spelled(list_id, attribute_names), list(values))
        self._session.call("Recipient", "setAttributes", *arguments)

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
        self._session.check_list_ownership(list_id)
        return int(self._session.call("Recipient", operation, list_id, repeatable=False))
