"""The consents on which recipients were written to, by the snapshots that were sent."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Self

from campaign_sync.domain.entity import Entity, EntityType
from campaign_sync.domain.feedback import Attribution, ConsentRef, RawRow, Unsubscribe
from campaign_sync.domain.recipient import RECIPIENT_ID
from campaign_sync.storage.files import FileStorage, LostFileError
from campaign_sync.storage.replacement_history import ReplacementHistory, SentList

ATTRIBUTION_PERIOD = timedelta(days=90)
"""How far back a recipient's lists are looked up. The vendor keeps feedback for at most 30 days, so every mailing that
it can still report on falls into this period."""

TOLERANCE = timedelta(hours=1)
"""Clocks differ: an unsubscribe may concern a list whose sending began, by the vendor's clock, up to this long after
it."""


@dataclass(frozen=True, slots=True)
class _ListMembership:
    """A recipient's membership in a list, as it was sent at one time."""

    since: datetime
    recipient_list_id: int
    consent: ConsentRef


def attribute_to_consents(
    unsubscribes: Sequence[Unsubscribe],
    history: ReplacementHistory,
    frames: FileStorage,
    lists_of: Callable[[RawRow | None], Collection[int] | None] = lambda _: None,
) -> list[Unsubscribe]:
    """Return the unsubscribes of one mandator, each with its `consents`.

    These are the consents of the lists that the recipient was in at the time of the unsubscribe, each list as it was
    sent last. `consents` stays empty where they can't be determined, because a snapshot of that time is gone or the
    mailing went to lists that aren't ours. An unsubscribe that names an opt-in gets that opt-in's consents only, which
    lead to records whose address has changed since.

    Args:
        unsubscribes: of one mandator.
        history: the snapshots that were sent, with their times.
        frames: the storage of the snapshots.
        lists_of: returns the recipient lists of the mailing that a row is about; None where they aren't known.

    Raises:
        FileStorageError: the storage can't be read now.
    """
    if not unsubscribes:
        return []
    people = [(unsubscribe.address, unsubscribe.occurred_at) for unsubscribe in unsubscribes]
    sent = DeliveryHistory.read(unsubscribes[0].mandator, people, ATTRIBUTION_PERIOD, history, frames)
    return [
        _attributed(unsubscribe, sent, None if unsubscribe.opt_in_id else lists_of(unsubscribe.raw))
        for unsubscribe in unsubscribes
    ]


def _attributed(unsubscribe: Unsubscribe, sent: "DeliveryHistory", list_ids: Collection[int] | None) -> Unsubscribe:
    consents = sent.consents_at(unsubscribe.address, unsubscribe.occurred_at, list_ids, TOLERANCE)
    if unsubscribe.opt_in_id:
        of_opt_in = frozenset(consent for consent in consents if consent.opt_in_id == unsubscribe.opt_in_id)
        return replace(unsubscribe, consents=of_opt_in)
    if not consents:
        return replace(unsubscribe, consents=consents, attribution=Attribution.MANDATOR)
    attribution = Attribution.SNAPSHOTS if list_ids is None else Attribution.MAILING
    return replace(unsubscribe, consents=consents, attribution=attribution)


class DeliveryHistory:
    """The lists that some recipients were in, and the times when these were sent."""

    def __init__(self, by_recipient: Mapping[str, Sequence[_ListMembership]], lost: Sequence[SentList] = ()) -> None:
        self._by_recipient, self._lost = by_recipient, lost

    @classmethod
    def read(
        cls,
        mandator: str,
        people: Collection[tuple[str, datetime]],
        period: timedelta,
        history: ReplacementHistory,
        frames: FileStorage,
    ) -> Self:
        """Look up recipients in every list of a mandator, as it was sent before the times of interest.

        Args:
            mandator: a key of the configuration.
            people: recipient ids, each with a time that `consents_at` will be asked about.
            period: how far back from the first time; the last time plus `TOLERANCE` is the end.
            history: the snapshots that were sent, with their times.
            frames: the storage of the snapshots.

        Raises:
            FileStorageError: the storage can't be read now.
        """
        moments: defaultdict[str, list[datetime]] = defaultdict(list)
        for recipient, moment in sorted(people):
            moments[recipient].append(moment)
        times = [moment for _, moment in people]
        lists = history.sent(mandator, min(times) - period, max(times) + TOLERANCE) if times else []
        memberships: defaultdict[str, list[_ListMembership]] = defaultdict(list)
        lost: list[SentList] = []
        known: dict[tuple[str, str, str], ConsentRef] = {}
        columns = [RECIPIENT_ID, "entity_type", "entity_id", "opt_in_id"]
        for sent_list in lists:
            try:
                rows = frames.read_frame(sent_list.file, sent_list.digest, columns)
            except LostFileError:
                lost.append(sent_list)
                continue
            rows = rows[rows[RECIPIENT_ID].isin(list(moments))]
            for recipient, *consent in rows.itertuples(index=False, name=None):
                entity_type, entity_id, opt_in_id = key = tuple(consent)
                if key not in known:  # the same people day after day
                    known[key] = ConsentRef(Entity(EntityType(entity_type), entity_id), opt_in_id)
                sent = _ListMembership(sent_list.started_at, sent_list.recipient_list_id, known[key])
                _add_membership(memberships[recipient], sent, moments[recipient])
        return cls(memberships, lost)

    def consents_at(
        self,
        recipient: str,
        moment: datetime,
        list_ids: Collection[int] | None,
        tolerance: timedelta = timedelta(0),
    ) -> frozenset[ConsentRef]:
        """Return the consents on which a recipient was written to before a time, of each list as it was sent last.

        Args:
            recipient: a recipient id.
            moment: the time.
            list_ids: the only recipient lists that count; None for all.
            tolerance: lists whose sending began up to this long after the time count as well.

        Returns:
            The consents; none where a snapshot that counts is gone.
        """

        def counts(list_id: int, since: datetime) -> bool:
            in_time = moment - ATTRIBUTION_PERIOD <= since <= moment + tolerance
            return in_time and (list_ids is None or list_id in list_ids)

        if any(counts(entry.recipient_list_id, entry.started_at) for entry in self._lost):
            return frozenset()
        sent = self._by_recipient.get(recipient, ())
        newest = {entry.recipient_list_id: entry for entry in sent if counts(entry.recipient_list_id, entry.since)}
        return frozenset(entry.consent for entry in newest.values())


def _add_membership(sent: list[_ListMembership], new: _ListMembership, moments: Sequence[datetime]) -> None:
    """Add a membership, and remove the one before in the same list if it matters to none of the times.

    Recipients are in the same lists day after day, and for each time only the last sending of a list counts. `moments`
    are sorted.
    """
    for position in reversed(range(len(sent))):
        before = sent[position]
        if before.recipient_list_id == new.recipient_list_id:
            first = bisect_left(moments, before.since - TOLERANCE)
            if first == len(moments) or moments[first] >= new.since:
                del sent[position]
            break
    sent.append(new)
