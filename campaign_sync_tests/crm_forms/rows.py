"""How the forms that are web APIs reach the rows behind their server."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from campaign_sync_tests.crm.dataverse.stand_in import Dataverse
from campaign_sync_tests.crm.salesforce.org import Org

Row = Mapping[str, Any]


class Rows(Protocol):
    """The rows of a CRM, past its API."""

    def add(self, table: str, rows: Sequence[Row]) -> list[str]:
        """Add rows, and return their ids in the same order."""

    def change(self, table: str, key: str, values: Row) -> None:
        """Change a row."""

    def remove(self, table: str, key: str) -> None:
        """Remove a row."""

    def all(self, table: str) -> Sequence[Row]:
        """Return all rows of a table."""


class OrgRows:
    """The rows of the stand-in for Salesforce."""

    def __init__(self, org: Org) -> None:
        self._org = org

    def add(self, table: str, rows: Sequence[Row]) -> list[str]:
        return [self._org.add(table, **row) for row in rows]

    def change(self, table: str, key: str, values: Row) -> None:
        self._org.record(table, key).update(values)

    def remove(self, table: str, key: str) -> None:
        self._org.rows[table].remove(self._org.record(table, key))

    def all(self, table: str) -> Sequence[Row]:
        return self._org.rows.get(table, [])


class DataverseRows:
    """The rows of the stand-in for Dataverse."""

    def __init__(self, dataverse: Dataverse) -> None:
        self._dataverse = dataverse

    def add(self, table: str, rows: Sequence[Row]) -> list[str]:
        return [self._dataverse.add(table, **row) for row in rows]

    def change(self, table: str, key: str, values: Row) -> None:
        self._dataverse.add(table, key, **{**self._dataverse.rows[table][key], **values})

    def remove(self, table: str, key: str) -> None:
        del self._dataverse.rows[table][key]

    def all(self, table: str) -> Sequence[Row]:
        return list(self._dataverse.rows[table].values())
