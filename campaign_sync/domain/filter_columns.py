"""`domain.filter` applied to the columns of many rows."""

from functools import reduce
from typing import Any

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.compute as pc

from campaign_sync.domain.arrow_text import match_texts, to_arrow
from campaign_sync.domain.filter import AllOf, AnyOf, Comparison, Condition, NotOf, filter_fields, rule_of
from campaign_sync.domain.text import NOT_UTF8
from campaign_sync.domain.text_columns import has_not_utf8

_Mask = np.ndarray[Any, np.dtype[np.bool_]]

UNREADABLE = "@unreadable"
"""The column that `matching_rows` adds. No column of a CRM can have this name."""


def matching_rows(condition: Condition, rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that fulfil a condition, and those that might if a text in them were UTF-8.

    Args:
        condition: what the rows are compared with.
        rows: columns of text; all fields of the condition are among them.

    Returns:
        The rows with a further column `UNREADABLE`, which is true for the latter: they are in doubt, so they must
        neither be sent nor forgotten.
    """
    outcome = _evaluate(condition, rows)
    matching = pc.fill_null(outcome, False).to_numpy(zero_copy_only=False)
    unreadable = outcome.is_null().to_numpy(zero_copy_only=False)
    if unreadable.any():
        marked = [match_texts(rows[field], NOT_UTF8, has_not_utf8) for field in sorted(filter_fields(condition))]
        unreadable &= np.any(marked, axis=0)
    kept: _Mask = matching | unreadable
    return rows[kept].assign(**{UNREADABLE: unreadable[kept]}).reset_index(drop=True)


def _evaluate(condition: Condition, rows: pd.DataFrame) -> pyarrow.BooleanArray:
    """Return per row whether the condition holds, in the three-valued logic of Kleene, which is that of SQL."""
    match condition:
        case Comparison():
            texts = _column(rows, condition.field).dictionary_encode(null_encoding="encode")
            rule = rule_of(condition)
            outcomes = pyarrow.array([rule(text) for text in texts.dictionary.to_pylist()], pyarrow.bool_())
            return outcomes.take(texts.indices)
        case NotOf():
            return pc.invert(_evaluate(condition.condition, rows))
        case AllOf():
            return reduce(pc.and_kleene, (_evaluate(inner, rows) for inner in condition.conditions))
        case AnyOf():
            return reduce(pc.or_kleene, (_evaluate(inner, rows) for inner in condition.conditions))


def _column(rows: pd.DataFrame, field: str) -> pyarrow.Array:
    return to_arrow(rows[field]).combine_chunks()
