"""Gives the CRM what the vendor told, and keeps a record of every entry that this made."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from campaign_sync.crm.port import Crm
from campaign_sync.domain.feedback import RawRow, Unsubscribe, Written
from campaign_sync.feedback.mailings import ListsOfMailings
from campaign_sync.feedback.reading import Pending
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
    mandator: str, pending: Pending, crm: Crm, state: State, frames: Frames, vendor: Callable[[], Optimizely]
) -> Outcome:
    """Give the CRM everything pending, and everybody it couldn't match before; only then move the watermark.

    A bounce that was written once isn't written again: if the CRM lacks it by now, somebody there has reset it. An
    unsubscribe that was written once stays about the consents that it was about then.

    Raises:
        CrmError, FrameError, StateError: one of them fails. Repeat it; what is there already isn't written twice.
    """
    before = state.feedback.unmatched(mandator)
    bounces = [*pending.bounces, *before.bounces]
    known = state.written.known(bounces)
    fresh = [one for one in bounces if one not in known]
    told = _told_once(pending)
    written_before = state.written.consents(told)
    again = [one for one in told if (one.address, one.occurred_at) in written_before]
    first = [one for one in told if (one.address, one.occurred_at) not in written_before]
    strangers = set(before.unsubscribes)
    state.unsubscribed.add(mandator, [one.address for one in first if one not in strangers], datetime.now(UTC))
    unsubscribes = [
        *(replace(one, through=written_before[one.address, one.occurred_at]) for one in again),
        *traced(first, state.history, frames, _lists_of_mailings(pending.mailings, vendor)),
        *(one for one in before.unsubscribes if one not in set(told)),
    ]
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
    asked: Collection[str],
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
    known = state.unsubscribed.all(mandator)
    news = set(left) - known
    opt_outs = [Unsubscribe(each, seen_at, mandator, source, dated=False) for each in sorted(news)]
    crm.record_unsubscribes(traced(opt_outs, state.history, frames), noting(state))
    state.unsubscribed.add(mandator, news, seen_at)
    state.unsubscribed.remove(mandator, (known & set(asked)) - set(left))
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
