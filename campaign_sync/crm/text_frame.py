"""Rows of a database as frames of text."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from campaign_sync.crm.port import CrmError
from campaign_sync.domain.text import vendor_text


def text_frame(rows: Sequence[Sequence[Any]], names: Sequence[str], places: Sequence[str], time: str) -> pd.DataFrame:
    """A frame of text columns, and of one column of moments.

    Args:
        rows: values in the order of `names`.
        names: the frame's columns.
        places: per column, where in the CRM it comes from; for messages.
        time: the column of moments, which becomes `datetime64[us, UTC]`.

    Raises:
        CrmError: a value isn't UTF-8, or is of a kind that has no text form.
    """
    columns: list[Sequence[Any]] = list(zip(*rows, strict=True)) if rows else [()] * len(names)
    return pd.DataFrame(
        {
            name: pd.Series(pd.to_datetime(list(values), utc=True)).dt.as_unit("us")
            if name == time
            else pd.Series(_texts(values, where), dtype="str")
            for name, values, where in zip(names, columns, places, strict=True)
        }
    )


def _texts(values: Sequence[object], where: str) -> list[str | None]:
    try:
        return [value if value is None or type(value) is str else vendor_text(value) for value in values]
    except UnicodeDecodeError:
        bad = sum(isinstance(value, bytes) and not _is_utf8(value) for value in values)
        raise CrmError(
            f"{where} holds text that isn't UTF-8 (latin-1, perhaps) in {bad} of {len(values)} rows read; "
            "write those values to the CRM again as UTF-8"
        ) from None
    except TypeError as error:
        raise CrmError(f"{where}: {error}; give its text in a view") from None


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True
