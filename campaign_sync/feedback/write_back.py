"""Writes the vendor's feedback to the CRM, and records every entry that this made."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from campaign_sync.config import FeedbackSettings
from campaign_sync.crm.port import Crm
from campaign_sync.domain.feedback import Attribution, Bounce, CrmEntry, RawRow, ReportedConsent, Unsubscribe
from campaign_sync.feedback.attribution import attribute_to_consents
from campaign_sync.feedback.earlier_attributions import EarlierAttributions
from campaign_sync.feedback.identification import identify_consents
from campaign_sync.feedback.mailing_lists import MailingRecipientLists
from campaign_sync.feedback.parsing import PendingFeedback
from campaign_sync.feedback.unsubscribe_lists import (
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
from campaign_sync.optimizely.client import Optimizely
from campaign_sync.storage.feedback_imports import LIVE_LIST_SOURCE, Unmatched
from campaign_sync.storage.files import FileStorage
from campaign_sync.storage.state import State
from campaign_sync.storage.vendor_unsubscribes import PendingOptOut

IMPORTS_AWAITED = 2
"""How many imports can bring the feedback row of an opt-out that was found on the vendor's unsubscribe list."""

DAYS_AWAITED = timedelta(days=2)
"""How long at least it is waited for where feedback is imported more often than daily: the vendor's export needn't run
more often than that."""


@dataclass(frozen=True)
class WriteBackSummary:
    """What writing the pending feedback came to. Counts are of CRM entries, unless said otherwise."""

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


def write_back(
    mandator: str,
    pending: PendingFeedback,
    crm: Crm,
    state: State,
    frames: FileStorage,
    vendor: Callable[[], Optimizely],
    feedback: FeedbackSettings,
    opt_ins_of_lists: Mapping[int, str] | None = None,
) -> WriteBackSummary:
    """Give the CRM everything pending, and everybody it couldn't match before; only then move the watermark.

    A bounce that was written once isn't written again: if the CRM lacks it by now, it was reset there. An
    unsubscribe that was written once stays about the consents that it was about then, or about none.

    Where recipient lists have unsubscribe lists of their own, `opt_ins_of_lists` has the opt-in of each, by the list's
    id, and the vendor is asked which lists were left.

    Raises:
        CrmError, FileStorageError, StateError: one of them fails. Repeat it; what is there already isn't written twice.
    """
    before = state.feedback_imports.unmatched(mandator)
    bounces = [*pending.bounces, *before.bounces]
    known = state.write_backs.already_written(bounces)
    fresh = [bounce for bounce in bounces if bounce not in known]
    read = _identified(mandator, pending, crm)
    reported = _of_ours(_without_repeats(read, pending), state)
    again = opt_ins_when_first_read(reported, before.unsubscribes)
    reported = [replace(unsubscribe, opt_ins=again.get(unsubscribe, unsubscribe.opt_ins)) for unsubscribe in reported]
    written_before = EarlierAttributions(reported, state, pending.readers)
    news = [unsubscribe for unsubscribe in reported if unsubscribe not in again and not written_before.has(unsubscribe)]
    opt_ins, now = opt_ins_of_lists or {}, datetime.now(UTC)
    by_address = _lists_left(vendor, news, feedback) if opt_ins else {}
    left = lists_left_by_row(news, by_address, opt_ins) | lists_left_before(reported, opt_ins)
    remember_lists_left(state, mandator, news, left, opt_ins, now)
    state.unsubscribed_recipients.mark_known(
        mandator, {unsubscribe.address for unsubscribe in news if not by_address.get(unsubscribe.address)}, now
    )
    reported = with_opt_ins_left(reported, left, opt_ins)
    lists_of = restrict_to_lists_left(_lists_of_mailings(pending.mailings, vendor), left)
    attributed = _resolved(reported, written_before, state, frames, lists_of)
    resolved = about_our_lists(attributed, left)
    state.write_backs.record_without_consent(list(set(attributed) - set(resolved)), now)
    read_now = set(reported)
    unsubscribes = [*resolved, *(unsubscribe for unsubscribe in before.unsubscribes if unsubscribe not in read_now)]
    note, matched = write_back_recorder(state), set[Bounce | Unsubscribe]()

    def on_written(entries: Sequence[CrmEntry]) -> None:
        note(entries)
        matched.update(entry.feedback for entry in entries)

    withdrawn, bounced = crm.record_unsubscribes(unsubscribes, on_written), crm.record_bounces(fresh, note)
    bounced_unknown = set(bounced.unmatched)
    unmatched = Unmatched(
        [bounce for bounce in fresh if bounce.address in bounced_unknown],
        with_all_opt_ins_left(
            [replace(unsubscribe, through=frozenset()) for unsubscribe in unsubscribes if unsubscribe not in matched]
        ),
    )
    state.feedback_imports.commit(mandator, pending.read, before, unmatched, datetime.now(UTC))
    given_up = _give_up_waiting(mandator, feedback, crm, state, frames)
    return WriteBackSummary(
        withdrawn.written + bounced.written,
        withdrawn.already_known + bounced.already_known + len(known),
        len({unsubscribe.address for unsubscribe in unmatched.unsubscribes} | bounced_unknown),
        naming_opt_in=sum(unsubscribe.opt_in_id is not None for unsubscribe in read),
        pending=len(state.unsubscribed_recipients.pending(mandator)),
        given_up=given_up,
    )


def _lists_left(
    vendor: Callable[[], Optimizely], news: Sequence[Unsubscribe], feedback: FeedbackSettings
) -> dict[str, frozenset[int]]:
    """Return which recipient lists were left by those who unsubscribed, by address."""
    if not news:
        return {}
    addresses = {unsubscribe.address for unsubscribe in news}
    return lists_left(vendor(), addresses, rows_name_opt_ins=bool(feedback.opt_in_readers))


def _of_ours(unsubscribes: Sequence[Unsubscribe], state: State) -> list[Unsubscribe]:
    """Return them without those that an earlier import found to be about no consent of ours."""
    about_nothing = state.write_backs.without_consent(unsubscribes)
    return [unsubscribe for unsubscribe in unsubscribes if unsubscribe not in about_nothing]


def _identified(mandator: str, pending: PendingFeedback, crm: Crm) -> list[Unsubscribe]:
    """Return the unsubscribes, each with the opt-in and the record that its row names, as far as the CRM knows them."""
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
    """Add what the row names. A record counts only beside its opt-in: alone it doesn't say which consent is meant."""
    if named.opt_in_id is None:
        return unsubscribe
    attribution = Attribution.of_names(named.opt_in_id, named.entity)
    return replace(unsubscribe, opt_in_id=named.opt_in_id, entity=named.entity, attribution=attribution)


def _resolved(
    unsubscribes: Sequence[Unsubscribe],
    written_before: EarlierAttributions,
    state: State,
    frames: FileStorage,
    lists_of: Callable[[RawRow | None], frozenset[int] | None] = lambda _: None,
) -> list[Unsubscribe]:
    """Return each with the consents that it is about.

    What the row itself names decides; else those that it was found to be about before, if it was written before; else
    those of the lists that were sent.
    """
    resolved: list[Unsubscribe] = []
    untraced: list[Unsubscribe] = []
    for unsubscribe in unsubscribes:
        known = (
            unsubscribe
            if unsubscribe.entity
            else None
            if unsubscribe.opt_in_id
            else written_before.attributed(unsubscribe)
        )
        (untraced if known is None else resolved).append(known or unsubscribe)
    return [*resolved, *attribute_to_consents(untraced, state.replacement_history, frames, lists_of)]


def _without_repeats(unsubscribes: Sequence[Unsubscribe], pending: PendingFeedback) -> list[Unsubscribe]:
    """Return them without those that another reader reports with more detail: an opt-in, or else a mailing."""

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

    def says_least(unsubscribe: Unsubscribe) -> bool:
        named_elsewhere = bool(named_by.get(key(unsubscribe), set()) - {reader(unsubscribe)})
        return not unsubscribe.opt_in_id and (
            named_elsewhere or (unsubscribe.raw not in pending.mailings and key(unsubscribe) in by_mailing)
        )

    return [unsubscribe for unsubscribe in unsubscribes if not says_least(unsubscribe)]


def record_live_opt_outs(
    mandator: str,
    asked: Iterable[str],
    left: Collection[str],
    seen_at: datetime,
    source: str,
    crm: Crm,
    state: State,
    frames: FileStorage,
    *,
    await_rows: bool,
) -> set[str]:
    """Record which recipients the vendor's unsubscribe list has now, and withdraw the consents of those who left.

    Who is known to be on that list hasn't left once more. Who was, and isn't any more, is forgotten.

    Args:
        mandator: whose list it is.
        asked: the recipient ids that were asked about.
        left: those of them that are on the list.
        seen_at: when, by the vendor's clock; it replaces the unknown moment when they left.
        source: which look it was; the withdrawal names it.
        crm: takes the withdrawals.
        state: what the product remembers.
        frames: where its snapshots are.
        await_rows: whether feedback rows name the opt-in that is affected. Then no consent is withdrawn yet: the
            opt-out is pending until its row comes, or until `write_back` waits no longer.

    Returns:
        Whose opt-outs were news.
    """
    recorded = state.unsubscribed_recipients.known(mandator)
    pending = {opt_out.recipient_id for opt_out in state.unsubscribed_recipients.pending(mandator)}
    unknown = set(left) - recorded
    since = state.unsubscribed_recipients.record_pending(
        mandator, unknown, seen_at, source
    )  # kept if the run dies before the CRM has the withdrawals
    if not await_rows:
        opt_outs = [
            Unsubscribe(recipient, since[recipient], mandator, source, dated=False) for recipient in sorted(unknown)
        ]
        _withdraw(opt_outs, crm, state, frames)
        state.unsubscribed_recipients.mark_known(mandator, unknown, seen_at)
    state.unsubscribed_recipients.remove(mandator, recorded.intersection(asked) - set(left))
    return unknown - pending if await_rows else unknown


def _give_up_waiting(mandator: str, feedback: FeedbackSettings, crm: Crm, state: State, frames: FileStorage) -> int:
    """Withdraw, from the snapshots, the pending opt-outs whose row is overdue. Return how many."""
    overdue = _overdue(mandator, feedback, state)
    opt_outs = [
        Unsubscribe(opt_out.recipient_id, opt_out.since, mandator, opt_out.source or LIVE_LIST_SOURCE, dated=False)
        for opt_out in overdue
    ]
    _withdraw(opt_outs, crm, state, frames)
    state.unsubscribed_recipients.mark_known(mandator, {opt_out.recipient_id for opt_out in overdue}, datetime.now(UTC))
    return len(overdue)


def _overdue(mandator: str, feedback: FeedbackSettings, state: State) -> list[PendingOptOut]:
    """Return those whose row none of the imports since has brought. All, where no reader names opt-ins any more."""
    pending = state.unsubscribed_recipients.pending(mandator)
    for reader in feedback.opt_in_readers:
        ends = state.feedback_imports.last_ends(mandator, reader, IMPORTS_AWAITED)
        if len(ends) < IMPORTS_AWAITED:
            return []
        before = min(ends[-1], ends[0] - DAYS_AWAITED) if feedback.schedule else ends[-1]
        pending = [opt_out for opt_out in pending if opt_out.since < before]
    return pending


def _withdraw(opt_outs: Sequence[Unsubscribe], crm: Crm, state: State, frames: FileStorage) -> None:
    """Withdraw the consents of opt-outs that were found on the vendor's unsubscribe list."""
    crm.record_unsubscribes(
        _resolved(opt_outs, EarlierAttributions(opt_outs, state, {}), state, frames), write_back_recorder(state)
    )


def write_back_recorder(state: State) -> Callable[[Sequence[CrmEntry]], None]:
    """Keeps a record of what the CRM has taken."""
    return lambda written: state.write_backs.record(written, datetime.now(UTC))


def _lists_of_mailings(
    mailings: dict[RawRow, int], vendor: Callable[[], Optimizely]
) -> Callable[[RawRow | None], frozenset[int] | None]:
    """Return to which lists the mailing of a row went."""
    of_mailing = MailingRecipientLists(vendor)

    def lists_of(raw: RawRow | None) -> frozenset[int] | None:
        mailing_id = mailings.get(raw) if raw else None
        return None if mailing_id is None else of_mailing(mailing_id)

    return lists_of
