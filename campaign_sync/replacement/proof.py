"""The proof of a replacement: what the vendor's list holds, compared with what it should hold."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from campaign_sync.domain.checks import ListSchema
from campaign_sync.domain.message import Message, and_joined, join_messages
from campaign_sync.domain.recipient import TechnicalField
from campaign_sync.domain.row_digests import KnownRows, RowDigests, fingerprint
from campaign_sync.replacement.read_back import ListContents
from campaign_sync.replacement.read_columns import ReadColumns


@dataclass(frozen=True)
class Proof:
    """The two sides compared as multisets of rows. A row is `changed` when only its person is found on both sides."""

    expected: int
    in_list: int
    equal: int
    missing: int
    extra: int
    changed: int
    digest: str
    """Of the list as read back."""
    missing_keys: frozenset[str]
    """`entity-type:entity-id` of everybody who isn't in the list and should be."""
    id_attribute: str | None = None
    """The name under which recipient ids were compared; None where they couldn't be."""
    address_attribute: str | None = None
    """The name under which addresses were compared; None where they couldn't be."""

    @property
    def holds(self) -> bool:
        """Whether the list is exactly what it should be."""
        return self.equal == self.expected == self.in_list

    @property
    def summary(self) -> Message:
        """How many rows are equal, and how the others differ."""
        counts = (
            (self.equal, True, Message("{rows:,} equal", rows=self.equal)),
            (self.missing, False, Message("missing {rows:,}", rows=self.missing)),
            (self.extra, False, Message("extra {rows:,}", rows=self.extra)),
            (self.changed, False, Message("changed {rows:,}", rows=self.changed)),
        )
        parts = [text for rows, always, text in counts if rows or always]
        columns = (
            (self.id_attribute, Message("recipient ids")),
            (self.address_attribute, Message("addresses")),
        )
        not_compared = [kind for name, kind in columns if name is None]
        summary = join_messages(", ", parts)
        if not not_compared or not self.in_list:
            return summary
        note = Message(
            "{columns} were not compared, because the vendor's list doesn't give them out",
            columns=and_joined(not_compared),
        )
        return join_messages("; ", [summary, note])

    def __str__(self) -> str:
        return str(self.summary)


def prove(columns: ReadColumns, expected: pd.DataFrame, digests: RowDigests, contents: ListContents) -> Proof:
    """Compare rows by their digests. Empty equals missing.

    Args:
        columns: those by which the list was read back.
        expected: the rows that should be in the list, of which only the technical fields are read.
        digests: theirs, in the same order, by `columns.snapshot_columns`.
        contents: the list; its `others` are all rows that aren't among those expected.
    """
    schema, names = columns.settings.schema, (columns.id_attribute, columns.address_attribute)
    in_list = fingerprint(contents.digests)
    if len(digests) == len(contents) and np.array_equal(np.sort(digests), np.sort(contents.digests)):
        return Proof(len(digests), len(contents), len(contents), 0, 0, 0, in_list, frozenset(), *names)
    (ours, our_counts), (theirs, their_counts) = (
        np.unique(side, return_counts=True) for side in (digests, contents.digests)
    )
    _, at_ours, at_theirs = np.intersect1d(ours, theirs, assume_unique=True, return_indices=True)
    equal = int(np.minimum(our_counts[at_ours], their_counts[at_theirs]).sum())
    our_people, others = people(expected, schema), people(contents.others, schema)
    their_people = set(our_people[KnownRows(contents.digests).contains(digests)]) | set(others)
    missing_keys = frozenset(our_people[~our_people.isin(their_people)])
    extra = len(contents) - len(their_people) + others[~others.isin(our_people)].nunique()
    changed = len(digests) - equal - len(missing_keys)
    counts = (len(digests), len(contents), equal, len(missing_keys), extra, changed)
    return Proof(*counts, in_list, missing_keys, *names)


def people(frame: pd.DataFrame, schema: ListSchema) -> "pd.Series[str]":
    """Return `entity-type:entity-id` of each row, by the technical fields as they are sent."""
    entity_type, entity_id = (
        frame[schema.technical_column(field)].fillna("")
        for field in (TechnicalField.ENTITY_TYPE, TechnicalField.ENTITY_ID)
    )
    return entity_type + ":" + entity_id
