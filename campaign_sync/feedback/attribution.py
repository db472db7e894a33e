"""The consents on which recipients were written to, by the snapshots that were sent."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import chain
from types import MappingProxyType
from typing import Any, Self

import numpy as np

from campaign_sync.domain.entity import Entity, EntityType
from campaign_sync.domain.feedback import Attribution, ConsentRef, RawRow, Unsubscribe
from campaign_sync.domain.recipient import RECIPIENT_ID
from campaign_sync.feedback.sent_people import SentPeople, SentPeopleIndex, decisive
from campaign_sync.storage.files import FileStorage, LostFileError
from campaign_sync.storage.replacement_history import SentList
from campaign_sync.storage.state import State

ATTRIBUTION_PERIOD = timedelta(days=90)
"""How far back a recipient's lists are looked up. The vendor keeps feedback for at most 30 days, so every mailing that
it can still report on falls into this period."""

TOLERANCE = timedelta(hours=1)
"""Clocks differ: an unsubscribe may concern a list whose sending began, by the vendor's clock, up to this long after
it."""


_COLUMNS = [RECIPIENT_ID, "entity_type", "entity_id", "opt_in_id"]

_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class _ListMembership:
    """A recipient's membership in a list, as it was sent at one time."""

    since: datetime
    recipient_list_id: int
    consent: ConsentRef


def attribute_to_consents(
    unsubscribes: Sequence[Unsubscribe],
    state: State,
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
        state: knows the snapshots that were sent, and when.
        frames: the storage of the snapshots.
        lists_of: returns the recipient lists of the mailing that a row is about; None where they aren't known.

    Raises:
        FileStorageError: the storage can't be read now.
    """
    if not unsubscribes:
        return []
    lists = [None if unsubscribe.opt_in_id else lists_of(unsubscribe.raw) for unsubscribe in unsubscribes]
    concerned = None if None in lists else frozenset[int]().union(*(list_ids or () for list_ids in lists))
    people = [(unsubscribe.address, unsubscribe.occurred_at) for unsubscribe in unsubscribes]
    sent = DeliveryHistory.read(unsubscribes[0].mandator, people, ATTRIBUTION_PERIOD, state, frames, concerned)
    return [_attributed(unsubscribe, sent, list_ids) for unsubscribe, list_ids in zip(unsubscribes, lists, strict=True)]


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

    def __init__(
        self,
        by_recipient: Mapping[str, Sequence[_ListMembership]],
        lost: Sequence[SentList] = (),
        lost_of: Mapping[str, Sequence[SentList]] = MappingProxyType({}),
    ) -> None:
        self._by_recipient, self._lost, self._lost_of = by_recipient, lost, lost_of

    @classmethod
    def read(
        cls,
        mandator: str,
        people: Collection[tuple[str, datetime]],
        period: timedelta,
        state: State,
        frames: FileStorage,
        list_ids: Collection[int] | None = None,
    ) -> Self:
        """Look up recipients in every list of a mandator, as it was sent before the times of interest.

        Only those snapshots are read that decide about one of the recipients; an index knows which these are.

        Args:
            mandator: a key of the configuration.
            people: recipient ids, each with a time that `consents_at` will be asked about.
            period: how far back from the first time; the last time plus `TOLERANCE` is the end.
            state: knows the snapshots that were sent, and when.
            frames: the storage of the snapshots.
            list_ids: the only recipient lists that `consents_at` will be asked about; None for all.

        Raises:
            FileStorageError: the storage can't be read now.
        """
        times = [moment for _, moment in people]
        lists = (
            state.replacement_history.sent(mandator, min(times) - period, max(times) + TOLERANCE)
            if times and (list_ids is None or list_ids)
            else []
        )
        by_list: defaultdict[int, list[SentList]] = defaultdict(list)
        for sent_list in lists:
            if list_ids is None or sent_list.recipient_list_id in list_ids:
                by_list[sent_list.recipient_list_id].append(sent_list)
        if not by_list:
            return cls({})
        index = SentPeopleIndex(mandator, frames, state.pseudonyms.derived_key("sent people"))
        questions = _Questions(people, index)
        memberships: defaultdict[str, list[_ListMembership]] = defaultdict(list)
        lost: list[SentList] = []
        lost_of: defaultdict[str, list[SentList]] = defaultdict(list)
        known: dict[tuple[str, str, str], ConsentRef] = {}
        for list_id, sent in by_list.items():
            indexed = index.of_list(list_id, sent)
            lost += [sent_list for sent_list in sent if sent_list.digest not in indexed.snapshots]
            for sent_list, recipients in questions.decided_by(sent, indexed):
                missing = set(recipients)
                for recipient, *consent in _rows_of(sent_list, recipients, frames):
                    entity_type, entity_id, opt_in_id = key = tuple(consent)
                    if key not in known:  # the same people day after day
                        known[key] = ConsentRef(Entity(EntityType(entity_type), entity_id), opt_in_id)
                    membership = _ListMembership(sent_list.started_at, list_id, known[key])
                    memberships[recipient].append(membership)
                    missing.discard(recipient)
                for recipient in missing:  # the file is gone
                    lost_of[recipient].append(sent_list)
        return cls(memberships, lost, lost_of)

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

        lost = chain(self._lost, self._lost_of.get(recipient, ()))
        if any(counts(entry.recipient_list_id, entry.started_at) for entry in lost):
            return frozenset()
        sent = self._by_recipient.get(recipient, ())
        newest = {entry.recipient_list_id: entry for entry in sent if counts(entry.recipient_list_id, entry.since)}
        return frozenset(entry.consent for entry in newest.values())


class _Questions:
    """The recipients and times that are looked up in the lists."""

    def __init__(self, people: Collection[tuple[str, datetime]], index: SentPeopleIndex) -> None:
        self._recipients = sorted({recipient for recipient, _ in people})
        self._hashes = index.hashes(self._recipients)
        rows = {recipient: row for row, recipient in enumerate(self._recipients)}
        asked = {(rows[recipient], _microseconds(moment)) for recipient, moment in people}
        self._rows = np.array([row for row, _ in asked], np.intp)
        self._moments = np.array([moment for _, moment in asked], np.int64)

    def decided_by(self, sent: Sequence[SentList], index: SentPeople) -> Iterator[tuple[SentList, list[str]]]:
        """Yield the snapshots of a list, oldest first, that decide about a recipient, each with these recipients."""
        indexed = [sent_list for sent_list in sent if sent_list.digest in index.snapshots]
        having = index.having(self._hashes, [sent_list.digest for sent_list in indexed])
        sent_at = np.array([_microseconds(sent_list.started_at) for sent_list in indexed], np.int64)
        shifts = (0, TOLERANCE // _MICROSECOND)
        for position, rows in decisive(having, sent_at, (self._rows, self._moments), shifts):
            yield indexed[position], [self._recipients[row] for row in rows]


def _rows_of(sent_list: SentList, recipients: Sequence[str], frames: FileStorage) -> Iterator[tuple[Any, ...]]:
    """Yield recipient id, entity type, entity id and opt-in of these recipients; nothing if the file is gone."""
    try:
        rows = frames.read_frame(sent_list.file, sent_list.digest, _COLUMNS)
    except LostFileError:
        return
    yield from rows[rows[RECIPIENT_ID].isin(recipients)].itertuples(index=False, name=None)


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND
