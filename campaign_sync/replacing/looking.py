"""The last look: who has left or was blocked at the vendor by this very moment."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd
import pyarrow as pa

from campaign_sync.crm.port import Crm, CrmSnapshot
from campaign_sync.domain.address import usable_address
from campaign_sync.domain.recipient import ADDRESS, RECIPIENT_ID
from campaign_sync.domain.rejection import Reason
from campaign_sync.domain.row_digests import column_chunks
from campaign_sync.feedback.write_back import hear
from campaign_sync.optimizely.client import Optimizely
from campaign_sync.optimizely.services import MAX_ROWS
from campaign_sync.replacing.target import Target
from campaign_sync.replacing.together import together
from campaign_sync.state.feedback import LIVE_LOOK_SOURCE
from campaign_sync.state.frames import Frames
from campaign_sync.state.store import State

PEOPLE_COLUMNS = ["entity_type", "entity_id", RECIPIENT_ID, ADDRESS]
"""Who a row is about, and how the vendor is asked about them."""


def look(target: Target, vendor: Optimizely, rows: pd.DataFrame, on_rows: Callable[[int], None]) -> "pd.Series[str]":
    """Ask the vendor about every row, in bulk: why it wouldn't write to them, as `Reason` values; else missing.

    `on_rows` is told how many rows were asked about.
    """

    def ask(numbered: tuple[int, list[pa.Array]]) -> tuple[list[bool], list[bool]]:
        _, (ids, addresses) = numbered
        return vendor.unsubscribes.contains_all(ids), vendor.blacklist.are_blacklisted(addresses)

    left, blocked = np.zeros(len(rows), dtype=bool), np.zeros(len(rows), dtype=bool)
    chunks = enumerate(column_chunks(rows, [RECIPIENT_ID, ADDRESS], MAX_ROWS))
    for (number, _), (they_left, they_are_blocked) in together(target, vendor, ask, chunks):
        asked = slice(number * MAX_ROWS, number * MAX_ROWS + len(they_left))
        left[asked], blocked[asked] = they_left, they_are_blocked
        on_rows(len(they_left))
    reasons = pd.Series(pd.NA, index=rows.index, dtype="str")
    reasons[blocked] = Reason.BLOCKLISTED.value
    reasons[left] = Reason.UNSUBSCRIBED.value
    return reasons


@dataclass(frozen=True)
class Listeners:
    """Who has to hear of it when a look finds somebody: the CRM, and what the product remembers."""

    crm: Crm
    state: State
    frames: Frames

    def hear(self, target: Target, rows: pd.DataFrame, reasons: "pd.Series[str]", seen_at: datetime) -> None:
        """Withdraw the consents of those who left, as an imported unsubscribe would, and remember who is blocked.

        A blocklist entry is of an address or a pattern, so it touches no consent.
        """
        left = rows.loc[reasons == Reason.UNSUBSCRIBED.value, RECIPIENT_ID].tolist()
        asked = rows[RECIPIENT_ID].tolist()
        hear(target.mandator, asked, left, seen_at, LIVE_LOOK_SOURCE, self.crm, self.state, self.frames)
        blocked = rows.loc[reasons == Reason.BLOCKLISTED.value, ADDRESS]
        self.state.blocked.found(target.mandator, blocked.tolist(), LIVE_LOOK_SOURCE, seen_at)


def consenting_keys(crm: CrmSnapshot, opt_in_id: str) -> frozenset[str]:
    """`entity_type:entity_id address` of everybody whose consent is granted now, under their address of now."""
    return frozenset(
        f"{entity} {address}" for entity, email, _ in crm.consenting(opt_in_id) if (address := usable_address(email))
    )
