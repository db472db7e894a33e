"""The proof of a replace: what the vendor's list holds, compared with what it should hold."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import pyarrow.compute as pc

from campaign_sync.domain.checks import Contract
from campaign_sync.domain.recipient import TechnicalField
from campaign_sync.domain.snapshot import canonical_rows, digest


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

    @property
    def holds(self) -> bool:
        """Whether the list is exactly what it should be."""
        return self.equal == self.expected == self.in_list

    def __str__(self) -> str:
        parts = [f"{self.equal:,} equal"]
        parts += [f"{name} {count:,}" for name in ("missing", "extra", "changed") if (count := getattr(self, name))]
        return ", ".join(parts)


def prove(expected: pd.DataFrame, read_back: pd.DataFrame, contract: Contract, columns: Sequence[str]) -> Proof:
    """Compare rows by `columns`, which both frames have: all that was sent, or more. Empty equals missing."""
    ours, theirs = (canonical_rows(frame, columns) for frame in (expected, read_back))
    in_list = digest(theirs)
    if ours.equals(theirs):
        return Proof(len(ours), len(theirs), len(ours), 0, 0, 0, in_list, frozenset())
    counts = pd.concat(
        [
            pd.Series(side.to_pandas()).value_counts().rename(name)
            for side, name in ((ours, "ours"), (theirs, "theirs"))
        ],
        axis="columns",
    ).fillna(0)
    equal = int(counts.min(axis="columns").sum())
    our_people, their_people = (_people(frame, contract) for frame in (expected, read_back))
    missing_keys = frozenset(our_people - their_people)
    extra = len(theirs) - len(their_people) + len(their_people - our_people)
    return Proof(
        expected=len(ours),
        in_list=len(theirs),
        equal=equal,
        missing=len(missing_keys),
        extra=extra,
        changed=len(ours) - equal - len(missing_keys),
        digest=in_list,
        missing_keys=missing_keys,
    )


def _people(frame: pd.DataFrame, contract: Contract) -> set[str]:
    columns = [contract.technical_column(field) for field in (TechnicalField.ENTITY_TYPE, TechnicalField.ENTITY_ID)]
    keys = canonical_rows(frame, columns)
    return set(pc.replace_substring(keys, "\x1f", ":").to_pylist())
