"""What is different between the rows that a list holds and those that it is to hold."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from campaign_sync.domain.checks import LIST_PREFIX
from campaign_sync.domain.recipient import ADDRESS, RECIPIENT_ID

NO_RECORD = ":"
"""The key of a row that names no record of the CRM, since others than us filled it in."""


@dataclass(frozen=True)
class RowChanges:
    """Who joins, leaves or changes. People are `entity_type:entity_id` keys."""

    joined: Sequence[str]
    left: Sequence[str]
    """Also `NO_RECORD`, as often as there are such rows."""
    changed: int
    changed_columns: Mapping[str, int]
    """How many people change, by the attribute or the address, the most frequent first."""


def compare_rows(
    now: pd.DataFrame, keys_now: "pd.Series[str]", planned: pd.DataFrame, keys_planned: "pd.Series[str]"
) -> RowChanges:
    """Compare the rows that differ; those that are equal on both sides may be left out.

    A row belongs to the row of the same record. One without such a row belongs to the row with the same recipient id,
    or the same address: the same recipient, filled in by others or for another record.

    Args:
        now: the rows that the list holds; any of `RECIPIENT_ID`, `ADDRESS` and the columns of attributes.
        keys_now: their `entity_type:entity_id`.
        planned: the rows that it is to hold, with at least the same columns.
        keys_planned: theirs.
    """
    columns = [str(column) for column in now if column in planned]
    before, after = (frame.reset_index(drop=True) for frame in (now, planned))
    pairs: dict[int, int] = {}
    _pair(pairs, [key if key != NO_RECORD else "" for key in keys_now], keys_planned.tolist())
    for column in (RECIPIENT_ID, ADDRESS):
        if column in columns:
            _pair(pairs, *(frame[column].fillna("").str.lower().tolist() for frame in (before, after)))
    matched = set(pairs.values())
    olds, news = before.iloc[list(pairs)], after.iloc[list(pairs.values())]
    counts = Counter[str]()
    is_changed = pd.Series(False, index=range(len(pairs)))
    for column in columns:
        differs = pd.Series(olds[column].fillna("").to_numpy() != news[column].fillna("").to_numpy())
        is_changed |= differs
        if differs.any() and not (column == RECIPIENT_ID and ADDRESS in columns):
            counts[_title(column)] = int(differs.sum())
    return RowChanges(
        joined=[key for position, key in enumerate(keys_planned) if position not in matched],
        left=[key for position, key in enumerate(keys_now) if position not in pairs],
        changed=int(is_changed.sum()),
        changed_columns=dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))),
    )


def _pair(pairs: dict[int, int], now: Sequence[str], planned: Sequence[str]) -> None:
    """Add the pairs of positions with the same text, of positions that have no partner yet."""
    taken = set(pairs.values())
    free = {text: position for position, text in reversed(list(enumerate(planned))) if text and position not in taken}
    for position, text in enumerate(now):
        if position not in pairs and text and (partner := free.pop(text, None)) is not None:
            pairs[position] = partner


def _title(column: str) -> str:
    return "recipient id" if column == RECIPIENT_ID else column.removeprefix(LIST_PREFIX)
