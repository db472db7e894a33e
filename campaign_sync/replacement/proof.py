"""The proof of a replace: what the vendor's list holds, compared with what it should hold."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from campaign_sync.domain.checks import ListSchema
from campaign_sync.domain.recipient import TechnicalField
from campaign_sync.domain.row_digests import KnownRows, RowDigests, fingerprint
from campaign_sync.replacement.read_back import ListContents
from campaign_sync.replacement.target import Target


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
    """Under which name recipient ids were compared; None where they couldn't be."""
    address_attribute: str | None = None
    """Under which name addresses were compared; None where they couldn't be."""

    @property
    def holds(self) -> bool:
        """Whether the list is exactly what it should be."""
        return self.equal == self.expected == self.in_list

    def __str__(self) -> str:
        parts = [f"{self.equal:,} equal"]
        parts += [f"{name} {count:,}" for name in ("missing", "extra", "changed") if (count := getattr(self, name))]
        names = {"recipient ids": self.id_attribute, "addresses": self.address_attribute}
        not_compared = " and ".join(what for what, name in names.items() if name is None)
        told = f"; {not_compared} were not compared, because the vendor's list doesn't give them out"
        return ", ".join(parts) + (told if not_compared and self.in_list else "")


def prove(target: Target, expected: pd.DataFrame, digests: RowDigests, held: ListContents) -> Proof:
    """Compare rows by their digests. Empty equals missing.

    Args:
        target: the list, with the names under which it gives out ids and addresses.
        expected: the rows that should be in the list, of which only the technical fields are looked at.
        digests: theirs, in the same order, by the columns that the list was read back by.
        held: the list; its `others` are all rows that aren't among those expected.
    """
    contract, names = target.contract, (target.id_attribute, target.address_attribute)
    in_list = fingerprint(held.digests)
    if len(digests) == len(held) and np.array_equal(np.sort(digests), np.sort(held.digests)):
        return Proof(len(digests), len(held), len(held), 0, 0, 0, in_list, frozenset(), *names)
    (ours, our_counts), (theirs, their_counts) = (
        np.unique(side, return_counts=True) for side in (digests, held.digests)
    )
    _, at_ours, at_theirs = np.intersect1d(ours, theirs, assume_unique=True, return_indices=True)
    equal = int(np.minimum(our_counts[at_ours], their_counts[at_theirs]).sum())
    our_people, others = people(expected, contract), people(held.others, contract)
    their_people = set(our_people[KnownRows(held.digests).have(digests)]) | set(others)
    missing_keys = frozenset(our_people[~our_people.isin(their_people)])
    extra = len(held) - len(their_people) + others[~others.isin(our_people)].nunique()
    return Proof(
        expected=len(digests),
        in_list=len(held),
        equal=equal,
        missing=len(missing_keys),
        extra=extra,
        changed=len(digests) - equal - len(missing_keys),
        digest=in_list,
        missing_keys=missing_keys,
        id_attribute=target.id_attribute,
        address_attribute=target.address_attribute,
    )


def people(frame: pd.DataFrame, contract: ListSchema) -> "pd.Series[str]":
    """`entity-type:entity-id` of each row, by the technical fields as they are sent."""
    entity_type, entity_id = (
        frame[contract.technical_column(field)].fillna("")
        for field in (TechnicalField.ENTITY_TYPE, TechnicalField.ENTITY_ID)
    )
    return entity_type + ":" + entity_id
