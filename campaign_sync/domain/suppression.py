"""Who may not be written to on one opt-in, and why."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import pandas as pd

from campaign_sync.domain.rejection import Reason

SUPPRESSION_COLUMNS = ("kind", "address", "entity_type", "entity_id", "opt_in_id", "since", "source")
"""Columns of a suppression frame.

`kind` is `bounce`, `unsubscribe` or `block`. A bounce and an entry of the blocklist name an address and nobody. An
unsubscribe names an entity, its opt-in and, where the entity has one, its address; or an address alone, where nobody
knows whose it is. `since` is `datetime64[us, UTC]`.
"""


def entity_keys(rows: pd.DataFrame) -> "pd.Series[str]":
    """`entity_type:entity_id` of every row; missing where one of them is."""
    return rows["entity_type"].astype("str") + ":" + rows["entity_id"].astype("str")


_FOR_EVER = pd.Timestamp("2262-01-01", tz="UTC")
"""In place of a moment that isn't known: no consent is newer."""


@dataclass(frozen=True)
class Suppressed:
    """A suppression frame, as it concerns one opt-in."""

    bounced: frozenset[str] = frozenset()
    """Addresses, for every opt-in."""
    blocked: frozenset[str] = frozenset()
    """Addresses that the mandator's blocklist matches."""
    left_at: Mapping[str, pd.Timestamp] = field(default_factory=dict)
    """By address, when somebody left whose consents the CRM can't tell: whoever has it and consented before, left."""
    withdrawn: frozenset[str] = frozenset()
    """Entity keys of those whose consent is withdrawn."""
    withdrawn_at: Mapping[str, pd.Timestamp] = field(default_factory=dict)
    """By address, the newest withdrawal of anybody who has it: who else has it and consented before, left as well."""

    @classmethod
    def of(cls, frame: pd.DataFrame, opt_in_id: str) -> Self:
        """What `frame` (columns `SUPPRESSION_COLUMNS`) says for `opt_in_id`."""
        bounces = frame[frame["kind"] == "bounce"]
        unsubscribes = frame[frame["kind"] == "unsubscribe"]
        nobodys = unsubscribes[unsubscribes["entity_id"].isna()]
        withdrawals = unsubscribes[unsubscribes["opt_in_id"] == opt_in_id]
        newest = withdrawals.groupby("address")["since"].max()
        newest_of_nobody = nobodys["since"].fillna(_FOR_EVER).groupby(nobodys["address"]).max()
        return cls(
            bounced=frozenset(bounces["address"].dropna()),
            blocked=frozenset(frame.loc[frame["kind"] == "block", "address"].dropna()),
            left_at={str(address): since for address, since in newest_of_nobody.items()},
            withdrawn=frozenset(entity_keys(withdrawals).dropna()),
            withdrawn_at={str(address): since for address, since in newest.items()},
        )

    def reasons(self, rows: pd.DataFrame, addresses: "pd.Series[str]") -> "pd.Series[str]":
        """Why each row may not be sent, as `Reason` values; missing where nothing stands against it.

        Args:
            rows: columns `entity_type`, `entity_id`, `consent_at`.
            addresses: their normalized addresses; missing where a row has none.
        """
        reason = pd.Series(pd.NA, index=rows.index, dtype="str")
        reason[addresses.isin(self.blocked)] = Reason.BLOCKLISTED.value
        reason[addresses.isin(self.bounced)] = Reason.BOUNCED.value
        reason[_not_newer(rows["consent_at"], addresses, self.withdrawn_at)] = Reason.CONSENT_WITHDRAWN.value
        reason[_not_newer(rows["consent_at"], addresses, self.left_at)] = Reason.UNSUBSCRIBED.value
        if self.withdrawn:
            reason[entity_keys(rows).isin(self.withdrawn)] = Reason.UNSUBSCRIBED.value
        return reason


def _not_newer(
    consent_at: "pd.Series[pd.Timestamp]", addresses: "pd.Series[str]", ended_at: Mapping[str, pd.Timestamp]
) -> "np.ndarray[Any, np.dtype[np.bool_]]":
    """Whose consent isn't newer than what ended the consents of their address."""
    found = np.flatnonzero(addresses.isin(ended_at))
    ended = pd.to_datetime(addresses.iloc[found].map(ended_at), utc=True)
    ended_in_time = (ended >= consent_at.iloc[found]).fillna(value=False).to_numpy()
    mask = np.zeros(len(addresses), dtype=np.bool_)
    mask[found[ended_in_time]] = True
    return mask
