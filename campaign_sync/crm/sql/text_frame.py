"""Rows of a database as data frames of text."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
import pyarrow as pa

from campaign_sync.crm.port import CrmError
from campaign_sync.crm.sql.arrow_columns import Column
from campaign_sync.domain.arrow_text import text_column
from campaign_sync.domain.instant_columns import Instants, parse_instants
from campaign_sync.domain.suppression import SUPPRESSION_COLUMNS
from campaign_sync.domain.text import decode_marked, vendor_text

_TEXT = {str, type(None)}

_KEYS = frozenset({*SUPPRESSION_COLUMNS, "entity_type", "entity_id", "consent_event_id", "consent_kind"})
"""Columns that identify a person, a consent or a withdrawal: an unreadable value raises an error."""


def text_frame(
    columns: Sequence[Column | Instants], names: Sequence[str], places: Sequence[str], time: str
) -> pd.DataFrame:
    """Return a frame of text columns, and of one column of moments.

    Args:
        columns: the values of each column, in the order of `names`.
        names: the frame's columns.
        places: per column, where in the CRM it comes from; for messages.
        time: the column of moments, which becomes `datetime64[us, UTC]`; missing where there is none.

    A value that isn't UTF-8 affects only its own row: unless it is a key, `NOT_UTF8` replaces what can't be read, and
    no row with it is sent.

    Raises:
        CrmError: a key isn't UTF-8.
        CrmError: a value is of a type that has no text form.
    """
    return pd.DataFrame(
        {
            name: pd.Series(pd.DatetimeIndex(parse_instants(values)).tz_localize("UTC"))
            if name == time
            else text_column(_texts(values, where, name in _KEYS))
            for name, values, where in zip(names, columns, places, strict=True)
        }
    )


def _texts(values: Any, where: str, is_key: bool) -> pa.Array:
    if isinstance(values, pa.Array):
        return values
    if set(map(type, values)) <= _TEXT:
        return pa.array(values, pa.large_string())
    try:
        texts = [
            vendor_text(value if is_key or not isinstance(value, bytes) else decode_marked(value)) for value in values
        ]
    except UnicodeDecodeError:
        bad = sum(isinstance(value, bytes) and not _is_utf8(value) for value in values)
        raise CrmError(
            f"{where} holds text that isn't UTF-8 (latin-1, perhaps) in {bad} of {len(values)} rows read; "
            "write those values to the CRM again as UTF-8"
        ) from None
    except TypeError as error:
        raise CrmError(f"{where}: {error}; give its text in a view") from None
    return pa.array(texts, pa.large_string())


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True
