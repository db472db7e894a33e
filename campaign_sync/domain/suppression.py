"""Who may not be written to on one opt-in, and why."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

import numpy as np
import pandas as pd

from campaign_sync.domain.arrow_text import iter_chunks
from campaign_sync.domain.consent import UNDATED
from campaign_sync.domain.rejection import Reason

SUPPRESSION_COLUMNS = ("kind", "address", "entity_type", "entity_id", "opt_in_id", "since", "source")
"""Columns of a suppression frame.

`kind` is a `SuppressionKind`. `since` is `datetime64[us, UTC]`, missing where no time is known: such a row counts for
ever.
"""


class SuppressionKind(StrEnum):
    """Why a row of a suppression frame keeps people out of lists, and whom it names."""

    BOUNCE = "bounce"
    """Names an address and no entity."""
    UNSUBSCRIBE = "unsubscribe"
    """Names an entity, its opt-in and the entity's address, if it has one; or an address that the CRM can't match to
    an entity, with the opt-in where it is known."""
    PENDING = "pending"
    """An address on the vendor's unsubscribe list of which it isn't known yet what was unsubscribed."""
    UNCLEAR = "unclear"
    """A consent event that can't be understood. Names whom it may be about, and no opt-in if it may be about each."""
    BLOCK = "block"
    """Names an address that the mandator's blocklist matches, and no entity."""
    REMEMBERED = "remembered"
    """A withdrawal that the CRM had and has lost. Names the entity that the CRM shows as granted instead, and since
    when it was withdrawn."""


def entity_keys(rows: pd.DataFrame) -> "pd.Series[str]":
    """`entity_type:entity_id` of every row; missing where one of them is."""
    return rows["entity_type"].astype("str") + ":" + rows["entity_id"].astype("str")


_FOR_EVER = pd.Timestamp(UNDATED).as_unit("us")
"""In place of a moment that isn't known: no consent is newer."""


@dataclass(frozen=True)
class Suppressed:
    """A suppression frame, as it concerns one opt-in."""

    bounced: frozenset[str] = frozenset()
    """Addresses, for every opt-in."""
    blocked: frozenset[str] = frozenset()
    """Addresses that the mandator's blocklist matches."""
    unsubscribed_at: Mapping[str, pd.Timestamp] = field(default_factory=dict)
    """By address, when somebody left whose consents the CRM can't tell: whoever has it and consented before, left."""
    withdrawn: frozenset[str] = frozenset()
    """Entity keys of those whose consent is withdrawn."""
    withdrawn_at: Mapping[str, pd.Timestamp] = field(default_factory=dict)
    """By address, the newest withdrawal of anybody who has it: who else has it and consented before, left as well."""
    remembered: frozenset[str] = frozenset()
    """Entity keys of those whose withdrawal has vanished from the CRM."""
    pending_at: Mapping[str, pd.Timestamp] = field(default_factory=dict)
    """By address, since when it is known to be on the vendor's unsubscribe list, for which opt-in isn't known yet."""
    unclear_at: Mapping[str, pd.Timestamp] = field(default_factory=dict)
    """By entity key, the newest event that can't be understood: it may be a withdrawal of every consent before."""
    unclear_address_at: Mapping[str, pd.Timestamp] = field(default_factory=dict)
    """By address, the newest such event of anybody who has it."""

    @classmethod
    def of(cls, frame: pd.DataFrame, opt_in_id: str) -> Self:
        """What `frame` (columns `SUPPRESSION_COLUMNS`) says for `opt_in_id`."""
        bounces = frame[frame["kind"] == SuppressionKind.BOUNCE]
        unsubscribes = frame[frame["kind"] == SuppressionKind.UNSUBSCRIBE]
        unsubscribes = unsubscribes[unsubscribes["opt_in_id"].isna() | (unsubscribes["opt_in_id"] == opt_in_id)]
        nobodys = unsubscribes[unsubscribes["entity_id"].isna()]
        remembered = frame[(frame["kind"] == SuppressionKind.REMEMBERED) & (frame["opt_in_id"] == opt_in_id)]
        withdrawals = unsubscribes[unsubscribes["entity_id"].notna() & unsubscribes["opt_in_id"].notna()]
        pending = frame[frame["kind"] == SuppressionKind.PENDING]
        unclear = frame[frame["kind"] == SuppressionKind.UNCLEAR]
        unclear = unclear[unclear["opt_in_id"].isna() | (unclear["opt_in_id"] == opt_in_id)]
        return cls(
            bounced=frozenset(bounces["address"].dropna()),
            blocked=frozenset(frame.loc[frame["kind"] == SuppressionKind.BLOCK, "address"].dropna()),
            unsubscribed_at=_newest(nobodys, nobodys["address"]),
            withdrawn=frozenset(entity_keys(withdrawals).dropna()),
            withdrawn_at=_newest(withdrawals, withdrawals["address"]),
            remembered=frozenset(entity_keys(remembered).dropna()),
            pending_at=_newest(pending, pending["address"]),
            unclear_at=_newest(unclear, entity_keys(unclear)),
            unclear_address_at=_newest(unclear, unclear["address"]),
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
        reason[_not_newer(rows["consent_at"], addresses, self.unclear_address_at)] = Reason.CONSENT_UNCLEAR.value
        if self.unclear_at:
            keys, without = entity_keys(rows), rows["consent_at"].isna().to_numpy()
            unclear = _not_newer(rows["consent_at"], keys, self.unclear_at) | (_among(keys, self.unclear_at) & without)
            reason[unclear] = Reason.CONSENT_UNCLEAR.value
        reason[_not_newer(rows["consent_at"], addresses, self.withdrawn_at)] = Reason.CONSENT_WITHDRAWN.value
        reason[_not_newer(rows["consent_at"], addresses, self.unsubscribed_at)] = Reason.UNSUBSCRIBED.value
        if self.withdrawn:
            reason[_among(entity_keys(rows), self.withdrawn)] = Reason.UNSUBSCRIBED.value
        return reason


_Mask = np.ndarray[Any, np.dtype[np.bool_]]


def _among(column: "pd.Series[str]", known: Collection[str]) -> _Mask:
    """Which texts are known. Takes no longer the more are known: a frame comes in many parts, what is known is one."""
    if not known:
        return np.zeros(len(column), dtype=np.bool_)
    found = [
        np.fromiter(map(known.__contains__, part.to_pylist()), np.bool_, len(part)) for part in iter_chunks(column)
    ]
    return np.concatenate([np.zeros(0, dtype=np.bool_), *found])


def _newest(rows: pd.DataFrame, by: "pd.Series[str]") -> dict[str, pd.Timestamp]:
    newest = rows["since"].fillna(_FOR_EVER).groupby(by).max()
    return {str(key): since for key, since in newest.items()}


def _not_newer(
    consent_at: "pd.Series[pd.Timestamp]", keys: "pd.Series[str]", ended_at: Mapping[str, pd.Timestamp]
) -> _Mask:
    """Whose consent isn't newer than what ended the consents of their address, or theirs."""
    mask = _among(keys, ended_at)
    ended = pd.DatetimeIndex([ended_at[key] for key in keys[mask]], dtype="datetime64[us, UTC]")
    mask[mask.copy()] = ended >= pd.DatetimeIndex(consent_at[mask])
    return mask
