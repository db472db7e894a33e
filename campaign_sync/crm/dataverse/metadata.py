"""What Dataverse says about its tables: their names in the API, their columns, and who may read them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from campaign_sync.crm.dataverse.api import LABEL, DataverseApi
from campaign_sync.crm.port import CrmSetupError

LOOKUPS = frozenset({"Lookup", "Customer", "Owner"})
"""The types of columns that refer to records."""

_ATTRIBUTE = "LogicalName,AttributeType,AttributeOf,IsSecured,MetadataId"

_SIMPLE = 0
"""The source type of columns with values of their own."""

_CONSENT_WORDS = ("consent", "optin", "opt_in", "optout", "permission", "advert", "subscri", "episerver", "optimizely")


@dataclass(frozen=True)
class Table:
    """A table of Dataverse."""

    name: str
    entity_set: str
    """Its name in URLs."""
    key: str
    """The column of its primary key."""
    columns: Mapping[str, str] = field(repr=False)
    """The types of its columns, such as String or Boolean, by name."""
    secured: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The ids of those of its columns that have column security, by name."""
    labels: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The columns whose labels other columns are, by the names of these: industrycode by industrycodename."""

    def stored(self, column: str) -> str:
        """Return the column that is read for another: that which has a value of its own."""
        return self.labels.get(column, column)

    def property(self, column: str) -> str:
        """Return the name of a column in answers."""
        if column in self.labels:
            return f"{self.property(self.labels[column])}@{LABEL}"
        return f"_{column}_value" if self.columns.get(column) in LOOKUPS else column


@dataclass(frozen=True)
class Reference:
    """What a lookup column is called where it is written, and what it refers to."""

    navigation: str
    table: str


class Metadata:
    """The tables of an environment, each read once.

    Args:
        api: calls the API.
    """

    def __init__(self, api: DataverseApi) -> None:
        self._api = api
        self._tables: dict[str, Table | None] = {}
        self._references: dict[str, dict[str, list[Reference]]] = {}
        self._attributes: dict[tuple[str, str], dict[str, Any]] = {}
        self._privileges: dict[str, dict[str, str]] = {}

    def table(self, name: str) -> Table:
        """Return a table.

        Raises:
            CrmSetupError: there is none of this name.
        """
        table = self.find(name)
        if table is None:
            raise CrmSetupError(f"Dynamics 365 has no table {name}; {_REMEDIES.get(name, 'correct its name in crm')}")
        return table

    def find(self, name: str) -> Table | None:
        """Return a table; None if there is none of this name."""
        if name not in self._tables:
            self._tables[name] = self._read(name)
        return self._tables[name]

    def _read(self, name: str) -> Table | None:
        title, path = f"the definition of {name}", f"/EntityDefinitions(LogicalName='{name}')"
        definition = self._api.find(path, title, {"$select": "LogicalName,EntitySetName,PrimaryIdAttribute"})
        if definition is None:
            return None
        attributes = self._api.get(f"{path}/Attributes", title, {"$select": _ATTRIBUTE})["value"]
        columns = {attribute["LogicalName"]: str(attribute["AttributeType"]) for attribute in attributes}
        secured = {item["LogicalName"]: str(item.get("MetadataId")) for item in attributes if item.get("IsSecured")}
        labels = {
            item["LogicalName"]: str(item["AttributeOf"])
            for item in attributes
            if item.get("AttributeOf") and item["LogicalName"] == f"{item['AttributeOf']}name"
        }
        return Table(name, definition["EntitySetName"], definition["PrimaryIdAttribute"], columns, secured, labels)

    def references(self, table: str, column: str) -> list[Reference]:
        """Return how a lookup column of a table is written, for each table that it can refer to."""
        if table not in self._references:
            path = f"/EntityDefinitions(LogicalName='{table}')/ManyToOneRelationships"
            names = "ReferencingAttribute,ReferencingEntityNavigationPropertyName,ReferencedEntity"
            relationships = self._api.find(path, f"the definition of {table}", {"$select": names})
            self._references[table] = _by_column(relationships["value"] if relationships else [])
        return self._references[table].get(column) or self._by_convention(table, column)

    def _by_convention(self, table: str, column: str) -> list[Reference]:
        targets = [str(target) for target in self._attribute(table, column).get("Targets") or ()]
        if not targets:
            raise CrmSetupError(f"{table}.{column} refers to no table, so no record can be named in it; correct crm")
        if len(targets) == 1:
            return [Reference(column, targets[0])]
        return [Reference(f"{column}_{target}", target) for target in targets]

    def has_moments(self, table: str, column: str) -> bool:
        """Return whether a column of date and time holds moments: no dates alone, and no times of an unknown zone."""
        definition = self._attribute(table, column)
        behavior = (definition.get("DateTimeBehavior") or {}).get("Value")
        return behavior not in ("DateOnly", "TimeZoneIndependent") and definition.get("Format") != "DateOnly"

    def is_calculated(self, table: str, column: str) -> bool:
        """Return whether a column is calculated, so that its value may change without a change of the record."""
        return self._attribute(table, column).get("SourceType") not in (None, _SIMPLE)

    def length(self, table: str, column: str) -> int | None:
        """Return how many characters a text column takes; None if Dataverse doesn't say."""
        length = self._attribute(table, column).get("MaxLength")
        return length if isinstance(length, int) else None

    def _attribute(self, table: str, column: str) -> dict[str, Any]:
        if (table, column) not in self._attributes:
            path = f"/EntityDefinitions(LogicalName='{table}')/Attributes(LogicalName='{column}')"
            self._attributes[table, column] = self._api.find(path, f"the definition of {table}.{column}") or {}
        return self._attributes[table, column]

    def consent_candidates(self) -> list[str]:
        """Return the names of customers' own tables that may hold consents, by their names."""
        query = {"$select": "LogicalName", "$filter": "IsCustomEntity eq true"}
        tables = self._api.get("/EntityDefinitions", "the definitions of tables", query)["value"]
        names = sorted(str(table["LogicalName"]) for table in tables)
        return [name for name in names if any(word in name for word in _CONSENT_WORDS)]

    def privileges(self, table: str) -> dict[str, str]:
        """Return the names of a table's privileges by what they allow, such as Read, Write or AppendTo."""
        if table not in self._privileges:
            path, title = f"/EntityDefinitions(LogicalName='{table}')", f"the definition of {table}"
            definition = self._api.find(path, title, {"$select": "LogicalName,Privileges"}) or {}
            self._privileges[table] = {
                str(item.get("PrivilegeType")): str(item["Name"]) for item in definition.get("Privileges") or ()
            }
        return self._privileges[table]


_REMEDIES = {
    "msdynmkt_contactpointconsent4": "purpose needs Customer Insights - Journeys; use field or crm.consents instead",
    "lead": "set crm.lead to null",
    "list": "marketing lists need the sales or the marketing app; use a view or a query instead",
}


def _by_column(relationships: list[dict[str, Any]]) -> dict[str, list[Reference]]:
    references: dict[str, list[Reference]] = {}
    for item in relationships:
        reference = Reference(str(item["ReferencingEntityNavigationPropertyName"]), str(item["ReferencedEntity"]))
        references.setdefault(str(item["ReferencingAttribute"]), []).append(reference)
    return references
