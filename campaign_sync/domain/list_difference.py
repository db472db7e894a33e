"""The difference between two proven states of a list."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from campaign_sync.domain.checks import LIST_PREFIX
from campaign_sync.domain.recipient import ADDRESS
from campaign_sync.domain.suppression import entity_keys


@dataclass(frozen=True)
class ListDifference:
    """Who joined, left or changed between two states of a list. People are sorted `entity_type:entity_id` keys."""

    joined: tuple[str, ...]
    left: tuple[str, ...]
    changed: Mapping[str, tuple[str, ...]]
    """The columns that differ, by the people who are in both states."""

    @property
    def changed_columns(self) -> dict[str, int]:
        """The number of people who changed, by column, the largest first."""
        counts = Counter(column for columns in self.changed.values() for column in columns)
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def compare_lists(before: pd.DataFrame, after: pd.DataFrame) -> ListDifference:
    """Compare the rows of two snapshots, in which each entity occurs once.

    Only values that are sent count: the address and the list's attributes. Empty equals missing, as in the proof, so an
    attribute that only one side has counts if it isn't empty.
    """
    columns = [name for name in dict.fromkeys([*before, *after]) if name == ADDRESS or name.startswith(LIST_PREFIX)]
    old, new = _sent(before, columns), _sent(after, columns)
    common = old.index.intersection(new.index).sort_values()
    differs = old.loc[common] != new.loc[common]
    differs = differs[differs.any(axis="columns")]
    return ListDifference(
        joined=tuple(sorted(new.index.difference(old.index))),
        left=tuple(sorted(old.index.difference(new.index))),
        changed={
            key: tuple(name.removeprefix(LIST_PREFIX) for name, cell in zip(columns, cells, strict=True) if cell)
            for key, cells in zip(differs.index, differs.to_numpy(), strict=True)
        },
    )


def _sent(rows: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    return rows.set_index(entity_keys(rows)).reindex(columns=columns).astype("str").fillna("")
