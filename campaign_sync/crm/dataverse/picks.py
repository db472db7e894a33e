"""Who is in a marketing list, a view or a query."""

from dataclasses import dataclass, field

from campaign_sync.crm.dataverse.environment import Environment
from campaign_sync.crm.dataverse.fetch_xml import Condition, FetchXml, FetchXmlError
from campaign_sync.crm.dataverse.pages import Record, source_rows
from campaign_sync.crm.mirror.source import MEMBER_COLUMNS, SourceRows
from campaign_sync.crm.port import CrmSetupError, Pick
from campaign_sync.domain.entity import EntityType
from campaign_sync.domain.text import normalize_text

_LIST_TYPES = {1: EntityType.ACCOUNT, 2: EntityType.CONTACT, 4: EntityType.LEAD}
"""What `createdfromcode` of a list means."""

_ACTIVE = Condition("statecode", "eq", ("0",))

_VIEWS = {"savedquery": "system view", "userquery": "personal view"}

_MAIN_VIEW = "0"
"""The `querytype` of the views that people see in lists."""

_NAMED_AT_MOST = 15


@dataclass(frozen=True)
class PickedRecords:
    """A pick as a query."""

    query: FetchXml
    entity_type: EntityType
    member: str
    """The property with the id of the record."""

    def rows(self, environment: Environment, title: str) -> SourceRows:
        """Return the members."""
        kind = self.entity_type.value
        pages = iter(environment.pages(self.query, title))
        return source_rows(
            MEMBER_COLUMNS, pages, lambda record: [(kind, record.get(self.member))], entity_type=self.entity_type
        )


@dataclass(frozen=True)
class PickFinder:
    """Finds the picks of the configuration in Dynamics 365.

    Args:
        environment: what is read.
    """

    environment: Environment
    _known: dict[str, list[Record]] = field(default_factory=dict, init=False, repr=False)
    """The lists and views, by table, each read once."""

    def find(self, pick: Pick) -> PickedRecords:
        """Return the query for a pick.

        Raises:
            CrmError: there is none, or several; or it can't be read.
        """
        if pick.kind == "marketing_list":
            return self._marketing_list(pick.name)
        if pick.kind == "report":
            return self._view(pick.name)
        if pick.kind != "query":
            raise CrmSetupError(f"Dynamics 365 has no {pick.kind}; select a marketing_list, report, query or filter")
        picked = self._parsed(pick.name, "a query of select or exclude")
        if pick.entity_type not in (None, picked.entity_type):
            raise CrmSetupError(
                f"a query of select or exclude yields records of the type {picked.entity_type.value}, but its "
                f"entity_type is {pick.entity_type}; correct one of them"
            )
        return picked

    def _marketing_list(self, name: str) -> PickedRecords:
        columns = ("listname", "type", "createdfromcode", "statecode")
        title = f"the marketing list {name!r}"
        record = self._only([("list", item) for item in self._named("list", "listid", columns)], name, "listname")[1]
        entity_type = _LIST_TYPES.get(record.get("createdfromcode", 0))
        if entity_type is None or entity_type not in self.environment.people:
            raise CrmSetupError(
                f"{title} is of records that crm doesn't read; remove the null of their table in crm, or select "
                "another list"
            )
        if record.get("type"):
            picked = self._parsed(self._text("list", "listid", record, "query"), title)
            picked.query.require(_ACTIVE)
            return picked
        return self._static(record["listid"], entity_type)

    def _static(self, list_id: str, entity_type: EntityType) -> PickedRecords:
        table, members = (self.environment.table(name) for name in (entity_type.value, "listmember"))
        condition = Condition("listid", "eq", (list_id,))
        query = FetchXml.of_table("listmember", members.key, ["entityid"], [condition])
        query.link(table.name, table.key, "entityid", _ACTIVE)
        return PickedRecords(query, entity_type, members.property("entityid"))

    def _view(self, name: str) -> PickedRecords:
        columns = ("name", "returnedtypecode", "statecode")
        people = {entity_type.value for entity_type in self.environment.people}
        views = [
            (table, record)
            for table in _VIEWS
            for record in self._named(table, f"{table}id", columns, [Condition("querytype", "eq", (_MAIN_VIEW,))])
            if record.get("returnedtypecode") in people
        ]
        table, record = self._only(views, name, "name")
        return self._parsed(self._text(table, f"{table}id", record, "fetchxml"), f"the {_VIEWS[table]} {name!r}")

    def _named(
        self, table: str, key: str, columns: tuple[str, ...], conditions: list[Condition] | None = None
    ) -> list[Record]:
        if table not in self._known:
            query = FetchXml.of_table(table, key, columns, conditions or [])
            pages = self.environment.pages(query, f"the table {table}")
            self._known[table] = [record for page in pages for record in page]
        return self._known[table]

    def _only(self, records: list[tuple[str, Record]], name: str, column: str) -> tuple[str, Record]:
        """Return the only active record of this name or id, and its table."""
        ids = [(table, record) for table, record in records if record[f"{table}id"] == name.strip("{}").lower()]
        named = [item for item in records if normalize_text(str(item[1].get(column, ""))) == normalize_text(name)]
        active = [item for item in ids or named if not item[1].get("statecode")]
        what = "marketing list" if column == "listname" else "view"
        if len(active) > 1:
            listed = ", ".join(record[f"{table}id"] for table, record in active)
            raise CrmSetupError(
                f"Dynamics 365 has {len(active)} active {what}s {name!r}; name the right one by its id: {listed}"
            )
        if not active:
            known = sorted({repr(str(record.get(column, "")).strip()) for _, record in records})
            more = [f"and {len(known) - _NAMED_AT_MOST} more"] if len(known) > _NAMED_AT_MOST else []
            raise CrmSetupError(
                f"Dynamics 365 has no {'active ' if named else ''}{what} {name!r} that the application user may read; "
                f"it has {', '.join(known[:_NAMED_AT_MOST] + more) or 'none at all'}"
            )
        return active[0]

    def _text(self, table: str, key: str, record: Record, column: str) -> str:
        query = FetchXml.of_table(table, key, [column], [Condition(key, "eq", (record[key],))])
        texts = [row.get(column) for page in self.environment.pages(query, f"the table {table}") for row in page]
        return str(texts[0] or "") if texts else ""

    def _parsed(self, text: str, title: str) -> PickedRecords:
        keys = {
            entity_type.value: self.environment.table(entity_type.value).key for entity_type in self.environment.people
        }
        try:
            query = FetchXml.parse(text, keys)
        except FetchXmlError as error:
            problem = str(error)
        else:
            return PickedRecords(query, EntityType(query.table), query.key)
        raise CrmSetupError(f"{title} can't be read completely: {problem}; correct it, or select a static list")
