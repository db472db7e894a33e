"""The people of marketing lists, reports, queries and filters of a CRM in a SQL database."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Protocol

from sqlalchemy import ColumnElement, FromClause, Select, String, column, null, select, text, type_coerce

from campaign_sync.crm.port import CrmError, Pick
from campaign_sync.crm.sql.consent_table import entity_type_of
from campaign_sync.crm.sql.query_text import strip_query_end
from campaign_sync.crm.sql.reader import AnyRow, SqlReader
from campaign_sync.crm.sql.schema import marketing_list, marketing_list_member, report
from campaign_sync.domain.consent import normalize_word
from campaign_sync.domain.entity import EntityType
from campaign_sync.domain.text import normalize_text

_NOT_TEXT = {16: "boolean", 20: "bigint", 21: "smallint", 23: "integer", 700: "real", 701: "double precision"} | {
    1082: "date",
    1114: "timestamp",
    1184: "timestamptz",
    1700: "numeric",
    2950: "uuid",
}
"""PostgreSQL's numbers for types that aren't text (pg_type.oid, which never changes for these)."""


@dataclass(frozen=True)
class PeopleOfType:
    """The people of one entity type in a pick, by `entity_id`, and their records."""

    entity_type: EntityType
    entity: FromClause
    picked: FromClause

    @property
    def columns(self) -> dict[str, ColumnElement[Any]]:
        """The columns by name; a report's own column takes precedence over the entity's."""
        return {**dict(self.entity.c.items()), **dict(self.picked.c.items())}


@dataclass(frozen=True)
class PickedPeople:
    """The people of a pick."""

    people: list[PeopleOfType]
    unmatched: Select[Any] | None = None
    """Members of a static list without a valid entity type: `entity_type` as it is stored, and `entity_id`."""


class PickFinder(Protocol):
    """Finds the people of picks."""

    def find(self, pick: Pick) -> PickedPeople:
        """Return the people of a pick.

        Raises:
            CrmError: the CRM has no such pick, or its definition can't be used.
        """


class PickReader:
    """Reads marketing lists, reports, and what queries and filters are about.

    Args:
        reader: reads the CRM.
    """

    def __init__(self, reader: SqlReader) -> None:
        self._reader = reader

    def find(self, pick: Pick) -> PickedPeople:
        """Return the people of a pick; of a filter all records, which its condition is applied to when they are read.

        Raises:
            CrmError: the CRM has no such pick.
            CrmError: its definition can't be used.
        """
        if pick.kind == "filter":
            return PickedPeople([self._of_filter(_entity_type(pick.entity_type, "entity_type of the filter"))])
        if pick.kind == "query":
            entity_type = _entity_type(pick.entity_type, "entity_type of the query")
            return PickedPeople([self._of_query(pick.name, entity_type, f"the {pick_title(pick)}", "the query")])
        definition = marketing_list if pick.kind == "marketing_list" else report
        names = self._reader.rows(select(definition), f"reading {definition.name}")
        matches = [row for row in names if normalize_text(str(row.name)) == normalize_text(pick.name)]
        if len(matches) != 1:
            known = sorted(repr(str(row.name).strip()) for row in names)
            raise CrmError(
                f"the CRM has {'no' if not matches else len(matches)} {pick_title(pick)} ({definition.name}.name); "
                f"it has {', '.join(known) or 'none at all'}"
            )
        if definition is report:
            return PickedPeople([self._of_report(matches[0])])
        kind = normalize_word(matches[0].kind)
        if kind == "static":
            return self._of_static_list(matches[0])
        if kind == "dynamic":
            return PickedPeople([self._of_dynamic_list(matches[0])])
        raise CrmError(f"marketing_list.kind of the {pick_title(pick)} must be static or dynamic")

    def _of_report(self, definition: AnyRow) -> PeopleOfType:
        view_name = str(definition.view_name).strip()
        view = self._reader.table(view_name, f"view_name of the report {definition.name!r}")
        key = next((view.c[name] for name in ("entity_id", "id") if name in view.c), None)
        if key is None:
            raise CrmError(f"{view_name} (report {definition.name!r}) needs a column entity_id or id")
        others = [view_column for view_column in view.c if view_column.name != "entity_id"]
        entity_type = _entity_type(definition.entity_type, f"entity_type of the report {definition.name!r}")
        self._require_text(select(key), f"{view_name}.{key.name}", f"the report {definition.name!r}")
        cleaned = self._reader.clean_key(key).label("entity_id")
        return self._people(entity_type, select(cleaned, *others).subquery("picked"))

    def _of_static_list(self, definition: AnyRow) -> PickedPeople:
        member = marketing_list_member
        members = select(member).where(member.c.marketing_list_id == definition.id)
        stored_types = self._reader.rows(members.with_only_columns(member.c.entity_type).distinct(), "reading members")
        by_type = {
            entity_type: [row[0] for row in stored_types if entity_type_of(row[0]) is entity_type]
            for entity_type in (None, *EntityType)
        }
        only = entity_type_of(definition.entity_type)
        empty = [self._people(entity_type, _empty_pick()) for entity_type in EntityType if only in (None, entity_type)]
        keys = members.with_only_columns(member.c.entity_id)
        has_plain_keys = self._reader.is_key(member.name, (column.name for column in member.primary_key)) and not (
            self._reader.rows(keys.where(self._reader.may_be_odd(member.c.entity_id)).limit(1), "reading members")
        )
        # As an expression, so that ids are compared by the collation of the table that they are joined with.
        plain = members.with_only_columns(type_coerce(member.c.entity_id, String).label("entity_id"))
        ids = members.with_only_columns(self._reader.clean_key(member.c.entity_id).label("entity_id")).distinct()
        unmatched = members.with_only_columns(member.c.entity_type, member.c.entity_id).where(
            member.c.entity_type.is_(None)
            | member.c.entity_type.in_([entity_type for entity_type in by_type[None] if entity_type is not None])
        )
        people = [
            self._people(
                entity_type,
                # DISTINCT would lose the order of the primary key's index.
                (plain if has_plain_keys and len(spellings) == 1 else ids)
                .where(member.c.entity_type.in_(spellings))
                .subquery("picked"),
            )
            for entity_type in EntityType
            if (spellings := by_type[entity_type])
        ]
        return PickedPeople(
            people or empty, unmatched.order_by(*member.c["entity_type", "entity_id"]) if by_type[None] else None
        )

    def _of_dynamic_list(self, definition: AnyRow) -> PeopleOfType:
        entity_type = _entity_type(definition.entity_type, f"entity_type of the dynamic list {definition.name!r}")
        title = f"the marketing list {definition.name!r}"
        return self._of_query(definition.query or "", entity_type, title, f"marketing_list.query of {title}")

    def _of_query(self, query: str, entity_type: EntityType, title: str, where: str) -> PeopleOfType:
        query = strip_query_end(query).strip()
        if not query:
            raise CrmError(f"{where} is empty; write a SELECT that yields entity_id")
        # The query is trusted: only users who can write to the CRM's tables, or the configuration, write it. Colons in
        # it aren't parameters.
        statement = text(query.replace(":", "\\:") + "\n")
        picked = statement.columns(column("entity_id", String)).subquery("query")
        self._require_text(select(picked.c.entity_id), "entity_id", title)
        cleaned = self._reader.clean_key(picked.c.entity_id).label("entity_id")
        return self._people(entity_type, select(cleaned).distinct().subquery("picked"))

    def _of_filter(self, entity_type: EntityType) -> PeopleOfType:
        people = self._people(entity_type, _empty_pick())
        return replace(people, picked=select(people.entity.c.id.label("entity_id")).subquery("picked"))

    def _people(self, entity_type: EntityType, picked: FromClause) -> PeopleOfType:
        entity = self._reader.with_clean_key(self._reader.table(entity_type.value), "id", unique=True)
        return PeopleOfType(entity_type, entity, picked)

    def _require_text(self, query: Select[Any], key: str, of: str) -> None:
        """Raise CrmError if a key isn't text, where columns have types. SQLite's values are checked when read."""
        if self._reader.dialect != "postgresql":
            return
        type_code = self._reader.type_code(query, f"reading {of}")
        if type_code in _NOT_TEXT:
            raise CrmError(f"{key} of {of} is {_NOT_TEXT[type_code]} and must be text; cast it ({key}::text)")


def pick_title(pick: Pick) -> str:
    """Return the name of a pick in messages."""
    return pick.title if pick.kind in ("filter", "query") else f"{pick.kind.replace('_', ' ')} {pick.name!r}"


def common_columns(people: Iterable[PeopleOfType], beside: Iterable[str]) -> frozenset[str]:
    """Return the columns that all these people have, without those in `beside`, and the key columns."""
    everywhere = frozenset[str].intersection(*(frozenset(group.columns) for group in people))
    return (everywhere - set(beside)) | {"entity_type", "entity_id", "email"}


def _empty_pick() -> FromClause:
    return select(null().label("entity_id")).where(text("1 = 0")).subquery("picked")


def _entity_type(value: object, where: str) -> EntityType:
    entity_type = entity_type_of(value)
    if entity_type is None:
        raise CrmError(f"{where} must be one of {', '.join(EntityType)}")
    return entity_type
