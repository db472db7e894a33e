"""The services about recipient lists and the recipients in them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Self

import pyarrow as pa

from campaign_sync.domain.text import name_spellings, normalize_text
from campaign_sync.optimizely.array_encoder import Texts
from campaign_sync.optimizely.batching import MAX_ROWS, call_in_batches, require_answer_per_row
from campaign_sync.optimizely.errors import UnsendableError
from campaign_sync.optimizely.row_reader import RowList, SinkT
from campaign_sync.optimizely.session import Session
from campaign_sync.optimizely.soap_encoding import Columns

_NO_OPT_IN_PROCESS = 0
_NO_FILTER = 0


class RecipientLists:
    """The mandator's recipient lists: their names, attributes and kind."""

    def __init__(self, session: Session):
        self._session = session
        self._spellings: dict[int, dict[str, str]] = {}

    def all_ids(self) -> frozenset[int]:
        """Fetch the ids of all lists of the mandator."""
        return self._session.own_lists(fresh=True)

    def name(self, list_id: int) -> str:
        """Return the list's name as shown in Campaign."""
        self._session.check_list_ownership(list_id)
        return str(self._session.call("RecipientList", "getName", list_id) or "")

    def attribute_names(self, list_id: int, locale: str = "en") -> tuple[str, ...]:
        """Return the list's own attributes, then the system's read-only ones, named in `locale`."""
        self._session.check_list_ownership(list_id)
        names = tuple(self._session.call("RecipientList", "getAttributeNames", list_id, locale))
        self._spellings[list_id] = name_spellings(names)
        return names

    def as_spelled_by(self, list_id: int, names: Sequence[str]) -> list[str]:
        """Return attribute names as the list spells them, which may have outer blanks or decomposed letters.

        Unknown names stay as they are. The list's names are fetched once a session, and by every `attribute_names`.
        """
        if list_id not in self._spellings:
            self.attribute_names(list_id)
        return [self._spellings[list_id].get(normalize_text(name), name) for name in names]

    def is_test_list(self, list_id: int) -> bool:
        """Return whether the list is for test mailings only."""
        self._session.check_list_ownership(list_id)
        return bool(self._session.call("RecipientList", "isTestRecipientList", list_id))


_PACKING = pa.Codec("lz4_raw")
"""The batches of a list of a million take 400 MB, compressed 50 MB. Decompressing is faster than sending."""


@dataclass(frozen=True)
class Batch:
    """Recipients of one list, encoded for `addAll3` except for the session id, and compressed."""

    list_id: int
    rows: int
    digest: str
    """SHA-256 of the encoded recipients."""
    _size: int
    _packed: bytes = field(repr=False)

    @classmethod
    def of(cls, list_id: int, rows: int, xml: bytes) -> Self:
        """Compress encoded recipients."""
        return cls(list_id, rows, sha256(xml).hexdigest(), len(xml), _PACKING.compress(xml, asbytes=True))

    @property
    def xml(self) -> bytes:
        """The encoded recipients."""
        unpacked: bytes = _PACKING.decompress(self._packed, self._size, asbytes=True)
        return unpacked


class Recipients:
    """The recipients of a list. Every operation first checks that the list is the mandator's.

    Callers name attributes in composed Unicode without outer blanks, however the list spells them.
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
        """Encode a batch for `add_all`. Nothing is sent.

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
            counts = ", ".join(str(length) for length in sorted(lengths))
            raise UnsendableError(f"ids, addresses and attributes of {counts} rows don't match.")
        if len(ids) > MAX_ROWS:
            raise UnsendableError(f"a batch of {len(ids)} rows is too large; the vendor takes at most {MAX_ROWS}.")
        if len(ids) == 0:
            return Batch.of(list_id, 0, b"")
        if len(columns) != len(attribute_names):
            raise UnsendableError(f"{len(columns)} columns for {len(attribute_names)} attributes don't match.")
        definition = self._session.definition("Recipient")
        rows = Columns(columns, len(ids))
        names = self._lists.as_spelled_by(list_id, attribute_names)
        arguments = (list_id, _NO_OPT_IN_PROCESS, ids, addresses, names, rows)
        return Batch.of(list_id, len(ids), definition.tail(definition.operation("addAll3"), arguments))

    def add_all(self, list_id: int, batch: Batch) -> list[int]:
        """Add a batch, without an opt-in process. Not repeated automatically once it may have arrived.

        Returns:
            The vendor's code for each row, in their order; `domain.rejection` explains them.

        Raises:
            TransientError: the call or its answer was lost. With `outcome_unknown`, any of the rows may be in the list.
            ForeignListError: the list isn't the mandator's.
        """
        if batch.list_id != list_id:
            raise UnsendableError(f"a batch encoded for recipient list {batch.list_id} can't go to list {list_id}.")
        self._session.check_list_ownership(list_id)
        if not batch.rows:
            return []
        definition = self._session.definition("Recipient")
        operation = definition.operation("addAll3")
        codes: list[int] = self._session.send(
            "Recipient",
            "addAll3",
            lambda session_id: definition.request_with_tail(operation, session_id, batch.xml),
            repeatable=False,
            rows=batch.rows,
        )
        require_answer_per_row(codes, batch.rows, "addAll3")
        return codes

    def clear(self, list_id: int) -> None:
        """Remove all recipients of the list. It can't be undone, and isn't repeated automatically."""
        self._session.check_list_ownership(list_id)
        self._session.call("Recipient", "clear", list_id, repeatable=False)

    def count(self, list_id: int) -> int:
        """Return the number of recipients in the list, whatever their state."""
        self._session.check_list_ownership(list_id)
        return int(self._session.call("Recipient", "getCount", list_id, _NO_FILTER))

    def contains(self, list_id: int, recipient_id: str) -> bool:
        """Return whether the recipient is in the list."""
        self._session.check_list_ownership(list_id)
        return bool(self._session.call("Recipient", "contains", list_id, recipient_id))

    def page(
        self, list_id: int, attribute_names: Sequence[str], order_by: str | None, start: int, size: int
    ) -> list[list[str | None]]:
        """Return part of the list, in ascending order of an attribute, or in the vendor's own order.

        `start` is what the vendor calls `pageStart`: the position of the first row, from 0. Its documents leave open
        whether a page number could be meant; one call from 0 with the list's count as `size` reads the same either way.

        Returns:
            Rows of values in the order of `attribute_names`, with None for a value that isn't set.
        """
        return self.read(list_id, attribute_names, order_by, start, size, RowList).rows

    def read(
        self,
        list_id: int,
        attribute_names: Sequence[str],
        order_by: str | None,
        start: int,
        size: int,
        new_sink: Callable[[], SinkT],
    ) -> SinkT:
        """Read a page into a sink while it arrives. Each attempt gets a new sink; the last one is returned."""
        self._session.check_list_ownership(list_id)
        names = self._lists.as_spelled_by(list_id, attribute_names)
        order = order_by and self._lists.as_spelled_by(list_id, [order_by])[0]
        arguments = (list_id, names, _NO_FILTER, order, True, start, size)
        return self._session.read("Recipient", "getAllAdvanced", *arguments, rows_asked_for=size, new_sink=new_sink)

    def remove_all(self, list_id: int, ids: Sequence[str]) -> list[bool]:
        """Remove recipients from the list, which neither unsubscribes them nor ends an unsubscribe.

        Returns:
            For each id, whether it was in the list. The call is repeated if its answer is lost, and then returns False
            for those that the first call removed; afterwards none of `ids` is in the list in any case.
        """
        self._session.check_list_ownership(list_id)
        return call_in_batches(self._session, "Recipient", "removeAll", ids, first=[list_id])

    def set_attributes(
        self, list_id: int, recipient_id: str, attribute_names: Sequence[str], values: Sequence[str]
    ) -> None:
        """Overwrite some attributes of one recipient; the others keep their values.

        Raises:
            RefusedError: the list doesn't hold the recipient, or an attribute can't be written.
            UnsendableError: names and values don't match, or a value holds a character that XML can't carry.
        """
        if len(attribute_names) != len(values):
            raise UnsendableError(f"{len(values)} values for {len(attribute_names)} attributes don't match.")
        self._session.check_list_ownership(list_id)
        arguments = (list_id, recipient_id, self._lists.as_spelled_by(list_id, attribute_names), list(values))
        self._session.call("Recipient", "setAttributes", *arguments)

    def remove_unsubscribed(self, list_id: int) -> int:
        """Remove unsubscribed recipients and return their number. Not repeated: a second answer would be 0."""
        return self._sweep("removeUnsubscribed", list_id)

    def remove_bounced(self, list_id: int) -> int:
        """Remove bouncing recipients and return their number. Not repeated: a second answer would be 0."""
        return self._sweep("removeBounced", list_id)

    def remove_blacklisted(self, list_id: int) -> int:
        """Remove blocklisted recipients and return their number. Not repeated: a second answer would be 0."""
        return self._sweep("removeBlacklisted", list_id)

    def _sweep(self, operation: str, list_id: int) -> int:
        self._session.check_list_ownership(list_id)
        return int(self._session.call("Recipient", operation, list_id, repeatable=False))
