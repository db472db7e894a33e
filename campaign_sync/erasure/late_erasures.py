"""Erasures that have been pending for too long."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from campaign_sync.domain.erasure import Erasure
from campaign_sync.erasure.places import PlaceState
from campaign_sync.storage.state import State

_DONE_WITHIN: Final = timedelta(days=1)
"""How long an erasure may be pending: by then every list was replaced once."""

_TRIED_WITHIN: Final = timedelta(days=2)
"""How long it may be pending without having been tried again since `_DONE_WITHIN`."""


@dataclass(frozen=True)
class LateErasure:
    """An erasure that is late, with what the last attempt left pending."""

    erasure: Erasure
    places: Sequence[str]
    """Where the person still is; none if nothing has been tried yet."""
    checked_at: datetime | None
    """When that was so; None if nothing has been tried yet."""

    @property
    def since(self) -> datetime:
        """Since when it is late."""
        return self.erasure.erased_at + _DONE_WITHIN


def late_erasures(state: State, now: datetime) -> list[LateErasure]:
    """Return the erasures that an attempt found pending a day after they were recorded, oldest first.

    What is pending in the state may have been removed since the last attempt, as from a list that was replaced. So one
    that wasn't tried since is late only after another day.
    """
    pending = state.erasures.pending()
    places = [
        place
        for place in state.erasure_places.of([erasure.id for erasure in pending])
        if place.state == PlaceState.PENDING
    ]
    late = []
    for erasure in pending:
        left = [place for place in places if place.erasure_id == erasure.id]
        checked_at = max((place.checked_at for place in left), default=None)
        entry = LateErasure(erasure, sorted(place.place for place in left), checked_at)
        is_checked = checked_at is not None and checked_at > entry.since
        if is_checked or now > erasure.erased_at + _TRIED_WITHIN:
            late.append(entry)
    return late
