"""One read of a CRM in a SQL database whose schema is mapped to the contract's tables."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime

from campaign_sync.config import SqlSettings, TableMapping
from campaign_sync.config.crm_sql import CONTRACT_COLUMNS
from campaign_sync.crm.mirror.source import ADDRESS_STATE_COLUMNS, EVENT_COLUMNS, MEMBER_COLUMNS, STATE_COLUMNS
from campaign_sync.crm.mirror.source import SourceRows as Rows
from campaign_sync.crm.port import CrmError, CrmNeeds, Pick
from campaign_sync.crm.sql.mapped_streams import MappedStreams, Relation, filtered, has_column
from campaign_sync.domain.consent import OptIn, normalize_word
from campaign_sync.domain.entity import EntityType
from campaign_sync.domain.text import normalize_text


class SqlSourceReader:
    """Implements `SourceReader`.

    Args:
        streams: reads the CRM.
        settings: the section `crm`.
        needs: what the lists ask of the CRM; other columns of people and reports aren't read.
        as_of: when the transaction began.
    """

    def __init__(self, streams: MappedStreams, settings: SqlSettings, needs: CrmNeeds, as_of: datetime) -> None:
        self._streams, self._settings, self._needs = streams, settings, needs
        self._tables = settings.mapped_tables()
        self.as_of = as_of

    def pick(self, pick: Pick) -> Rows:
        """Return everybody in a marketing list, a report or a query. See `SourceReader.pick`."""
        if pick.kind == "marketing_list":
            return self._marketing_list(pick.name)
        if pick.kind == "report":
            return self._report(pick.name)
        if pick.kind == "query" and pick.entity_type:
            return self._ids(self._streams.query(pick.name, "a query of select or exclude"), pick.entity_type)
        raise CrmError(f"a {pick.kind} without an entity type can't be read from a SQL database")

    def people(self, entity_type: EntityType) -> Rows:
        """Return the records of a type with the columns that the lists need. See `SourceReader.people`."""
        mapping = self._tables.get(entity_type.value)
        if mapping is None:
            return _no_rows(("id", "email"))
        relation = self._relation(entity_type.value)
        others = sorted(name for name in self._needs.columns - {"id", "email"} if has_column(relation, mapping, name))
        return self._streams.rows(relation, ("id", "email", *others), mapping)

    def opt_ins(self) -> Sequence[OptIn]:
        """Return the opt-ins of the CRM's own table. See `SourceReader.opt_ins`."""
        if "opt_in" not in self._tables:
            return ()
        rows = self._complete("opt_in", CONTRACT_COLUMNS["opt_in"])
        return [OptIn(*(_text(value, "crm.tables.opt_in") for value in row)) for row in rows]

    def consent_events(self, opt_in_ids: Collection[str] | None) -> Rows | None:
        """Return the consent history. See `SourceReader.consent_events`."""
        return self._consents("consent_event", EVENT_COLUMNS, opt_in_ids)

    def consent_states(self, opt_in_ids: Collection[str] | None) -> Rows | None:
        """Return the consent states. See `SourceReader.consent_states`."""
        return self._consents("consent_state", STATE_COLUMNS, opt_in_ids)

    def address_states(self) -> Rows:
        """Return the bounces. See `SourceReader.address_states`."""
        mapping = self._tables.get("address_state")
        if mapping is None:
            return _no_rows(ADDRESS_STATE_COLUMNS)
        return self._streams.rows(self._relation("address_state"), ADDRESS_STATE_COLUMNS, mapping)

    def _consents(self, name: str, columns: Sequence[str], opt_in_ids: Collection[str] | None) -> Rows | None:
        mapping = self._tables.get(name)
        if mapping is None:
            return None
        only = mapping.constants.get("opt_in_id")
        if only and opt_in_ids is not None and normalize_word(only) not in map(normalize_word, opt_in_ids):
            return _no_rows(columns)
        relation = self._relation(name)
        versions = ("text_version",) if has_column(relation, mapping, "text_version") else ()
        return self._streams.rows(relation, (*columns, *versions), mapping)

    def _marketing_list(self, name: str) -> Rows:
        columns = CONTRACT_COLUMNS["marketing_list"]
        definition = self._definition("marketing_list", columns, name)
        kind = normalize_word(definition["kind"])
        if kind == "static":
            return self._members(definition["id"], name)
        if kind != "dynamic":
            raise CrmError(f"crm.tables.marketing_list: the kind of {name!r} must be static or dynamic")
        sql = definition["query"]
        relation = self._streams.query(sql if isinstance(sql, str) else "", f"the marketing list {name!r}")
        return self._ids(relation, _entity_type(definition["entity_type"], f"the marketing list {name!r}"))

    def _members(self, list_id: object, name: str) -> Rows:
        mapping = self._tables["marketing_list_member"]
        relation = self._relation("marketing_list_member")
        columns = (*MEMBER_COLUMNS, "marketing_list_id")
        rows = self._streams.rows(relation, columns, mapping, ("marketing_list_id", list_id))
        # A collation may ignore case.
        own = filtered(rows, lambda row: str(row[2]).strip() == str(list_id).strip())
        members = ([row[:2] for row in chunk] for chunk in own.chunks)
        return Rows(MEMBER_COLUMNS, members, own.expected)

    def _report(self, name: str) -> Rows:
        definition = self._definition("report", CONTRACT_COLUMNS["report"], name)
        view = str(definition["view_name"]).strip()
        relation = self._streams.table(view, f"{view} (view_name of the report {name!r})")
        return self._ids(relation, _entity_type(definition["entity_type"], f"the report {name!r}"), own_columns=True)

    def _ids(self, relation: Relation, entity_type: EntityType, *, own_columns: bool = False) -> Rows:
        """Return the records that a view or query names in its column entity_id or id, or in its only column."""
        keys = [name for name in ("entity_id", "id") if relation.stored(name)] or relation.columns
        if len(keys) != 1 and keys == relation.columns:
            raise CrmError(f"{relation.place} needs a column entity_id or id")
        mapping = TableMapping(query="-", columns={"entity_id": keys[0]}, constants={"entity_type": entity_type.value})
        wanted = self._needs.columns - {*MEMBER_COLUMNS}
        others = sorted(wanted & set(relation.columns)) if own_columns else []
        return replace(self._streams.rows(relation, (*MEMBER_COLUMNS, *others), mapping), entity_type=entity_type)

    def _definition(self, table: str, columns: Sequence[str], name: str) -> dict[str, object]:
        """Return the only row of a table of definitions with this name."""
        what = table.replace("_", " ")
        if table not in self._tables:
            raise CrmError(f"a list selects the {what} {name!r}, but the CRM has none; map them in crm.tables.{table}")
        definitions = [dict(zip(columns, row, strict=True)) for row in self._complete(table, columns)]
        matches = [row for row in definitions if normalize_text(str(row["name"])) == normalize_text(name)]
        if len(matches) != 1:
            known = sorted(repr(str(row["name"]).strip()) for row in definitions)
            raise CrmError(
                f"the CRM has {len(matches) or 'no'} {what} {name!r} (crm.tables.{table}); it has "
                f"{', '.join(known) or 'none at all'}"
            )
        return matches[0]

    def _complete(self, name: str, columns: Sequence[str]) -> list[Sequence[object]]:
        """Return all rows of a small table."""
        rows = self._streams.rows(self._relation(name), columns, self._tables[name])
        read = [row for chunk in rows.chunks for row in chunk]
        if len(read) != (expected := rows.expected()):
            raise CrmError(f"reading crm.tables.{name}: {len(read)} of {expected} rows arrived; try again")
        return read

    def _relation(self, name: str) -> Relation:
        return self._streams.relation(self._tables[name], f"crm.tables.{name}")


def _no_rows(columns: Sequence[str]) -> Rows:
    return Rows(tuple(columns), iter(()), lambda: 0)


def _text(value: object, place: str) -> str:
    if isinstance(value, bytes):
        raise CrmError(f"{place} holds text that isn't UTF-8; write it to the CRM again as UTF-8")
    return "" if value is None else normalize_text(str(value))


def _entity_type(raw: object, what: str) -> EntityType:
    word = normalize_word(raw)
    if word not in list(EntityType):
        raise CrmError(f"the entity type of {what} must be {', '.join(EntityType)}")
    return EntityType(word)
