"""The write-back of the vendor's feedback to the CRM, and the record of every entry that it makes."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from campaign_sync.config import FeedbackSettings
from campaign_sync.crm.port import Crm
from campaign_sync.domain.feedback import Attribution, CrmEntry, RawRow, ReportedConsent, Unsubscribe
from campaign_sync.feedback.crm_withdrawals import record_withdrawals
from campaign_sync.feedback.earlier_attributions import EarlierAttributions, attribute_unsubscribes
from campaign_sync.feedback.erased_feedback import without_erased
from campaign_sync.feedback.identification import identify_consents
from campaign_sync.feedback.mailing_lists import MailingRecipientLists
from campaign_sync.feedback.pending_feedback import PendingFeedback
from campaign_sync.feedback.unsubscribe_lists import (
    LeftByRow,
    about_our_lists,
    lists_left,
    lists_left_before,
    lists_left_by_row,
    opt_ins_when_first_read,
    remember_lists_left,
    restrict_to_lists_left,
    with_all_opt_ins_left,
    with_opt_ins_left,
)
from campaign_sync.feedback.vendor_opt_outs import VendorOptOuts
from campaign_sync.optimizely.client import Optimizely
from campaign_sync.storage.files import FileStorage
from campaign_sync.storage.state import State
from campaign_sync.storage.unmatched_feedback import UnmatchedFeedback


@dataclass(frozen=True)
class WriteBackSummary:
    """The result of writing the pending feedback. Counts are of CRM entries, unless said otherwise."""

    written: int
    already_known: int
    unmatched: int
    """Addresses that the CRM couldn't match."""
    naming_opt_in: int = 0
    """Rows of unsubscribes that name an opt-in that the CRM knows."""
    pending: int = 0
    """Recipients on the vendor's unsubscribe list whose feedback row hasn't come yet."""
    given_up: int = 0
    """Those of them whose row isn't waited for any more: their consents were determined from the snapshots."""
    refused: int = 0
    """Withdrawals that the CRM didn't accept, now or before."""
    not_shown: int = 0
    """Withdrawals of consents that the CRM doesn't show, which are written once it does."""


@dataclass(frozen=True)
class FeedbackWriteBack:
    """Writes the feedback of one mandator to the CRM.

    A bounce that was written once isn't written again: if the CRM lacks it now, it was reset there. An unsubscribe that
    was written once stays attributed to the consents of that time, or to none. A withdrawal that the CRM refused is
    repeated for the same consent.
    """

    mandator: str
    crm: Crm
    state: State
    frames: FileStorage
    vendor: Callable[[], Optimizely]
    feedback: FeedbackSettings
    opt_ins_of_lists: Mapping[int, str] = field(default_factory=dict)
    """Where recipient lists have their own unsubscribe lists, the opt-in of each, by the list's id: the vendor is then
    asked which lists were left."""

    def run(self, pending: PendingFeedback) -> WriteBackSummary:
        """Write all pending and all unmatched feedback to the CRM, and only then move the watermark.

        Raises:
            CrmError, FileStorageError, OptimizelyError, StateError: one of them fails. Repeat the call; nothing is
                written twice.
        """
        stored, erased = self.state.feedback_imports.unmatched(self.mandator), self.state.erasures.erased()
        pending, before, hidden = without_erased(pending, stored, erased, lambda: self.crm, self.mandator)
        bounces = [*pending.bounces, *before.bounces]
        known = self.state.write_backs.already_written(bounces)
        new_bounces = [bounce for bounce in bounces if bounce not in known]
        identified = _identified(self.mandator, pending, self.crm)
        unsubscribes = self._attributed(pending, identified, before.unsubscribes)
        refused_before = self.state.refused_withdrawals.of(self.mandator)
        withdrawn, matched = record_withdrawals(self.crm, self.state, [*unsubscribes, *refused_before])
        bounced = self.crm.record_bounces(new_bounces, self._record_entries)
        bounced_unmatched = set(bounced.unmatched)
        left_over = [unsubscribe for unsubscribe in unsubscribes if unsubscribe not in matched]
        unmatched = UnmatchedFeedback(
            [bounce for bounce in new_bounces if bounce.address in bounced_unmatched],
            with_all_opt_ins_left([replace(unsubscribe, consents=frozenset()) for unsubscribe in left_over]),
        )
        everything = UnmatchedFeedback(
            [*unmatched.bounces, *hidden.bounces], [*unmatched.unsubscribes, *hidden.unsubscribes]
        )
        self.state.feedback_imports.commit(self.mandator, pending.read, stored, everything, datetime.now(UTC))
        given_up = VendorOptOuts(self.mandator, self.crm, self.state, self.frames).withdraw_overdue(self.feedback)
        return WriteBackSummary(
            withdrawn.written + bounced.written,
            withdrawn.already_known + bounced.already_known + len(known),
            len({unsubscribe.address for unsubscribe in unmatched.unsubscribes} | bounced_unmatched),
            naming_opt_in=sum(unsubscribe.opt_in_id is not None for unsubscribe in identified),
            pending=len(self.state.unsubscribed_recipients.pending(self.mandator)),
            given_up=given_up,
            refused=self.state.refused_withdrawals.count(self.mandator, shown=True),
            not_shown=self.state.refused_withdrawals.count(self.mandator, shown=False),
        )

    def _record_entries(self, entries: Sequence[CrmEntry]) -> None:
        self.state.write_backs.record(entries, datetime.now(UTC))

    def _attributed(
        self, pending: PendingFeedback, identified: Sequence[Unsubscribe], unmatched: Sequence[Unsubscribe]
    ) -> list[Unsubscribe]:
        """Return all unsubscribes to write, each with its consents; those about lists that aren't ours are recorded."""
        reported = _of_ours(_without_repeats(identified, pending), self.state)
        again = opt_ins_when_first_read(reported, unmatched)
        reported = [
            replace(unsubscribe, opt_ins=again.get(unsubscribe, unsubscribe.opt_ins)) for unsubscribe in reported
        ]
        written_before = EarlierAttributions(reported, self.state, pending.readers)
        new = [
            unsubscribe for unsubscribe in reported if unsubscribe not in again and not written_before.has(unsubscribe)
        ]
        left = self._lists_left(reported, new)
        reported = with_opt_ins_left(reported, left, self.opt_ins_of_lists)
        lists_of = restrict_to_lists_left(_lists_of_mailings(pending.mailings, self.vendor), left)
        attributed = attribute_unsubscribes(reported, written_before, self.state, self.frames, lists_of)
        ours = about_our_lists(attributed, left)
        self.state.write_backs.record_without_consent(list(set(attributed) - set(ours)), datetime.now(UTC))
        read_now = set(reported)
        return [*ours, *(unsubscribe for unsubscribe in unmatched if unsubscribe not in read_now)]

    def _lists_left(self, reported: Sequence[Unsubscribe], new: Sequence[Unsubscribe]) -> LeftByRow:
        """Return which recipient lists were left, and record that the CRM gets the new ones."""
        opt_ins, now = self.opt_ins_of_lists, datetime.now(UTC)
        by_address: dict[str, frozenset[int]] = {}
        if new and opt_ins:
            addresses = {unsubscribe.address for unsubscribe in new}
            rows_name_opt_ins = bool(self.feedback.opt_in_readers)
            by_address = lists_left(self.vendor(), addresses, rows_name_opt_ins=rows_name_opt_ins)
        left = lists_left_by_row(new, by_address, opt_ins) | lists_left_before(reported, opt_ins)
        remember_lists_left(self.state, self.mandator, new, left, opt_ins, now)
        on_client_list = {unsubscribe.address for unsubscribe in new if not by_address.get(unsubscribe.address)}
        self.state.unsubscribed_recipients.mark_known(self.mandator, on_client_list, now)
        return left


def _of_ours(unsubscribes: Sequence[Unsubscribe], state: State) -> list[Unsubscribe]:
    """Return the unsubscribes without those that an earlier import found to be about no consent of ours."""
    about_nothing = state.write_backs.without_consent(unsubscribes)
    return [unsubscribe for unsubscribe in unsubscribes if unsubscribe not in about_nothing]


def _identified(mandator: str, pending: PendingFeedback, crm: Crm) -> list[Unsubscribe]:
    """Return the unsubscribes, each with the opt-in and the record that its row names, where the CRM has them."""
    if not pending.named:
        return pending.unsubscribes
    with crm.snapshot() as snapshot:
        known = identify_consents(set(pending.named.values()), mandator, snapshot)
    names = pending.named
    return [
        _with_names(unsubscribe, known[names[unsubscribe.raw]]) if unsubscribe.raw in names else unsubscribe
        for unsubscribe in pending.unsubscribes
    ]


def _with_names(unsubscribe: Unsubscribe, named: ReportedConsent) -> Unsubscribe:
    """Add what the row names. A record counts only beside its opt-in: alone it doesn't show which consent is meant."""
    if named.opt_in_id is None:
        return unsubscribe
    attribution = Attribution.from_row(named.opt_in_id, named.entity)
    return replace(unsubscribe, opt_in_id=named.opt_in_id, entity=named.entity, attribution=attribution)


def _without_repeats(unsubscribes: Sequence[Unsubscribe], pending: PendingFeedback) -> list[Unsubscribe]:
    """Return the unsubscribes without those that another reader reports with an opt-in, or else with a mailing."""

    def key(unsubscribe: Unsubscribe) -> tuple[str, datetime]:
        return unsubscribe.address, unsubscribe.occurred_at

    def reader(unsubscribe: Unsubscribe) -> str | None:
        return pending.readers.get(unsubscribe.raw.import_id) if unsubscribe.raw else None

    by_mailing = {
        key(unsubscribe)
        for unsubscribe in unsubscribes
        if unsubscribe.raw in pending.mailings and not unsubscribe.opt_in_id
    }
    named_by: defaultdict[tuple[str, datetime], set[str | None]] = defaultdict(set)
    for unsubscribe in unsubscribes:
        if unsubscribe.opt_in_id:
            named_by[key(unsubscribe)].add(reader(unsubscribe))

    def is_reported_better(unsubscribe: Unsubscribe) -> bool:
        named_elsewhere = bool(named_by.get(key(unsubscribe), set()) - {reader(unsubscribe)})
        return not unsubscribe.opt_in_id and (
            named_elsewhere or (unsubscribe.raw not in pending.mailings and key(unsubscribe) in by_mailing)
        )

    return [unsubscribe for unsubscribe in unsubscribes if not is_reported_better(unsubscribe)]


def _lists_of_mailings(
    mailings: dict[RawRow, int], vendor: Callable[[], Optimizely]
) -> Callable[[RawRow | None], frozenset[int] | None]:
    """Return a function that returns the recipient lists of the mailing that a row is about."""
    of_mailing = MailingRecipientLists(vendor)

    def lists_of(raw: RawRow | None) -> frozenset[int] | None:
        mailing_id = mailings.get(raw) if raw else None
        return None if mailing_id is None else of_mailing(mailing_id)

    return lists_of
