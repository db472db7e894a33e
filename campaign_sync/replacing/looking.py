"""The last look: who has left or was blocked at the vendor by this very moment."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd
import pyarrow as pa

from campaign_sync.crm.port import Crm, CrmSnapshot
from campaign_sync.domain.address import usable_address
from campaign_sync.domain.checks import CheckOutcome
from campaign_sync.domain.entity import Entity, EntityType
from campaign_sync.domain.feedback import WrittenTo
from campaign_sync.domain.recipient import ADDRESS, RECIPIENT_ID
from campaign_sync.domain.rejection import Reason
from campaign_sync.domain.row_digests import column_chunks
from campaign_sync.feedback.list_opt_outs import withdraw_from_list
from campaign_sync.feedback.unsubscribe_lists import lists_left, on_unsubscribe_lists
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

    def ask(numbered: tuple[int, list[pa.Array]]) -> tuple[list[bool], list[bool], list[bool]]:
        _, (ids, addresses) = numbered
        if target.unsubscribe_lists == "per_list":
            left, elsewhere = on_unsubscribe_lists(vendor, target.recipient_list_id, ids)
        else:
            left = elsewhere = vendor.unsubscribes.contains_all(ids)
        return left, elsewhere, vendor.blacklist.are_blacklisted(addresses)

    left, elsewhere, blocked = (np.zeros(len(rows), dtype=bool) for _ in range(3))
    chunks = enumerate(column_chunks(rows, [RECIPIENT_ID, ADDRESS], MAX_ROWS))
    for (number, _), answers in together(target, vendor, ask, chunks):
        asked = slice(number * MAX_ROWS, number * MAX_ROWS + len(answers[0]))
        left[asked], elsewhere[asked], blocked[asked] = answers
        on_rows(len(answers[0]))
    reasons = pd.Series(pd.NA, index=rows.index, dtype="str")
    reasons[blocked] = Reason.BLOCKLISTED.value
    reasons[left] = Reason.UNSUBSCRIBED.value
    elsewhere &= ~left
    if elsewhere.any():
        reasons[elsewhere] = _elsewhere(target, vendor, rows.loc[elsewhere, RECIPIENT_ID], reasons[elsewhere])
    return reasons


def _elsewhere(
    target: Target, vendor: Optimizely, ids: "pd.Series[str]", reasons: "pd.Series[str]"
) -> "pd.Series[str]":
    """Of those on an unsubscribe list that isn't this list's own: the list's, if it is by now; the client's, if none's.

    Who left other lists only is written to.
    """
    lists = lists_left(vendor, ids.tolist())
    reasons = reasons.mask(ids.map(lambda each: not lists[each]), Reason.ON_UNSUBSCRIBE_LIST.value)
    return reasons.mask(ids.map(lambda each: target.recipient_list_id in lists[each]), Reason.UNSUBSCRIBED.value)


UNSUBSCRIBE_LISTS = "unsubscribe_lists"
"""What the gate calls how far unsubscribe lists of single recipient lists can be seen."""


def unsubscribe_lists(target: Target, vendor: Optimizely, reasons: "pd.Series[str]") -> list[CheckOutcome]:
    """What should be known of a look at a list that has an unsubscribe list of its own; nothing for all others.

    `reasons` are what the look has found.
    """
    if target.unsubscribe_lists == "client":
        return []
    kept_out = int((reasons == Reason.ON_UNSUBSCRIBE_LIST.value).sum())
    if not vendor.unsubscribes.lists_are_closed:
        found = f"kept out, being on an unsubscribe list that is no recipient list's own: {kept_out}"
        return [CheckOutcome(UNSUBSCRIBE_LISTS, True, found)]
    return [
        CheckOutcome(
            UNSUBSCRIBE_LISTS,
            False,
            "the vendor doesn't say who has left this recipient list, so everybody on any unsubscribe list is kept out "
            f"(here {kept_out}); have its support allow the user containsAllByRecipientList of UnsubscribeWebservice, "
            f"or set mandators.{target.mandator}.unsubscribe_lists to client",
            warning=True,
        )
    ]


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
        left = rows[reasons == Reason.UNSUBSCRIBED.value]
        asked, left_ids = rows[RECIPIENT_ID].tolist(), left[RECIPIENT_ID].tolist()
        if target.unsubscribe_lists == "per_list":
            # Of who is on another list nobody may have said whether they are on this list's own.
            asked = rows.loc[reasons.ne(Reason.ON_UNSUBSCRIBE_LIST.value).fillna(value=True), RECIPIENT_ID].tolist()
            consents = dict(zip(left_ids, _consents(left, target.contract.opt_in_id), strict=True))
            list_id = target.recipient_list_id
            withdraw_from_list(
                target.mandator, list_id, asked, consents, seen_at, LIVE_LOOK_SOURCE, self.crm, self.state
            )
        else:
            hear(target.mandator, asked, left_ids, seen_at, LIVE_LOOK_SOURCE, self.crm, self.state, self.frames)
        blocked = rows.loc[reasons == Reason.BLOCKLISTED.value, ADDRESS]
        self.state.blocked.found(target.mandator, blocked.tolist(), LIVE_LOOK_SOURCE, seen_at)


def _consents(rows: pd.DataFrame, opt_in_id: str) -> Iterator[frozenset[WrittenTo]]:
    """Of every row, the one consent on which it is in the list."""
    for entity_type, entity_id in zip(rows["entity_type"], rows["entity_id"], strict=True):
        yield frozenset({WrittenTo(Entity(EntityType(entity_type), entity_id), opt_in_id)})


def consenting_keys(crm: CrmSnapshot, opt_in_id: str) -> frozenset[str]:
    """`entity_type:entity_id address` of everybody whose consent is granted now, under their address of now."""
    return frozenset(
        f"{entity} {address}" for entity, email in crm.consenting(opt_in_id) if (address := usable_address(email))
    )
