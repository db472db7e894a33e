"""Gives the CRM what the vendor told, and keeps a record of every entry that this made."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from campaign_sync.config import FeedbackSettings
from campaign_sync.crm.port import Crm
from campaign_sync.domain.feedback import Attribution, Bounce, NamedConsent, RawRow, Unsubscribe, Written
from campaign_sync.feedback.attribution import attribute_to_consents
from campaign_sync.feedback.earlier_attributions import WrittenBefore
from campaign_sync.feedback.identification import identified
from campaign_sync.feedback.mailing_lists import ListsOfMailings
from campaign_sync.feedback.parsing import Pending
from campaign_sync.feedback.unsubscribe_lists import (
    left_before,
    left_by_row,
    left_when_first_read,
    lists_left,
    narrowed,
    of_all_lists_left,
    of_lists_left,
    of_our_lists,
    remember_lists_left,
)
from campaign_sync.optimizely.client import Optimizely
from campaign_sync.storage.feedback_imports import LIVE_LIST_SOURCE, Unmatched
from campaign_sync.storage.files import FileStorage
from campaign_sync.storage.state import State
from campaign_sync.storage.vendor_unsubscribes import PendingOptOut

IMPORTS_AWAITED = 2
"""So many imports can bring the feedback row of an opt-out that was found on the vendor's unsubscribe list."""

DAYS_AWAITED = timedelta(days=2)
"""How long at least it is waited for where feedback is imported more often than daily: the vendor's export needn't run
more often than that."""


@dataclass(frozen=True)
class Outcome:
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
    pending: Pending,
    crm: Crm,
    state: State,
    frames: FileStorage,
    vendor: Callable[[], Optimizely],
    feedback: FeedbackSettings,
    opt_ins_of_lists: Mapping[int, str] | None = None,
) -> Outcome:
    """Give the CRM everything pending, and everybody it couldn't match before; only then move the watermark.

    A bounce that was written once isn't written again: if the CRM lacks it by now, somebody there has reset it. An
    unsubscribe that was written once stays about the consents that it was about then, or about none.

    Where recipient lists have unsubscribe lists of their own, `opt_ins_of_lists` has the opt-in of each, by the list's
    id, and the vendor is asked which lists were left.

    Raises:
        CrmError, FileStorageError, StateError: one of them fails. Repeat it; what is there already isn't written twice.
    """
    before = state.feedback_imports.unmatched(mandator)
    bounces = [*pending.bounces, *before.bounces]
    known = state.write_backs.already_written(bounces)
    fresh = [one for one in bounces if one not in known]
    read = _identified(mandator, pending, crm)
    told = _of_ours(_told_once(read, pending), state)
    again = left_when_first_read(told, before.unsubscribes)
    told = [replace(one, opt_ins=again.get(one, one.opt_ins)) for one in told]
    written_before = WrittenBefore(told, state, pending.readers)
    news = [one for one in told if one not in again and not written_before.has(one)]
    opt_ins, now = opt_ins_of_lists or {}, datetime.now(UTC)
    by_address = _lists_left(vendor, news, feedback) if opt_ins else {}
    left = left_by_row(news, by_address, opt_ins) | left_before(told, opt_ins)
    remember_lists_left(state, mandator, news, left, opt_ins, now)
    state.unsubscribed_recipients.mark_known(
        mandator, {one.address for one in news if not by_address.get(one.address)}, now
    )
    told = of_lists_left(told, left, opt_ins)
    lists_of = narrowed(_lists_of_mailings(pending.mailings, vendor), left)
    found = _resolved(told, written_before, state, frames, lists_of)
    resolved = of_our_lists(found, left)
    state.write_backs.record_without_consent(list(set(found) - set(resolved)), now)
    told_now = set(told)
    unsubscribes = [*resolved, *(one for one in before.unsubscribes if one not in told_now)]
    note, matched = noting(state), set[Bounce | Unsubscribe]()

    def on_written(entries: Sequence[Written]) -> None:
        note(entries)
        matched.update(entry.feedback for entry in entries)

    withdrawn, bounced = crm.record_unsubscribes(unsubscribes, on_written), crm.record_bounces(fresh, note)
    bounced_unknown = set(bounced.unmatched)
    unmatched = Unmatched(
        [one for one in fresh if one.address in bounced_unknown],
        of_all_lists_left([replace(one, through=frozenset()) for one in unsubscribes if one not in matched]),
    )
    state.feedback_imports.commit(mandator, pending.read, before, unmatched, datetime.now(UTC))
    given_up = _give_up_waiting(mandator, feedback, crm, state, frames)
    return Outcome(
        withdrawn.written + bounced.written,
        withdrawn.already_known + bounced.already_known + len(known),
        len({one.address for one in unmatched.unsubscribes} | bounced_unknown),
        naming_opt_in=sum(one.opt_in_id is not None for one in read),
        pending=len(state.unsubscribed_recipients.pending(mandator)),
        given_up=given_up,
    )


def _lists_left(
    vendor: Callable[[], Optimizely], news: Sequence[Unsubscribe], feedback: FeedbackSettings
) -> dict[str, frozenset[int]]:
    """Which recipient lists were left by those who unsubscribed, by address."""
    if not news:
        return {}
    addresses = {one.address for one in news}
    return lists_left(vendor(), addresses, rows_name_opt_ins=bool(feedback.opt_in_readers))


def _of_ours(unsubscribes: Sequence[Unsubscribe], state: State) -> list[Unsubscribe]:
    """Without those that were found to be about nothing of ours when they were read before."""
    about_nothing = state.write_backs.without_consent(unsubscribes)
    return [one for one in unsubscribes if one not in about_nothing]


def _identified(mandator: str, pending: Pending, crm: Crm) -> list[Unsubscribe]:
    """The unsubscribes, each with the opt-in and the record that its row names, as far as the CRM knows them."""
    if not pending.named:
        return pending.unsubscribes
    with crm.snapshot() as snapshot:
        known = identified(set(pending.named.values()), mandator, snapshot)
    return [_with_names(one, known[pending.named[one.raw]]) if one.raw in pending.named else one
            for one in pending.unsubscribes]  # fmt: skip


def _with_names(unsubscribe: Unsubscribe, named: NamedConsent) -> Unsubscribe:
    """The record counts only beside its opt-in: a record alone doesn't say which of its consents is meant."""
    if named.opt_in_id is None:
        return unsubscribe
    attribution = Attribution.of_names(named.opt_in_id, named.entity)
    return replace(unsubscribe, opt_in_id=named.opt_in_id, entity=named.entity, attribution=attribution)


def _resolved(
    unsubscribes: Sequence[Unsubscribe],
    written_before: WrittenBefore,
    state: State,
    frames: FileStorage,
    lists_of: Callable[[RawRow | None], frozenset[int] | None] = lambda _: None,
) -> list[Unsubscribe]:
    """Each with the consents that it is about.

    What the row itself names decides; else those that it was found to be about before, if it was written before; else
    those of the lists that were sent.
    """
    resolved: list[Unsubscribe] = []
    untraced: list[Unsubscribe] = []
    for one in unsubscribes:
        known = one if one.entity else None if one.opt_in_id else written_before.attributed(one)
        (untraced if known is None else resolved).append(known or one)
    return [*resolved, *attribute_to_consents(untraced, state.replacement_history, frames, lists_of)]


def _told_once(unsubscribes: Sequence[Unsubscribe], pending: Pending) -> list[Unsubscribe]:
    """Without those that another reader tells of as well, and says more: which opt-in, or else which mailing."""

    def key(one: Unsubscribe) -> tuple[str, datetime]:
        return one.address, one.occurred_at

    def reader(one: Unsubscribe) -> str | None:
        return pending.readers.get(one.raw.import_id) if one.raw else None

    by_mailing = {key(one) for one in unsubscribes if one.raw in pending.mailings and not one.opt_in_id}
    named_by: defaultdict[tuple[str, datetime], set[str | None]] = defaultdict(set)
    for one in unsubscribes:
        if one.opt_in_id:
            named_by[key(one)].add(reader(one))

    def says_least(one: Unsubscribe) -> bool:
        named_elsewhere = bool(named_by.get(key(one), set()) - {reader(one)})
        return not one.opt_in_id and (named_elsewhere or (one.raw not in pending.mailings and key(one) in by_mailing))

    return [one for one in unsubscribes if not says_least(one)]


def hear(
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
    """Take note of what a look at the vendor's unsubscribe list has found, and withdraw the consents of who has left.

    Who is known to be on that list hasn't left once more. Who was, and isn't any more, is forgotten.

    Args:
        mandator: whose list it is.
        asked: the recipient ids that were asked about.
        left: those of them that are on the list.
        seen_at: when, by the vendor's clock; it stands in for when they left.
        source: which look it was; the withdrawal names it.
        crm: to be told.
        state: what the product remembers.
        frames: where its snapshots are.
        await_rows: whether feedback rows name the opt-in that is affected. Then no consent is withdrawn yet: the
            opt-out is pending until its row comes, or until `write_back` waits no longer.

    Returns:
        Whose opt-outs were news.
    """
    told = state.unsubscribed_recipients.known(mandator)
    pending = {one.recipient_id for one in state.unsubscribed_recipients.pending(mandator)}
    unknown = set(left) - told
    since = state.unsubscribed_recipients.record_pending(
        mandator, unknown, seen_at, source
    )  # stays, should we die before the CRM is told
    if not await_rows:
        opt_outs = [Unsubscribe(each, since[each], mandator, source, dated=False) for each in sorted(unknown)]
        _withdraw(opt_outs, crm, state, frames)
        state.unsubscribed_recipients.mark_known(mandator, unknown, seen_at)
    state.unsubscribed_recipients.remove(mandator, told.intersection(asked) - set(left))
    return unknown - pending if await_rows else unknown


def _give_up_waiting(mandator: str, feedback: FeedbackSettings, crm: Crm, state: State, frames: FileStorage) -> int:
    """Withdraw what the snapshots tell of the pending opt-outs whose feedback row should have come; how many."""
    overdue = _overdue(mandator, feedback, state)
    opt_outs = [
        Unsubscribe(one.recipient_id, one.since, mandator, one.source or LIVE_LIST_SOURCE, dated=False)
        for one in overdue
    ]
    _withdraw(opt_outs, crm, state, frames)
    state.unsubscribed_recipients.mark_known(mandator, {one.recipient_id for one in overdue}, datetime.now(UTC))
    return len(overdue)


def _overdue(mandator: str, feedback: FeedbackSettings, state: State) -> list[PendingOptOut]:
    """Those whose row none of the imports since has brought. All, where no reader names opt-ins any more."""
    pending = state.unsubscribed_recipients.pending(mandator)
    for reader in feedback.opt_in_readers:
        ends = state.feedback_imports.last_ends(mandator, reader, IMPORTS_AWAITED)
        if len(ends) < IMPORTS_AWAITED:
            return []
        before = min(ends[-1], ends[0] - DAYS_AWAITED) if feedback.schedule else ends[-1]
        pending = [one for one in pending if one.since < before]
    return pending


def _withdraw(opt_outs: Sequence[Unsubscribe], crm: Crm, state: State, frames: FileStorage) -> None:
    """Withdraw the consents of opt-outs that were found on the vendor's unsubscribe list."""
    crm.record_unsubscribes(_resolved(opt_outs, WrittenBefore(opt_outs, state, {}), state, frames), noting(state))


def noting(state: State) -> Callable[[Sequence[Written]], None]:
    """Keeps a record of what the CRM has taken."""
    return lambda written: state.write_backs.record(written, datetime.now(UTC))


def _lists_of_mailings(
    mailings: dict[RawRow, int], vendor: Callable[[], Optimizely]
) -> Callable[[RawRow | None], frozenset[int] | None]:
    """To which lists the mailing of a row went."""
    of_mailing = ListsOfMailings(vendor)

    def lists_of(raw: RawRow | None) -> frozenset[int] | None:
        mailing_id = mailings.get(raw) if raw else None
        return None if mailing_id is None else of_mailing(mailing_id)

    return lists_of
