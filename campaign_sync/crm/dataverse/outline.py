"""What an environment of Dynamics 365 has that a first configuration can name."""

from collections.abc import Collection, Iterator

from campaign_sync.config.crm_dataverse import DataverseLogin
from campaign_sync.crm.dataverse.api import DataverseApi
from campaign_sync.crm.dataverse.fetch_xml import Condition, FetchXml
from campaign_sync.crm.dataverse.metadata import Metadata, Table
from campaign_sync.crm.dataverse.pages import Pages, Record
from campaign_sync.crm.outline import Choice, CrmOutline, column_choices
from campaign_sync.domain.entity import EntityType

_TYPES = {"Boolean": "boolean", "DateTime": "datetime", "String": "text"}

_NOT_OWN = ("msdyn", "adx_", "msft_")
"""The beginnings of names that Microsoft gives to columns of its own apps."""

_LIST_TYPES = {1: "accounts", 2: "contacts", 4: "leads"}


def outline_environment(login: DataverseLogin) -> CrmOutline:
    """Return the purposes, topics, consent columns, marketing lists and views of an environment.

    Raises:
        CrmError: the login is refused, or something can't be read.
    """
    api = DataverseApi(login)
    metadata = Metadata(api)
    tables = {entity_type: metadata.find(entity_type.value) for entity_type in EntityType}
    people = {entity_type: table for entity_type, table in tables.items() if table is not None}
    consents, bounces = column_choices({kind: _own_columns(table) for kind, table in people.items()}, "state")
    return CrmOutline(
        {kind.value: None for kind in EntityType if kind not in people},
        [*_purposes(api, metadata), *consents],
        bounces,
        [*_lists(api, metadata), *_views(api, metadata, {kind.value for kind in people})],
        "{Vorname: firstname, Ort: address1_city}",
        _remarks(metadata),
        list(_options(people, has_bounces=bool(bounces))),
    )


def _options(people: Collection[EntityType], *, has_bounces: bool) -> Iterator[Choice]:
    for kind in (EntityType.LEAD, EntityType.ACCOUNT):
        if kind in people:
            yield Choice({kind.value: None}, remark=f"{kind.value}s aren't read, and no rights on them are needed")
    if not has_bounces:
        bounce = {EntityType.CONTACT.value: {"state": "new_bounced", "at": "new_bouncedon"}}
        yield Choice({"bounce": bounce}, remark="required; there are no such columns yet, so make them first")


def _own_columns(table: Table) -> dict[str, str]:
    return {
        column: _TYPES.get(kind, kind)
        for column, kind in table.columns.items()
        if "_" in column.strip("_") and not column.startswith((*_NOT_OWN, "address1_", "address2_", "address3_"))
    }


def _purposes(api: DataverseApi, metadata: Metadata) -> Iterator[Choice]:
    """Yield purposes, and behind them the topics of each."""
    remark = "Customer Insights - Journeys; no record is no consent"
    topics = _records(api, metadata, "msdynmkt_topic", ["msdynmkt_name", "msdynmkt_purposeid"])
    for record in _records(api, metadata, "msdynmkt_purpose", ["msdynmkt_name"]):
        name = str(record.get("msdynmkt_name", ""))
        yield Choice({"purpose": name}, name, remark)
        for topic in topics:
            if topic.get("_msdynmkt_purposeid_value") == record["msdynmkt_purposeid"]:
                title = str(topic.get("msdynmkt_name", ""))
                yield Choice({"purpose": name, "topic": title}, title, remark)


def _lists(api: DataverseApi, metadata: Metadata) -> Iterator[Choice]:
    columns = ["listname", "type", "createdfromcode", "statecode"]
    for record in _records(api, metadata, "list", columns):
        if not record.get("statecode"):
            people = _LIST_TYPES.get(record.get("createdfromcode", 0), "others")
            kind = "dynamic" if record.get("type") else "static"
            yield Choice({"marketing_list": str(record.get("listname", ""))}, remark=f"{kind}, of {people}")


def _views(api: DataverseApi, metadata: Metadata, people: set[str]) -> Iterator[Choice]:
    main = Condition("querytype", "eq", ("0",))
    for record in _records(api, metadata, "savedquery", ["name", "returnedtypecode", "statecode"], main):
        if record.get("returnedtypecode") in people and not record.get("statecode"):
            yield Choice({"report": str(record.get("name", ""))}, remark=f"view of {record['returnedtypecode']}s")


def _remarks(metadata: Metadata) -> list[str]:
    candidates = [name for name in metadata.consent_candidates() if not name.startswith(_NOT_OWN)]
    return [f"tables that may hold consents, for crm.consents: {', '.join(candidates)}"] if candidates else []


def _records(
    api: DataverseApi, metadata: Metadata, name: str, columns: list[str], *conditions: Condition
) -> list[Record]:
    """Return the records of a table; none if it doesn't exist."""
    table = metadata.find(name)
    if table is None:
        return []
    known = [column for column in columns if column in table.columns]
    query = FetchXml.of_table(name, table.key, known, conditions)
    return [record for page in Pages(api, table.entity_set, query, f"the table {name}") for record in page]
