"""`domain.address` applied to columns of many texts."""

import pandas as pd
import pyarrow.compute as pc

from campaign_sync.domain.address import usable_address
from campaign_sync.domain.arrow_text import map_texts

_LABEL = "[a-zA-Z0-9]+(?:-[a-zA-Z0-9]+)*"

_ATOM = r"[a-zA-Z0-9!#$%&'*+/=?^_`{|}~-]+"

_PLAIN = rf"\A{_ATOM}(?:\.{_ATOM})*@(?:{_LABEL}\.)+[a-zA-Z][a-zA-Z0-9]*(?:-[a-zA-Z0-9]+)*\z"
"""For Arrow: an address that `normalize_address` changes to lower case only, unless a part of it is too long."""

_PLAIN_LENGTH = 64
"""No part of an address of at most this length is too long."""


def usable_addresses(column: "pd.Series[str]") -> "pd.Series[str]":
    """Return `usable_address` of every text; missing where the text isn't an address."""
    return map_texts(
        column,
        vectorized=pc.ascii_lower,
        needs_rule=lambda raw: pc.or_(
            pc.greater(pc.binary_length(raw), _PLAIN_LENGTH), pc.invert(pc.match_substring_regex(raw, _PLAIN))
        ),
        rule=usable_address,
    )
