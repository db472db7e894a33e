"""What decides about the consents of single records in a copy, and whether it is a state or an event of the CRM."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Self

from sqlalchemy import Connection, column, select, table

from campaign_sync.crm.sql.chunks import by_type
from campaign_sync.crm.sql.consent_table import ConsentTable
from campaign_sync.crm.sql.consents import ConsentReader
from campaign_sync.crm.sql.reader import SqlReader
from campaign_sync.domain.consent import (
    GRANTING,
    ConsentEvent,
    ConsentKind,
    ConsentWords,
    current_consent,
    normalize_word,
)
from campaign_sync.domain.entity import Entity

_EVENTS = table("consent_event", *map(column, ("id", "entity_type", "entity_id", "from_state")))


@dataclass(frozen=True)
class CurrentConsents:
    """The consents of some records."""

    events: Mapping[tuple[Entity, str], Sequence[ConsentEvent]]
    """By record and normalized opt-in id."""
    state_ids: Collection[str]
    """The ids of the events that states mean."""
    opt_ins: Collection[str] = field(default_factory=frozenset)
    """The normalized ids of all opt-ins."""

    @classmethod
    def read(cls, connection: Connection, words: ConsentWords, entities: Collection[Entity], now: datetime) -> Self:
        """Read the consents of these records."""
        consents = ConsentTable(SqlReader(connection), words, now)
        events = {
            (entity, normalize_word(opt_in_id)): group
            for entity, by_opt_in in ConsentReader(consents).histories(entities).items()
            for opt_in_id, group in by_opt_in.items()
        }
        state_ids = {
            row.id
            for entity_type, ids in by_type(entities)
            for row in connection.execute(
                select(_EVENTS.c.id).where(
                    _EVENTS.c.from_state == 1,
                    _EVENTS.c.entity_type == entity_type.value,
                    _EVENTS.c.entity_id.in_(ids),
                )
            )
        }
        return cls(events, state_ids, frozenset(consents.definitions))

    def knows(self, event_id: str, entity: Entity, opt_in_id: str, withdrawn_at: datetime) -> bool:
        """Return whether the CRM shows a withdrawal, or something that supersedes it.

        It does by the event itself, by a state that says withdrawn, and by a grant that is newer.
        """
        events = self.events.get((entity, normalize_word(opt_in_id)), ())
        deciding = current_consent(events)
        return (
            any(event.event_id == event_id for event in events)
            or self._is_withdrawn_state(deciding)
            or self._is_grant_since(deciding, withdrawn_at)
        )

    def need_no(self, entity: Entity, opt_in_id: str, withdrawn_at: datetime) -> bool:
        """Return whether a CRM that keeps states needs no withdrawal of this time: its own state says more."""
        deciding = current_consent(self.events.get((entity, normalize_word(opt_in_id)), ()))
        return self._is_withdrawn_state(deciding) or (
            deciding is not None
            and deciding.event_id in self.state_ids
            and self._is_grant_since(deciding, withdrawn_at)
        )

    def show_withdrawn(self, entity: Entity, opt_in_id: str) -> bool:
        """Return whether a state of the CRM says withdrawn, and decides."""
        return self._is_withdrawn_state(current_consent(self.events.get((entity, normalize_word(opt_in_id)), ())))

    def _is_withdrawn_state(self, event: ConsentEvent | None) -> bool:
        return event is not None and event.kind is ConsentKind.WITHDRAWN and event.event_id in self.state_ids

    def _is_grant_since(self, event: ConsentEvent | None, moment: datetime) -> bool:
        return event is not None and event.kind in GRANTING and event.occurred_at > moment
