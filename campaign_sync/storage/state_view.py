"""What ticks of sensors read: the state of all mandators and lists at one moment."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine

from campaign_sync.domain.incident import Incident, Subject
from campaign_sync.storage.database import reading
from campaign_sync.storage.feedback_imports import read_watermarks
from campaign_sync.storage.incidents import read_open_incidents
from campaign_sync.storage.list_states import ListKey, ListState, read_list_states
from campaign_sync.storage.locks import ListLocks, LockHolders, read_holders

_UNKNOWN_LIST = ListState()


@dataclass(frozen=True)
class StateView:
    """The state of all mandators, including those without settings, at one moment.

    All parts agree with each other: a list that was proven is in no part incomplete, and the lock of an incomplete
    list is in `locks.living` unless its process was gone before that moment. They don't agree with what Dagster says of
    runs: ask it first, so that a run that ended meanwhile counts as under way.
    """

    lists: Mapping[ListKey, ListState]
    locks: LockHolders
    incidents: Mapping[str, Mapping[Subject, Incident]]
    """The open incidents, by mandator and subject."""
    watermarks: Mapping[str, Mapping[str, datetime]]
    """Up to which moment the feedback of each mandator's readers has reached the CRM; absent if never."""

    def of_list(self, mandator: str, name: str) -> ListState:
        """Return the state of a list."""
        return self.lists.get((mandator, name), _UNKNOWN_LIST)

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
            locks=read_holders(connection, expired),
            incidents=read_open_incidents(connection),
            watermarks=read_watermarks(connection),
        )
