"""The people of picks that were copied."""

from typing import Any

from sqlalchemy import FromClause, column, select, table

from campaign_sync.crm.mirror.base import PICK_COLUMNS, pick_digest, pick_table
from campaign_sync.crm.mirror.source import MEMBER_COLUMNS
from campaign_sync.crm.port import CrmError, CrmSetupError, Pick
from campaign_sync.crm.sql.consent_table import entity_type_of, is_one_of
from campaign_sync.crm.sql.picks import PeopleOfType, PickedPeople, PickReader, pick_title
from campaign_sync.crm.sql.reader import SqlReader
from campaign_sync.domain.entity import EntityType

_PICK = table("pick", *map(column, PICK_COLUMNS))


class CopiedPicks:
    """Implements `PickFinder` on a copy.

    Args:
        reader: reads the copy.
    """

    def __init__(self, reader: SqlReader) -> None:
        self._reader = reader

    def find(self, pick: Pick) -> PickedPeople:
        """Return the people of a pick, by type and then by id.

        Raises:
            CrmError: the CRM didn't yield it, or no list names it.
        """
        if pick.kind == "filter":
            return PickReader(self._reader).find(pick)
        title = pick_title(pick)
        query = select(_PICK).where(_PICK.c.digest == pick_digest(pick))
        for row in self._reader.rows(query, f"looking for the {title}"):
            if row.problem is not None:
                raise (CrmError if row.retryable else CrmSetupError)(row.problem)
            return self._people(title, self._reader.table(pick_table(row.number)), entity_type_of(row.entity_type))
        raise CrmError(f"the local copy of the CRM doesn't have the {title}: no list of the configuration names it")

    def _people(self, title: str, members: FromClause, only: EntityType | None) -> PickedPeople:
        kind = members.c.entity_type
        stored = self._reader.rows(select(kind).distinct(), f"reading the {title}")
        by_type: dict[EntityType | None, list[Any]] = {}
        for (raw,) in stored:
            by_type.setdefault(entity_type_of(raw), []).append(raw)
        types = [entity_type for entity_type in EntityType if entity_type in by_type]
        people = [
            self._of_type(entity_type, members, by_type.get(entity_type, []))
            for entity_type in types or self._possible_types(only)
        ]
        unmatched = select(kind, members.c.entity_id).where(is_one_of(kind, by_type.get(None, [])))
        return PickedPeople(people, unmatched.order_by(kind, members.c.entity_id) if None in by_type else None)

    def _possible_types(self, only: EntityType | None) -> list[EntityType]:
        """Return the types whose columns a pick without members offers."""
        if only is not None:
            return [only]
        return [
            entity_type
            for entity_type in EntityType
            if self._reader.rows(select(self._reader.table(entity_type.value).c.id).limit(1), "reading people")
        ] or list(EntityType)

    def _of_type(self, entity_type: EntityType, members: FromClause, spellings: list[Any]) -> PeopleOfType:
        entity = self._reader.with_clean_key(self._reader.table(entity_type.value), "id", unique=True)
        cleaned = self._reader.with_clean_key(members, "entity_id")
        own = [own_column for own_column in cleaned.c if own_column.name not in MEMBER_COLUMNS]
        query = select(cleaned.c.entity_id, *own).where(is_one_of(cleaned.c.entity_type, spellings))
        return PeopleOfType(entity_type, entity, (query if own else query.distinct()).subquery("picked"))
