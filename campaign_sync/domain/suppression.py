"""Who may not be written to on one opt-in, and why."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import pandas as pd

from campaign_sync.domain.columns import parts
from campaign_sync.domain.rejection import Reason

SUPPRESSION_COLUMNS = ("kind", "address", "entity_type", "entity_id", "opt_in_id", "since", "source")
"""Columns of a suppression frame.

`kind` is `bounce`, `unsubscribe`, `block` or `remembered`. A bounce and an entry of the blocklist name an address and
nobody. An unsubscribe names an entity, its opt-in and, where the entity has one, its address; or an address alone,
where nobody knows whose it is. What is remembered is a withdrawal that the CRM had and doesn't have any more: it names
whom the CRM shows as granted instead, and `since` when it was withdrawn. `since` is `datetime64[us, UTC]`.
"""

REMEMBERED = "remembered"


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
    remembered: frozenset[str] = frozenset()
    """Entity keys of those whose withdrawal has vanished from the CRM."""

    @classmethod
    def of(cls, frame: pd.DataFrame, opt_in_id: str) -> Self:
        """What `frame` (columns `SUPPRESSION_COLUMNS`) says for `opt_in_id`."""
        bounces = frame[frame["kind"] == "bounce"]
        unsubscribes = frame[frame["kind"] == "unsubscribe"]
        nobodys = unsubscribes[unsubscribes["entity_id"].isna()]
        withdrawals = unsubscribes[unsubscribes["opt_in_id"] == opt_in_id]
        remembered = frame[(frame["kind"] == REMEMBERED) & (frame["opt_in_id"] == opt_in_id)]
        newest = withdrawals.groupby("address")["since"].max()
        newest_of_nobody = nobodys["since"].fillna(_FOR_EVER).groupby(nobodys["address"]).max()
        return cls(
            bounced=frozenset(bounces["address"].dropna()),
            blocked=frozenset(frame.loc[frame["kind"] == "block", "address"].dropna()),
            left_at={str(address): since for address, since in newest_of_nobody.items()},
            withdrawn=frozenset(entity_keys(withdrawals).dropna()),
            withdrawn_at={str(address): since for address, since in newest.items()},
            remembered=frozenset(entity_keys(remembered).dropna()),
        )

    def reasons(self, rows: pd.DataFrame, addresses: "pd.Series[str]") -> "pd.Series[str]":
        """Why each row may not be sent, as `Reason` values; missing where nothing stands against it.

        Args:
            rows: columns `entity_type`, `entity_id`, `consent_at`.
            addresses: their normalized addresses; missing where a row has none.
        """
        reason = pd.Series(pd.NA, index=rows.index, dtype="str")
        if self.remembered:
            reason[_among(entity_keys(rows), self.remembered)] = Reason.WITHDRAWAL_VANISHED.value
        reason[_among(addresses, self.blocked)] = Reason.BLOCKLISTED.value
        reason[_among(addresses, self.bounced)] = Reason.BOUNCED.value
        reason[_not_newer(rows["consent_at"], addresses, self.withdrawn_at)] = Reason.CONSENT_WITHDRAWN.value
        reason[_not_newer(rows["consent_at"], addresses, self.left_at)] = Reason.UNSUBSCRIBED.value
        if self.withdrawn:
            reason[_among(entity_keys(rows), self.withdrawn)] = Reason.UNSUBSCRIBED.value
        return reason


_Mask = np.ndarray[Any, np.dtype[np.bool_]]


def _among(column: "pd.Series[str]", known: Collection[str]) -> _Mask:
    """Which texts are known. Takes no longer the more are known: a frame comes in many parts, what is known is one."""
    if not known:
        return np.zeros(len(column), dtype=np.bool_)
    found = [np.fromiter(map(known.__contains__, part.to_pylist()), np.bool_, len(part)) for part in parts(column)]
    return np.concatenate([np.zeros(0, dtype=np.bool_), *found])


def _not_newer(
    consent_at: "pd.Series[pd.Timestamp]", addresses: "pd.Series[str]", ended_at: Mapping[str, pd.Timestamp]
) -> _Mask:
    """Whose consent isn't newer than what ended the consents of their address."""
    mask = _among(addresses, ended_at)
    ended = pd.to_datetime([ended_at[address] for address in addresses[mask]], utc=True)
    mask[mask.copy()] = ended >= pd.DatetimeIndex(consent_at[mask])
    return mask
