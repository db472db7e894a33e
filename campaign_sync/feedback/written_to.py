"""Through which consents a recipient was written to, from our own snapshots."""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Self

from campaign_sync.domain.entity import Entity, EntityType
from campaign_sync.domain.feedback import RawRow, Unsubscribe, WrittenTo
from campaign_sync.domain.recipient import RECIPIENT_ID
from campaign_sync.state.frames import FrameError, Frames
from campaign_sync.state.history import History

MEMORY = timedelta(days=90)
"""How far back somebody's lists are looked up. The vendor keeps feedback for at most 30 days, so all that can still be
told of falls into it."""


@dataclass(frozen=True, slots=True)
class _Sent:
    """Somebody in a list."""

    since: datetime
    recipient_list_id: int
    through: WrittenTo


def traced(
    unsubscribes: Sequence[Unsubscribe],
    history: History,
    frames: Frames,
    lists_of: Callable[[RawRow | None], Collection[int] | None] = lambda _: None,
) -> list[Unsubscribe]:
    """The unsubscribes of one mandator, each with the consents that it is `through`.

    These are the consents of the lists that the recipient was in when they left. Only what had been sent before counts,
    so the answer stays the same whenever it is asked for. Where a snapshot can't be read any more, nobody can tell, and
    `through` stays empty.

    Args:
        unsubscribes: of one mandator.
        history: which snapshots were sent when.
        frames: where they are kept.
        lists_of: to which recipient lists the mailing went that a row is about; None where that isn't known.
    """
    if not unsubscribes:
        return []
    people = {one.address for one in unsubscribes}
    moments = [one.occurred_at for one in unsubscribes]
    try:
        sent = Sent.read(unsubscribes[0].mandator, people, min(moments) - MEMORY, max(moments), history, frames)
    except FrameError:
        return list(unsubscribes)
    return [replace(one, through=sent.through(one.address, one.occurred_at, lists_of(one.raw))) for one in unsubscribes]


class Sent:
    """In which lists some recipients were, and when these were sent."""

    def __init__(self, by_recipient: Mapping[str, Sequence[_Sent]]) -> None:
        self._by_recipient = by_recipient

    @classmethod
    def read(
        cls,
        mandator: str,
        recipients: Collection[str],
        since: datetime,
        until: datetime,
        history: History,
        frames: Frames,
    ) -> Self:
        """Look recipient ids up in every list of a mandator that was sent in that time.

        Raises:
            FrameError: a snapshot can't be read any more.
        """
        found: defaultdict[str, list[_Sent]] = defaultdict(list)
        known: dict[tuple[str, str, str], WrittenTo] = {}
        columns = [RECIPIENT_ID, "entity_type", "entity_id", "opt_in_id"]
        for one in history.sent(mandator, since, until) if recipients else ():
            rows = frames.read_frame(one.file, one.digest, columns)
            rows = rows[rows[RECIPIENT_ID].isin(recipients)]
            for recipient, *consent in rows.itertuples(index=False, name=None):
                entity_type, entity_id, opt_in_id = key = tuple(consent)
                if key not in known:  # the same people day after day
                    known[key] = WrittenTo(Entity(EntityType(entity_type), entity_id), opt_in_id)
                found[recipient].append(_Sent(one.started_at, one.recipient_list_id, known[key]))
        return cls(found)

    def through(self, recipient: str, moment: datetime, list_ids: Collection[int] | None) -> frozenset[WrittenTo]:
        """Through which consents a recipient may have been written to before a moment.

        These are the consents of the given lists, where the recipient was in one of them, else of every list.
        """
        return frozenset(one.through for one in self._before(recipient, moment, list_ids))

    def lately_through(
        self, recipient: str, moment: datetime, list_ids: Collection[int] | None
    ) -> frozenset[WrittenTo]:
        """The same, but of each list only as it was sent last before that moment with the recipient in it."""
        newest = {one.recipient_list_id: one for one in self._before(recipient, moment, list_ids)}
        return frozenset(one.through for one in newest.values())

    def _before(self, recipient: str, moment: datetime, list_ids: Collection[int] | None) -> list[_Sent]:
        """Oldest first."""
        before = [one for one in self._by_recipient.get(recipient, ()) if moment - MEMORY <= one.since <= moment]
        by_list = [one for one in before if list_ids is not None and one.recipient_list_id in list_ids]
        return by_list or before
