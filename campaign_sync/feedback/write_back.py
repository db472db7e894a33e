"""Gives the CRM what the vendor told, and keeps a record of every entry that this made."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from campaign_sync.crm.port import Crm
from campaign_sync.domain.feedback import RawRow, Unsubscribe, Written, WrittenTo
from campaign_sync.feedback.mailings import ListsOfMailings
from campaign_sync.feedback.reading import Pending
from campaign_sync.feedback.unsubscribe_lists import (
    lists_left,
    narrowed,
    of_lists_left,
    of_our_lists,
    remember_lists_left,
)
from campaign_sync.feedback.written_to import traced
from campaign_sync.optimizely.client import Optimizely
from campaign_sync.state.feedback import Unmatched
from campaign_sync.state.frames import Frames
from campaign_sync.state.store import State


@dataclass(frozen=True)
class Outcome:
    """What writing the pending feedback came to. Counts are of CRM entries, `unmatched` of addresses."""

    written: int
    already_known: int
    unmatched: int


def write_back(
    mandator: str,
    pending: Pending,
    crm: Crm,
    state: State,
    frames: Frames,
    vendor: Callable[[], Optimizely],
    opt_ins_of_lists: Mapping[int, str] | None = None,
) -> Outcome:
    """Give the CRM everything pending, and everybody it couldn't match before; only then move the watermark.

    A bounce that was written once isn't written again: if the CRM lacks it by now, somebody there has reset it. An
    unsubscribe that was written once stays about the consents that it was about then.

    Where recipient lists have unsubscribe lists of their own, `opt_ins_of_lists` has the opt-in of each, by the list's
    id, and the vendor is asked which lists were left.

    Raises:
        CrmError, FrameError, StateError: one of them fails. Repeat it; what is there already isn't written twice.
    """
    before = state.feedback.unmatched(mandator)
    bounces = [*pending.bounces, *before.bounces]
    known = state.written.known(bounces)
    fresh = [one for one in bounces if one not in known]
    told, strangers = _told_once(pending), set(before.unsubscribes)
    written_before = state.written.consents(told)
    news = [one for one in told if (one.address, one.occurred_at) not in written_before and one not in strangers]
    opt_ins = opt_ins_of_lists or {}
    left = lists_left(vendor(), {one.address for one in news}) if opt_ins and news else {}
    remember_lists_left(state, mandator, left, opt_ins, datetime.now(UTC))
    state.unsubscribed.tell(mandator, {one.address for one in news if not left.get(one.address)}, datetime.now(UTC))
    told = of_lists_left(told, left, opt_ins)
    lists_of = narrowed(_lists_of_mailings(pending.mailings, vendor), told, left)
    resolved = of_our_lists(_resolved(told, written_before, state, frames, lists_of), left)
    told_now = set(told)
    unsubscribes = [*resolved, *(one for one in before.unsubscribes if one not in told_now)]
    note = noting(state)
    withdrawn, bounced = crm.record_unsubscribes(unsubscribes, note), crm.record_bounces(fresh, note)
    left_unknown, bounced_unknown = set(withdrawn.unmatched), set(bounced.unmatched)
    unmatched = Unmatched(
        [one for one in fresh if one.address in bounced_unknown],
        [replace(one, through=frozenset()) for one in unsubscribes if one.address in left_unknown],
    )
    state.feedback.commit(mandator, pending.read, before, unmatched, datetime.now(UTC))
    return Outcome(
        withdrawn.written + bounced.written,
        withdrawn.already_known + bounced.already_known + len(known),
        len(left_unknown | bounced_unknown),
    )


def _resolved(
    unsubscribes: Sequence[Unsubscribe],
    written_before: Mapping[tuple[str, datetime], frozenset[WrittenTo]],
    state: State,
    frames: Frames,
    lists_of: Callable[[RawRow | None], frozenset[int] | None] = lambda _: None,
) -> list[Unsubscribe]:
    """Each with the consents that it is about: those that it was found to be about before, if it was written before."""
    again = {one: written_before.get((one.address, one.occurred_at)) for one in unsubscribes}
    return [
        *(replace(one, through=through) for one, through in again.items() if through),
        *traced([one for one, through in again.items() if not through], state.history, frames, lists_of),
    ]


def _told_once(pending: Pending) -> list[Unsubscribe]:
    """Without those that another reader tells of as well, and by which mailing."""
    by_mailing = {(one.address, one.occurred_at) for one in pending.unsubscribes if one.raw in pending.mailings}
    return [
        one
        for one in pending.unsubscribes
        if one.raw in pending.mailings or (one.address, one.occurred_at) not in by_mailing
    ]


def hear(
    mandator: str,
    asked: Iterable[str],
    left: Collection[str],
    seen_at: datetime,
    source: str,
    crm: Crm,
    state: State,
    frames: Frames,
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

    Returns:
        Whose opt-outs were news.
    """
    told = state.unsubscribed.told(mandator)
    news = set(left) - told
    since = state.unsubscribed.seen(mandator, news, seen_at)  # the moment stays, should we die before the CRM is told
    opt_outs = [Unsubscribe(each, since[each], mandator, source, dated=False) for each in sorted(news)]
    written_before = state.written.consents(opt_outs)
    crm.record_unsubscribes(_resolved(opt_outs, written_before, state, frames), noting(state))
    state.unsubscribed.tell(mandator, news, seen_at)
    state.unsubscribed.remove(mandator, told.intersection(asked) - set(left))
    return news


def noting(state: State) -> Callable[[Sequence[Written]], None]:
    """Keeps a record of what the CRM has taken."""
    return lambda written: state.written.note(written, datetime.now(UTC))


def _lists_of_mailings(
    mailings: dict[RawRow, int], vendor: Callable[[], Optimizely]
) -> Callable[[RawRow | None], frozenset[int] | None]:
    """To which lists the mailing of a row went."""
    of_mailing = ListsOfMailings(vendor)

    def lists_of(raw: RawRow | None) -> frozenset[int] | None:
        mailing_id = mailings.get(raw) if raw else None
        return None if mailing_id is None else of_mailing(mailing_id)

    return lists_of
