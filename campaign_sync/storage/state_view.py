"""What ticks of sensors read: the state of all mandators and lists at one moment."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Engine

from campaign_sync.domain.incident import Incident, Subject
from campaign_sync.storage.database import reading
from campaign_sync.storage.feedback_imports import read_watermarks
from campaign_sync.storage.incidents import read_open_incidents
from campaign_sync.storage.list_states import (
    ListKey,
    ListState,
    VendorListKey,
    read_list_states,
    read_partial_fills,
)
from campaign_sync.storage.locks import ListLocks, LockHolders, read_holders
from campaign_sync.storage.recipient_lists import PartialFill
from campaign_sync.storage.replacements import Replacement

_UNKNOWN_LIST = ListState()


@dataclass(frozen=True)
class StateView:
    """The state of all mandators, including those without settings, at one moment.

    All parts agree with each other: a list that was proven is in no part incomplete, and the lock of an incomplete
    list is in `locks.living` unless its process was gone before that moment. They don't agree with what Dagster says of
    runs: ask it first, so that a run that ended meanwhile counts as under way.
    """

    lists: Mapping[VendorListKey, ListState]
    partial_fills: Mapping[ListKey, PartialFill]
    """What seems half full although no replacement left it so."""
    locks: LockHolders
    incidents: Mapping[str, Mapping[Subject, Incident]]
    """The open incidents, by mandator and subject."""
    watermarks: Mapping[str, Mapping[str, datetime]]
    """Up to which moment the feedback of each mandator's readers has reached the CRM; absent if never."""

    def of_list(self, mandator: str, name: str, recipient_list_id: int | None = None) -> ListState:
        """Return the state of a list at the vendor; of the one that was replaced last under that name without an id.

        The configuration may have named another list at the vendor before, and what is known of that isn't of this one.
        """
        if recipient_list_id is None:
            states = self._of_name(mandator, name)
            state = max(states, key=lambda state: state.since_proof[-1].started_at, default=_UNKNOWN_LIST)
        else:
            state = self.lists.get((mandator, name, recipient_list_id), _UNKNOWN_LIST)
        fill = self.partial_fills.get((mandator, name))
        is_of_list = fill is not None and (recipient_list_id is None or fill.is_of(recipient_list_id))
        return replace(state, partial_fill=fill) if is_of_list else state

    def left_incomplete(self, mandator: str) -> list[Replacement]:
        """Return the replacements that left a list at the vendor incomplete that wasn't proven since, oldest first.

        Also of lists that the configuration doesn't name any more.
        """
        unfinished = [
            state.incomplete
            for (of_mandator, _, _), state in self.lists.items()
            if of_mandator == mandator and state.incomplete and not state.proven_elsewhere
        ]
        return sorted(unfinished, key=lambda replacement: replacement.started_at)

    def was_other_list(self, mandator: str, name: str, recipient_list_id: int) -> bool:
        """Return whether all that was replaced under that name is another list at the vendor."""
        states = self._of_name(mandator, name)
        return bool(states) and (mandator, name, recipient_list_id) not in self.lists

    def _of_name(self, mandator: str, name: str) -> list[ListState]:
        return [
            state for (of_mandator, called, _), state in self.lists.items() if (of_mandator, called) == (mandator, name)
        ]

    def open_incidents(self, mandator: str) -> Mapping[Subject, Incident]:
        """Return the open incidents of a mandator by their subject."""
        return self.incidents.get(mandator, {})

    def feedback_until(self, mandator: str) -> Mapping[str, datetime]:
        """Return up to which moment the feedback of each reader has reached the CRM; a reader is absent if never."""
        return self.watermarks.get(mandator, {})


def read_view(engine: Engine, locks: ListLocks) -> StateView:
    """Return the state of all mandators, in a number of statements that doesn't depend on what there is."""
    expired = locks.expired()
    with reading(engine) as connection:
        return StateView(
            lists=read_list_states(connection),
            partial_fills=read_partial_fills(connection),
            locks=read_holders(connection, expired),
            incidents=read_open_incidents(connection),
            watermarks=read_watermarks(connection),
        )
