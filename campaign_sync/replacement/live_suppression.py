"""Who may not be written to at this very moment: as the vendor says, and as the CRM says."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd
import pyarrow as pa

from campaign_sync.crm.port import Crm, CrmSnapshot
from campaign_sync.domain.address import usable_address
from campaign_sync.domain.arrow_text import iter_chunks
from campaign_sync.domain.checks import CheckOutcome
from campaign_sync.domain.entity import Entity, EntityType
from campaign_sync.domain.feedback import ConsentRef
from campaign_sync.domain.message import Message
from campaign_sync.domain.recipient import ADDRESS, RECIPIENT_ID
from campaign_sync.domain.rejection import Reason
from campaign_sync.domain.row_digests import KnownRows, RowDigests, column_chunks, digests_of, row_digests
from campaign_sync.domain.suppression import Suppressed, among, entity_keys
from campaign_sync.domain.vendor_sources import LIVE_LIST_SOURCE
from campaign_sync.feedback.current_suppression import current_suppression
from campaign_sync.feedback.unsubscribe_lists import lists_left, unsubscribed_flags
from campaign_sync.feedback.vendor_opt_outs import VendorOptOuts
from campaign_sync.feedback.withdrawal_history import (
    ConsentingPeople,
    WithdrawalComparison,
    WithdrawalHistory,
    concat_suppressions,
    consenting_people,
)
from campaign_sync.optimizely.client import Optimizely
from campaign_sync.optimizely.services import MAX_ROWS
from campaign_sync.replacement.list_settings import ListSettings
from campaign_sync.replacement.parallel import in_parallel
from campaign_sync.storage.files import FileStorage
from campaign_sync.storage.locks import PATIENCE, LockScope
from campaign_sync.storage.state import State

PEOPLE_COLUMNS = ["entity_type", "entity_id", RECIPIENT_ID, ADDRESS]
"""The person of a row, and how the vendor is asked about them."""


def live_vendor_suppression(
    settings: ListSettings, vendor: Optimizely, rows: pd.DataFrame, on_rows: Callable[[int], None]
) -> "pd.Series[str]":
    """Ask the vendor about every row, in bulk: why it wouldn't write to them, as `Reason` values; else missing.

    `on_rows` is called with the number of rows that were asked about, whenever an answer comes.
    """

    def ask(numbered: tuple[int, list[pa.Array]]) -> tuple[list[bool], list[bool], list[bool]]:
        _, (ids, addresses) = numbered
        if settings.has_own_unsubscribe_list:
            left, elsewhere = unsubscribed_flags(vendor, settings.recipient_list_id, ids)
        else:
            left = elsewhere = vendor.unsubscribes.contains_all(ids)
        return left, elsewhere, vendor.blacklist.are_blacklisted(addresses)

    left, elsewhere, blocked = (np.zeros(len(rows), dtype=bool) for _ in range(3))
    chunks = enumerate(column_chunks(rows, [RECIPIENT_ID, ADDRESS], MAX_ROWS))
    for (number, _), answers in in_parallel(vendor, settings.optimizely.parallel_calls, ask, chunks):
        asked = slice(number * MAX_ROWS, number * MAX_ROWS + len(answers[0]))
        left[asked], elsewhere[asked], blocked[asked] = answers
        on_rows(len(answers[0]))
    reasons = pd.Series(pd.NA, index=rows.index, dtype="str")
    reasons[blocked] = Reason.BLOCKLISTED.value
    if not settings.has_own_unsubscribe_list:
        # Where feedback rows name the opt-in, being on the list of the whole mandator doesn't say that it is this one.
        reasons[left] = (Reason.ON_UNSUBSCRIBE_LIST if settings.opt_outs_await_rows else Reason.UNSUBSCRIBED).value
    elif (unsubscribed := left | elsewhere).any():
        ids = rows.loc[unsubscribed, RECIPIENT_ID]
        reasons[unsubscribed] = _by_lists_left(settings, vendor, ids, reasons[unsubscribed])
    return reasons


def _by_lists_left(
    settings: ListSettings, vendor: Optimizely, ids: "pd.Series[str]", reasons: "pd.Series[str]"
) -> "pd.Series[str]":
    """Return the reasons of people on any unsubscribe list: whether it is this list's own, or the client's.

    People who left other lists only are written to.
    """
    lists = lists_left(vendor, ids.tolist(), rows_name_opt_ins=settings.rows_name_opt_ins)
    reasons = reasons.mask(ids.map(lambda recipient: not lists[recipient]), Reason.ON_UNSUBSCRIBE_LIST.value)
    return reasons.mask(
        ids.map(lambda recipient: settings.recipient_list_id in lists[recipient]), Reason.UNSUBSCRIBED.value
    )


UNSUBSCRIBE_LISTS = "unsubscribe_lists"
"""The name of the check that unsubscribe lists of single recipient lists can be read."""


def check_unsubscribe_lists(
    settings: ListSettings, vendor: Optimizely, reasons: "pd.Series[str]"
) -> list[CheckOutcome]:
    """Check that the unsubscribe list of a list that has its own can be read; nothing for all others.

    `reasons` are those of `live_vendor_suppression`.
    """
    if not settings.has_own_unsubscribe_list:
        return []
    kept_out = int((reasons == Reason.ON_UNSUBSCRIBE_LIST.value).sum())
    if not vendor.unsubscribes.refuses_list_queries:
        summary = Message(
            "kept out, being on an unsubscribe list that is no recipient list's own: {people}", people=kept_out
        )
        return [CheckOutcome(UNSUBSCRIBE_LISTS, True, summary)]
    return [
        CheckOutcome(
            UNSUBSCRIBE_LISTS,
            False,
            Message(
                "the vendor doesn't say who has left this recipient list, so everybody on any unsubscribe list is kept "
                "out (here {people}); have its support allow the user containsAllByRecipientList of "
                "UnsubscribeWebservice, or set {setting} to client",
                people=kept_out,
                setting=f"mandators.{settings.mandator}.unsubscribe_lists",
            ),
            warning=True,
        )
    ]


@dataclass(frozen=True)
class OptOutRecorder:
    """Passes opt-outs that the vendor's lists show to the CRM and to the state database."""

    crm: Crm
    state: State
    frames: FileStorage
    run_id: str

    def record_live_opt_outs(
        self, settings: ListSettings, rows: pd.DataFrame, reasons: "pd.Series[str]", seen_at: datetime
    ) -> None:
        """Withdraw the consents of those who left, as an imported unsubscribe would, and remember who is blocked.

        Where feedback rows name the opt-in that is affected, the consents wait for them. A blocklist entry is of an
        address or a pattern, so it touches no consent.

        Of two runs that see the same person leave, the second finds what the first has recorded.
        """
        mandator_id = settings.mandator_settings.mandator_id
        with self.state.locks.acquire(mandator_id, self.run_id, LockScope.OPT_OUTS, patience=PATIENCE):
            self._record(settings, rows, reasons, seen_at)

    def _record(self, settings: ListSettings, rows: pd.DataFrame, reasons: "pd.Series[str]", seen_at: datetime) -> None:
        opt_outs = VendorOptOuts(settings.mandator, self.crm, self.state, self.frames)
        if settings.has_own_unsubscribe_list:
            left = rows[reasons == Reason.UNSUBSCRIBED.value]
            # Of people on another list it may be unknown whether they are on this list's own.
            asked = rows.loc[reasons.ne(Reason.ON_UNSUBSCRIBE_LIST.value).fillna(value=True), RECIPIENT_ID].tolist()
            consents = dict(zip(left[RECIPIENT_ID], _consents(left, settings.schema.opt_in_id), strict=True))
            opt_outs.record_of_list(settings.recipient_list_id, asked, consents, seen_at, LIVE_LIST_SOURCE)
            # They were on the client's list, and aren't any more.
            known = self.state.unsubscribed_recipients.known(settings.mandator)
            self.state.unsubscribed_recipients.remove(settings.mandator, known.intersection(asked) - consents.keys())
        else:
            on_list = reasons.isin([Reason.UNSUBSCRIBED.value, Reason.ON_UNSUBSCRIBE_LIST.value])
            opt_outs.record(
                (recipient for chunk in iter_chunks(rows[RECIPIENT_ID]) for recipient in chunk.to_pylist()),
                rows.loc[on_list, RECIPIENT_ID].tolist(),
                seen_at,
                LIVE_LIST_SOURCE,
                await_rows=settings.opt_outs_await_rows,
            )
        blocked = rows.loc[reasons == Reason.BLOCKLISTED.value, ADDRESS]
        self.state.blocked_addresses.record(settings.mandator, blocked.tolist(), LIVE_LIST_SOURCE, seen_at)


def _consents(rows: pd.DataFrame, opt_in_id: str) -> Iterator[frozenset[ConsentRef]]:
    """Yield for every row the one consent on which it is in the list."""
    for entity_type, entity_id in zip(rows["entity_type"], rows["entity_id"], strict=True):
        yield frozenset({ConsentRef(Entity(EntityType(entity_type), entity_id), opt_in_id)})


@dataclass(frozen=True)
class LiveCrmSuppression:
    """What the CRM says at this moment about the rows of a snapshot."""

    reasons: "pd.Series[str]"
    """Why each row may not be sent, as `Reason` values; missing where it may be."""
    suppressed: Suppressed
    """People whom the list's opt-in may not be used for."""
    recall: WithdrawalComparison
    """Withdrawals that vanished from the CRM."""


def live_crm_suppression(
    crm: CrmSnapshot, state: State, settings: ListSettings, rows: pd.DataFrame, now: datetime, *, remember: bool = True
) -> LiveCrmSuppression:
    """Ask the CRM about every row: the same person, under the same address, with a granted consent for the opt-in.

    Args:
        crm: the CRM at this moment.
        state: the state database.
        settings: the list.
        rows: a snapshot; columns `PEOPLE_COLUMNS` and `consent_at`.
        now: the present moment.
        remember: whether the withdrawals that it shows are remembered.
    """
    opt_in_id = settings.schema.opt_in_id
    known = current_suppression(crm, state, settings.mandator)
    memory, consents = WithdrawalHistory(state, settings.mandator, opt_in_id, known, now), _Consents(rows)
    among = None if memory.needs_everybody else rows
    for people in consenting_people(crm, opt_in_id, among):
        memory.compare(people)
        consents.compare(people)
    recall = memory.recall(everybody=among is None, remember=remember)
    suppressed = Suppressed.of(concat_suppressions([known, recall.vanished]), opt_in_id, state.erasures.erased())
    reasons = suppressed_meanwhile(suppressed, rows)
    reasons = reasons.where(reasons.notna(), consents.reasons(crm))
    return LiveCrmSuppression(reasons, suppressed, recall)


def suppressed_meanwhile(suppressed: Suppressed, rows: pd.DataFrame) -> "pd.Series[str]":
    """Return why rows of a snapshot are suppressed by now; none of them was when the snapshot was made."""
    reasons = suppressed.reasons(rows, rows[ADDRESS])
    reasons[reasons.isin(_OF_THE_SELECTION)] = Reason.SUPPRESSED_MEANWHILE.value
    withdrawn = among(suppressed.erased.record_tokens(entity_keys(rows)), suppressed.withdrawn)
    reasons[withdrawn & reasons.ne(Reason.ERASED.value).fillna(value=True)] = Reason.CONSENT_WITHDRAWN.value
    return reasons


_OF_THE_SELECTION = [Reason.BOUNCED.value, Reason.UNSUBSCRIBED.value, Reason.BLOCKLISTED.value]
"""Reasons that in the table of rejections mean: never in the snapshot, or named by the vendor."""


class _Consents:
    """Finds the rows whose person consents now under the row's own address. It takes 32 bytes a row."""

    def __init__(self, rows: pd.DataFrame) -> None:
        self._rows = rows
        self._digests = _person_digests(entity_keys(rows), rows[ADDRESS])
        self._known = KnownRows(self._digests)
        self._found: list[RowDigests] = [digests_of([])]

    def compare(self, people: ConsentingPeople) -> None:
        """Compare the next people who consent now with the rows."""
        digests = _person_digests(people.keys, people.addresses)
        self._found.append(digests[self._known.contains(digests)])

    def reasons(self, crm: CrmSnapshot) -> "pd.Series[str]":
        """Return why each row isn't among them, once everybody who consents was compared; missing where it is."""
        reasons = pd.Series(pd.NA, index=self._rows.index, dtype="str")
        lacking = ~KnownRows(np.concatenate(self._found)).contains(self._digests)
        rows = self._rows[lacking]
        entities = [
            Entity(EntityType(entity_type), entity_id)
            for entity_type, entity_id in zip(rows["entity_type"], rows["entity_id"], strict=True)
        ]
        emails = crm.emails(entities)
        reasons[lacking] = [
            _why_not_consenting(emails.get(entity), address)
            for entity, address in zip(entities, rows[ADDRESS], strict=True)
        ]
        return reasons


def _why_not_consenting(email: str | None, address: str) -> str:
    if email is None:
        return Reason.GONE_FROM_CRM.value
    return (Reason.NO_CONSENT if usable_address(email) == address else Reason.ADDRESS_CHANGED).value


def _person_digests(keys: "pd.Series[str]", addresses: "pd.Series[str]") -> RowDigests:
    return row_digests(pd.DataFrame({"key": keys, "address": addresses}), ["key", "address"])
