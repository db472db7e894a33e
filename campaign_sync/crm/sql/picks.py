"""Whom marketing lists and reports of a CRM in a SQL database name."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Select, String, column, null, select, text

from campaign_sync.crm.port import CrmError, Pick
from campaign_sync.crm.sql.consents import entity_type_of
from campaign_sync.crm.sql.query_text import without_ending
from campaign_sync.crm.sql.reader import AnyRow, Reader
from campaign_sync.crm.sql.schema import marketing_list, marketing_list_member, report
from campaign_sync.domain.consent import cleaned_word
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
class People:
    """Those of one entity type whom a pick names, by `entity_id`, and what the CRM knows of them."""

    entity_type: EntityType
    entity: FromClause
    picked: FromClause

    @property
    def columns(self) -> dict[str, ColumnElement[Any]]:
        """By name; a report's own column goes before the entity's."""
        return {**dict(self.entity.c.items()), **dict(self.picked.c.items())}


@dataclass(frozen=True)
class Picked:
    """Whom a pick names."""

    people: list[People]
    strangers: Select[Any] | None = None
    """Members of a static list whose entity type is none: `entity_type` as it is stored, and `entity_id`."""


class Picks:
    """Reads what marketers point at.

    Args:
        reader: reads the CRM.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def find(self, pick: Pick) -> Picked:
        """Whom a pick names.

        Raises:
            CrmError: there is no such pick, or it can't be used.
        """
        definition = marketing_list if pick.kind == "marketing_list" else report
        names = self._reader.rows(select(definition), f"reading {definition.name}")
        found = [row for row in names if normalize_text(str(row.name)) == normalize_text(pick.name)]
        if len(found) != 1:
            known = sorted(repr(str(row.name).strip()) for row in names)
            raise CrmError(
                f"the CRM has {'no' if not found else len(found)} {title(pick)} ({definition.name}.name); "
                f"it has {', '.join(known) or 'none at all'}"
            )
        if definition is report:
            return Picked([self._of_report(found[0])])
        kind = cleaned_word(found[0].kind)
        if kind == "static":
            return self._of_static_list(found[0])
        if kind == "dynamic":
            return Picked([self._of_dynamic_list(found[0])])
        raise CrmError(f"marketing_list.kind of the {title(pick)} must be static or dynamic")

    def _of_report(self, definition: AnyRow) -> People:
        view_name = str(definition.view_name).strip()
        view = self._reader.table(view_name, f"view_name of the report {definition.name!r}")
        key = next((view.c[name] for name in ("entity_id", "id") if name in view.c), None)
        if key is None:
            raise CrmError(f"{view_name} (report {definition.name!r}) needs a column entity_id or id")
        others = [each for each in view.c if each.name != "entity_id"]
        entity_type = _entity_type(definition.entity_type, f"entity_type of the report {definition.name!r}")
        self._require_text(select(key), f"{view_name}.{key.name}", f"the report {definition.name!r}")
        cleaned = self._reader.clean_key(key).label("entity_id")
        return self._people(entity_type, select(cleaned, *others).subquery("picked"))

    def _of_static_list(self, definition: AnyRow) -> Picked:
        member = marketing_list_member
        members = select(member).where(member.c.marketing_list_id == definition.id)
        found = self._reader.rows(members.with_only_columns(member.c.entity_type).distinct(), "reading members")
        by_type = {each: [row[0] for row in found if entity_type_of(row[0]) is each] for each in (None, *EntityType)}
        only = entity_type_of(definition.entity_type)
        nobody = [self._people(each, _nobody()) for each in EntityType if only in (None, each)]
        ids = members.with_only_columns(self._reader.clean_key(member.c.entity_id).label("entity_id")).distinct()
        strangers = members.with_only_columns(member.c.entity_type, member.c.entity_id).where(
            member.c.entity_type.is_(None)
            | member.c.entity_type.in_([each for each in by_type[None] if each is not None])
        )
        people = [
            self._people(each, ids.where(member.c.entity_type.in_(by_type[each])).subquery("picked"))
            for each in EntityType
            if by_type[each]
        ]
        return Picked(
            people or nobody, strangers.order_by(*member.c["entity_type", "entity_id"]) if by_type[None] else None
        )

    def _of_dynamic_list(self, definition: AnyRow) -> People:
        entity_type = _entity_type(definition.entity_type, f"entity_type of the dynamic list {definition.name!r}")
        query = without_ending(definition.query or "").strip()
        if not query:
            raise CrmError(f"marketing_list.query of the dynamic list {definition.name!r} is empty")
        # The query is trusted: whoever can write to the CRM's tables wrote it. Colons in it aren't parameters.
        statement = text(query.replace(":", "\\:") + "\n")
        picked = statement.columns(column("entity_id", String)).subquery("query")
        self._require_text(select(picked.c.entity_id), "entity_id", f"the marketing list {definition.name!r}")
        cleaned = self._reader.clean_key(picked.c.entity_id).label("entity_id")
        return self._people(entity_type, select(cleaned).distinct().subquery("picked"))

    def _people(self, entity_type: EntityType, picked: FromClause) -> People:
        entity = self._reader.with_clean_key(self._reader.table(entity_type.value), "id", unique=True)
        return People(entity_type, entity, picked)

    def _require_text(self, query: Select[Any], key: str, of: str) -> None:
        """Refuse keys that aren't text, where the database knows the type of a column. SQLite's values are looked at.

        Raises:
            CrmError: they aren't.
        """
        if self._reader.dialect != "postgresql":
            return
        found = self._reader.type_code(query, f"reading {of}")
        if found in _NOT_TEXT:
            raise CrmError(f"{key} of {of} is {_NOT_TEXT[found]} and must be text; cast it ({key}::text)")


def title(pick: Pick) -> str:
    """A pick as it is named in messages."""
    return f"{pick.kind.replace('_', ' ')} {pick.name!r}"


def offered(people: Iterable[People], beside: Iterable[str]) -> frozenset[str]:
    """The columns that everybody has, `beside` what every selection has anyway."""
    everywhere = frozenset[str].intersection(*(frozenset(group.columns) for group in people))
    return (everywhere - set(beside)) | {"entity_type", "entity_id", "email"}


def _nobody() -> FromClause:
    return select(null().label("entity_id")).where(text("1 = 0")).subquery("picked")


def _entity_type(value: object, where: str) -> EntityType:
    found = entity_type_of(value)
    if found is None:
        raise CrmError(f"{where} must be one of {', '.join(EntityType)}")
    return found
