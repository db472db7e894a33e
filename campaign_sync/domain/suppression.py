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

`kind` is `bounce`, `unsubscribe`, `pending`, `block` or `remembered`. A bounce and an entry of the blocklist name an
address and nobody. An unsubscribe names an entity, its opt-in and, where the entity has one, its address; or an address
alone, where nobody knows whose it is, with the opt-in where that is known. `pending` is an address on the vendor's
unsubscribe list of which it isn't known yet what was unsubscribed. What is remembered is a withdrawal that the CRM had
and doesn't have any more: it names whom the CRM shows as granted instead, and `since` when it was withdrawn. `since` is
`datetime64[us, UTC]`.
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
    pending_at: Mapping[str, pd.Timestamp] = field(default_factory=dict)
    """By address, since when it is known to be on the vendor's unsubscribe list, for which opt-in isn't known yet."""

    @classmethod
    def of(cls, frame: pd.DataFrame, opt_in_id: str) -> Self:
        """What `frame` (columns `SUPPRESSION_COLUMNS`) says for `opt_in_id`."""
        bounces = frame[frame["kind"] == "bounce"]
        unsubscribes = frame[frame["kind"] == "unsubscribe"]
        unsubscribes = unsubscribes[unsubscribes["opt_in_id"].isna() | (unsubscribes["opt_in_id"] == opt_in_id)]
        nobodys = unsubscribes[unsubscribes["entity_id"].isna()]
        remembered = frame[(frame["kind"] == REMEMBERED) & (frame["opt_in_id"] == opt_in_id)]
        withdrawals = unsubscribes[unsubscribes["entity_id"].notna() & unsubscribes["opt_in_id"].notna()]
        pending = frame[frame["kind"] == "pending"]
        return cls(
            bounced=frozenset(bounces["address"].dropna()),
            blocked=frozenset(frame.loc[frame["kind"] == "block", "address"].dropna()),
            left_at=_newest_by_address(nobodys),
            withdrawn=frozenset(entity_keys(withdrawals).dropna()),
            remembered=frozenset(entity_keys(remembered).dropna()),
            withdrawn_at=_newest_by_address(withdrawals),
            pending_at=_newest_by_address(pending),
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
        reason[_not_newer(rows["consent_at"], addresses, self.pending_at)] = Reason.ON_UNSUBSCRIBE_LIST.value
        reason[_not_newer(rows["consent_at"], addresses, self.withdrawn_at)] = Reason.CONSENT_WITHDRAWN.value
        reason[_not_newer(rows["consent_at"], addresses, self.left_at)] = Reason.UNSUBSCRIBED.value
        if self.withdrawn:
            reason[_among(entity_keys(rows), self.withdrawn)] = Reason.UNSUBSCRIBED.value
        return reason


def _newest_by_address(rows: pd.DataFrame) -> dict[str, pd.Timestamp]:
    newest = rows["since"].fillna(_FOR_EVER).groupby(rows["address"]).max()
    return {str(address): since for address, since in newest.items()}


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
