"""Suppressions: who must not be mailed on an opt-in, and why."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.compute as pc

from campaign_sync.domain.arrow_text import is_among, iter_chunks, text_column, to_arrow
from campaign_sync.domain.consent import UNDATED
from campaign_sync.domain.erasure import NO_ERASURES, Erased
from campaign_sync.domain.rejection import Reason

SUPPRESSION_COLUMNS = ("kind", "address", "entity_type", "entity_id", "opt_in_id", "since", "source")
"""Columns of a suppression frame.

`kind` is a `SuppressionKind`. `since` is `datetime64[us, UTC]`, missing if unknown: such a row applies for ever.
"""


class SuppressionKind(StrEnum):
    """The kinds of rows in a suppression frame, with the people that each names."""

    BOUNCE = "bounce"
    """Names an address."""
    UNSUBSCRIBE = "unsubscribe"
    """Names an entity, its opt-in and its address, if any; or an address that no entity in the CRM has, with the opt-in
    if it is known."""
    PENDING = "pending"
    """Names an address on the vendor's unsubscribe list whose opt-in isn't known yet."""
    UNCLEAR = "unclear"
    """A consent event that isn't understood. Names everybody it may concern, and no opt-in if it may concern all."""
    BLOCK = "block"
    """Names an address that the mandator's blocklist matches."""
    REMEMBERED = "remembered"
    """A withdrawal that the CRM had and has lost. Names the entity that the CRM shows as granted, and the time of the
    withdrawal."""
    REGRANTED = "regranted"
    """A withdrawal that the CRM had, and shows as a grant without a newer date by now. Names the same."""


_COLON = pyarrow.scalar(":", pyarrow.large_string())


def entity_keys(rows: pd.DataFrame) -> "pd.Series[str]":
    """Return `entity_type:entity_id` of every row; missing if either is."""
    entity_types, entity_ids = to_arrow(rows["entity_type"]), to_arrow(rows["entity_id"])
    return text_column(pc.binary_join_element_wise(entity_types, entity_ids, _COLON), rows.index)


_FOR_EVER = pd.Timestamp(UNDATED).as_unit("us")
"""In place of an unknown time: no consent is newer."""


@dataclass(frozen=True)
class Suppressed:
    """The suppressions that apply to one opt-in."""

    bounced: frozenset[str] = frozenset()
    """Addresses; they apply to every opt-in."""
    blocked: frozenset[str] = frozenset()
    """Addresses that the mandator's blocklist matches."""
    unsubscribed_at: Mapping[str, pd.Timestamp] = field(default_factory=dict)
    """The newest unsubscribe without a known entity, by address: it applies to everybody who consented before."""
    withdrawn: frozenset[str] = frozenset()
    """Entity keys of people whose consent is withdrawn."""
    withdrawn_at: Mapping[str, pd.Timestamp] = field(default_factory=dict)
    """The newest withdrawal by address: it applies to everybody with the address who consented before."""
    remembered: frozenset[str] = frozenset()
    """Entity keys of people whose withdrawal has vanished from the CRM."""
    regranted: frozenset[str] = frozenset()
    """Entity keys of people whose consent is granted again without a newer date."""
    pending_at: Mapping[str, pd.Timestamp] = field(default_factory=dict)
    """Since when an address is known to be on the vendor's unsubscribe list, by address; the opt-in isn't known yet."""
    unclear_at: Mapping[str, pd.Timestamp] = field(default_factory=dict)
    """The newest event that isn't understood, by entity key: it may be a withdrawal of all earlier consents."""
    unclear_address_at: Mapping[str, pd.Timestamp] = field(default_factory=dict)
    """The newest such event by address."""
    erased: Erased = NO_ERASURES
    """Everybody who was erased. Their tokens stand for them in all of these."""

    @classmethod
    def of(cls, frame: pd.DataFrame, opt_in_id: str, erased: Erased) -> Self:
        """Return the suppressions of a frame (columns `SUPPRESSION_COLUMNS`) that apply to an opt-in.

        Args:
            frame: with addresses and records, or with the tokens of those that were erased.
            opt_in_id: the opt-in.
            erased: everybody who was erased.
        """
        frame = erased.hide(frame)
        bounces = frame[frame["kind"] == SuppressionKind.BOUNCE]
        unsubscribes = frame[frame["kind"] == SuppressionKind.UNSUBSCRIBE]
        unsubscribes = unsubscribes[unsubscribes["opt_in_id"].isna() | (unsubscribes["opt_in_id"] == opt_in_id)]
        unmatched = unsubscribes[unsubscribes["entity_id"].isna()]
        remembered, regranted = (
            frame[(frame["kind"] == kind) & (frame["opt_in_id"] == opt_in_id)]
            for kind in (SuppressionKind.REMEMBERED, SuppressionKind.REGRANTED)
        )
        withdrawals = unsubscribes[unsubscribes["entity_id"].notna() & unsubscribes["opt_in_id"].notna()]
        pending = frame[frame["kind"] == SuppressionKind.PENDING]
        unclear = frame[frame["kind"] == SuppressionKind.UNCLEAR]
        unclear = unclear[unclear["opt_in_id"].isna() | (unclear["opt_in_id"] == opt_in_id)]
        return cls(
            bounced=frozenset(bounces["address"].dropna()),
            blocked=frozenset(frame.loc[frame["kind"] == SuppressionKind.BLOCK, "address"].dropna()),
            unsubscribed_at=_newest(unmatched, unmatched["address"]),
            withdrawn=frozenset(entity_keys(withdrawals).dropna()),
            withdrawn_at=_newest(withdrawals, withdrawals["address"]),
            remembered=frozenset(entity_keys(remembered).dropna()),
            regranted=frozenset(entity_keys(regranted).dropna()),
            pending_at=_newest(pending, pending["address"]),
            unclear_at=_newest(unclear, entity_keys(unclear)),
            unclear_address_at=_newest(unclear, unclear["address"]),
            erased=erased,
        )

    def reasons(
        self, rows: pd.DataFrame, addresses: "pd.Series[str]", is_granted: "pd.Series[bool] | None" = None
    ) -> "pd.Series[str]":
        """Return why each row must not be sent, as `Reason` values; missing if it may be sent.

        Args:
            rows: columns `entity_type`, `entity_id`, `consent_at`.
            addresses: the normalized addresses of the rows; missing if a row has none.
            is_granted: where `consent_at` is of a grant: only a grant ends an erasure; None for all.
        """
        keys, consent_at = self.erased.record_tokens(entity_keys(rows)), rows["consent_at"]
        addresses = self.erased.address_tokens(addresses)
        reason = pd.Series(pd.NA, index=rows.index, dtype="str")
        reason[among(keys, self.remembered)] = Reason.WITHDRAWAL_VANISHED.value
        reason[among(keys, self.regranted)] = Reason.UNDATED_REGRANT.value
        reason[among(addresses, self.blocked)] = Reason.BLOCKLISTED.value
        reason[among(addresses, self.bounced)] = Reason.BOUNCED.value
        reason[_not_newer(consent_at, addresses, self.pending_at)] = Reason.ON_UNSUBSCRIBE_LIST.value
        reason[_not_newer(consent_at, addresses, self.unclear_address_at)] = Reason.CONSENT_UNCLEAR.value
        reason[_not_newer(consent_at, keys, self.unclear_at, undated=True)] = Reason.CONSENT_UNCLEAR.value
        reason[_not_newer(consent_at, addresses, self.withdrawn_at)] = Reason.CONSENT_WITHDRAWN.value
        reason[_not_newer(consent_at, addresses, self.unsubscribed_at)] = Reason.UNSUBSCRIBED.value
        reason[among(keys, self.withdrawn)] = Reason.UNSUBSCRIBED.value
        granted_at = consent_at if is_granted is None else consent_at.where(is_granted)
        for subjects in (addresses, keys):
            reason[_not_newer(granted_at, subjects, self.erased.until, undated=True)] = Reason.ERASED.value
        return reason


Mask = np.ndarray[Any, np.dtype[np.bool_]]
"""Truth values of rows."""


def among(column: "pd.Series[str]", known: Collection[str]) -> Mask:
    """Return which texts are known. The time doesn't depend on how many are known, so frames can be passed in parts."""
    if not known:
        return np.zeros(len(column), dtype=np.bool_)
    if len(known) <= len(column):  # of more, Arrow would make its own set for each part
        mask: Mask = is_among(to_arrow(column), known).to_numpy()
        return mask
    masks = [
        np.fromiter(map(known.__contains__, chunk.to_pylist()), np.bool_, len(chunk)) for chunk in iter_chunks(column)
    ]
    return np.concatenate([np.zeros(0, dtype=np.bool_), *masks])


def _newest(rows: pd.DataFrame, by: "pd.Series[str]") -> dict[str, pd.Timestamp]:
    newest = rows["since"].fillna(_FOR_EVER).groupby(by).max()
    return {str(key): since for key, since in newest.items()}


def _not_newer(
    consent_at: "pd.Series[pd.Timestamp]",
    keys: "pd.Series[str]",
    ended_at: Mapping[str, pd.Timestamp],
    *,
    undated: bool = False,
) -> Mask:
    """Return which consents aren't newer than the time at which consents with the same key ended.

    With `undated`, consents without a time are among them.
    """
    mask = among(keys, ended_at)
    if not mask.any():
        return mask
    ended = pd.DatetimeIndex([ended_at[key] for key in keys[mask]], dtype="datetime64[us, UTC]")
    consented = pd.DatetimeIndex(pd.to_datetime(consent_at[mask], utc=True))
    mask[mask.copy()] = (ended >= consented) | (consented.isna() if undated else False)
    return mask
