"""Gives the CRM what the vendor told, and keeps a record of every entry that this made."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
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

    A bounce that was written once isn't written again: if the CRM lacks it by now, somebody there has reset it.

    Raises:
        CrmError, StateError: one of them can't be written to. Repeat it; what is there already isn't written twice.
    """
    before = state.feedback.unmatched(mandator)
    bounces = [*pending.bounces, *before.bounces]
    known = state.written.known(bounces)
    fresh = [one for one in bounces if one not in known]
    reported = [*pending.unsubscribes, *before.unsubscribes]
    unsubscribes = traced(reported, state.history, frames, _lists_of_mailings(pending.mailings, vendor))
    note = noting(state)
    withdrawn, bounced = crm.record_unsubscribes(unsubscribes, note), crm.record_bounces(fresh, note)
    left_unknown, bounced_unknown = set(withdrawn.unmatched), set(bounced.unmatched)
    unmatched = Unmatched(
        [one for one in fresh if one.address in bounced_unknown],
        [one for one in reported if one.address in left_unknown],
    )
    state.feedback.commit(mandator, pending.misfits, before, unmatched, datetime.now(UTC))
    return Outcome(
        withdrawn.written + bounced.written,
        withdrawn.already_known + bounced.already_known + len(known),
        len(left_unknown | bounced_unknown),
    )


def withdraw(unsubscribes: Sequence[Unsubscribe], crm: Crm, state: State, frames: Frames) -> int:
    """Withdraw the consents of people whom a look at the vendor's unsubscribe list brought to light; how many."""
    return crm.record_unsubscribes(traced(unsubscribes, state.history, frames), noting(state)).written


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
