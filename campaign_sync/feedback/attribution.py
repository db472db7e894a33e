"""Through which consents a recipient was written to, from our own snapshots."""

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
"""How far back somebody's lists are looked up. The vendor keeps feedback for at most 30 days, so all that can still be
told of falls into it."""

TOLERANCE = timedelta(hours=1)
"""Clocks differ: a list that we began to send so soon after somebody left, by the vendor's clock, may be what they
left."""


@dataclass(frozen=True, slots=True)
class _ListMembership:
    """Somebody in a list."""

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

    These are the consents of the lists that the recipient was in when they left, each as it was sent last. Where a
    snapshot of that time is gone, or the mailing went to lists that aren't ours, that is unknown, and `consents` stays
    empty. Of an unsubscribe that names an opt-in, only that opt-in's: by these a record is found whose address has
    changed since.

    Args:
        unsubscribes: of one mandator.
        history: which snapshots were sent when.
        frames: where they are kept.
        lists_of: to which recipient lists the mailing went that a row is about; None where that isn't known.

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
    """In which lists some recipients were, and when these were sent."""

    def __init__(self, by_recipient: Mapping[str, Sequence[_ListMembership]], lost: Sequence[SentList] = ()) -> None:
        self._by_recipient, self._lost = by_recipient, lost

    @classmethod
    def read(
        cls,
        mandator: str,
        people: Collection[tuple[str, datetime]],
        memory: timedelta,
        history: ReplacementHistory,
        frames: FileStorage,
    ) -> Self:
        """Look up in every list of a mandator, as it was sent up to so long before, what `consents_at` needs.

        Args:
            mandator: a key of the configuration.
            people: recipient ids, each with a moment.
            memory: how far back from the first moment, until right after the last one.
            history: which snapshots were sent when.
            frames: where they are kept.

        Raises:
            FileStorageError: the storage can't be read now.
        """
        moments: defaultdict[str, list[datetime]] = defaultdict(list)
        for recipient, moment in sorted(people):
            moments[recipient].append(moment)
        every = [moment for _, moment in people]
        lists = history.sent(mandator, min(every) - memory, max(every) + TOLERANCE) if every else []
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
        """Through which consents a recipient was written to before a moment: of each list as it was sent last.

        Of the given lists only, if there are any. Empty where nobody can tell. A list that we began to send within
        `tolerance` after that moment counts as well.
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
    """Add that somebody was in a list; forget that they were before, where it was sent again before any moment counts.

    Somebody is in the same lists day after day, and of each only one day matters to a moment. `moments` are sorted.
    """
    for position in reversed(range(len(sent))):
        before = sent[position]
        if before.recipient_list_id == new.recipient_list_id:
            first = bisect_left(moments, before.since - TOLERANCE)
            if first == len(moments) or moments[first] >= new.since:
                del sent[position]
            break
    sent.append(new)
