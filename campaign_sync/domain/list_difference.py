"""What changed in a list from one proof to another."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from campaign_sync.domain.checks import LIST_PREFIX
from campaign_sync.domain.recipient import ADDRESS
from campaign_sync.domain.suppression import entity_keys


@dataclass(frozen=True)
class ListDifference:
    """Two states of one list compared. People are named `entity_type:entity_id`, each group in order."""

    joined: tuple[str, ...]
    left: tuple[str, ...]
    changed: Mapping[str, tuple[str, ...]]
    """Who is in both, but not with the same values: the columns that differ."""

    @property
    def changed_columns(self) -> dict[str, int]:
        """How many people changed in each column, most first."""
        counts = Counter(column for columns in self.changed.values() for column in columns)
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def compare_lists(before: pd.DataFrame, after: pd.DataFrame) -> ListDifference:
    """What became of the rows of `before` in `after`; both are rows of snapshots, each entity once.

    Of the values those count that are sent: the address and the list's attributes. Empty equals missing, as in the
    proof, so an attribute that only one side has counts where it is filled.
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
