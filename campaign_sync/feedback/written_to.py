"""Through which consents a recipient was written to, from our own snapshots."""

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from campaign_sync.domain.entity import Entity, EntityType
from campaign_sync.domain.feedback import RawRow, Unsubscribe, WrittenTo
from campaign_sync.domain.recipient import RECIPIENT_ID
from campaign_sync.state.frames import FrameError, Frames
from campaign_sync.state.history import History

MEMORY = timedelta(days=90)
"""How far back somebody's lists are looked up. The vendor keeps feedback for at most 30 days, so all that can still be
told of falls into it."""


@dataclass(frozen=True)
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
    moments = [one.occurred_at for one in unsubscribes]
    try:
        sent = _sent(
            unsubscribes[0].mandator, {one.address for one in unsubscribes}, history, frames, min(moments), max(moments)
        )
    except FrameError:
        return list(unsubscribes)
    return [replace(one, through=_through(one, sent[one.address], lists_of(one.raw))) for one in unsubscribes]


def _through(unsubscribe: Unsubscribe, sent: Sequence[_Sent], list_ids: Collection[int] | None) -> frozenset[WrittenTo]:
    left = unsubscribe.occurred_at
    before = [one for one in sent if left - MEMORY <= one.since <= left]
    by_mailing = [one for one in before if list_ids is not None and one.recipient_list_id in list_ids]
    return frozenset(one.through for one in by_mailing or before)


def _sent(
    mandator: str, recipients: Collection[str], history: History, frames: Frames, first: datetime, last: datetime
) -> defaultdict[str, list[_Sent]]:
    """By recipient id, in which lists they were."""
    found: defaultdict[str, list[_Sent]] = defaultdict(list)
    columns = [RECIPIENT_ID, "entity_type", "entity_id", "opt_in_id"]
    for one in history.sent(mandator, first - MEMORY, last):
        rows = frames.read_frame(one.file, one.digest, columns)
        rows = rows[rows[RECIPIENT_ID].isin(recipients)]
        for recipient, entity_type, entity_id, opt_in_id in rows.itertuples(index=False, name=None):
            through = WrittenTo(Entity(EntityType(entity_type), entity_id), opt_in_id)
            found[recipient].append(_Sent(one.started_at, one.recipient_list_id, through))
    return found
