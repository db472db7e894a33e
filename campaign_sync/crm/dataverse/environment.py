"""An environment of Dynamics 365 as it is read once: its settings, tables and pages."""

from collections.abc import Sequence
from typing import Any

from campaign_sync.config.crm_dataverse import DataverseSettings
from campaign_sync.crm.dataverse.api import DataverseApi
from campaign_sync.crm.dataverse.fetch_xml import FetchXml
from campaign_sync.crm.dataverse.metadata import Metadata, Table
from campaign_sync.crm.dataverse.pages import PAGE_ROWS, Pages, Record
from campaign_sync.crm.port import CrmSetupError
from campaign_sync.domain.entity import EntityType


class Environment:
    """Reads tables, each with what Dataverse says about it.

    Args:
        api: calls the API.
        settings: the section `crm`.
        page_rows: how many rows a page has.
    """

    def __init__(self, api: DataverseApi, settings: DataverseSettings, page_rows: int = PAGE_ROWS) -> None:
        self.api, self.settings = api, settings
        self.metadata = Metadata(api)
        self.people = settings.people()
        self._page_rows = page_rows

    def table(self, name: str) -> Table:
        """Return a table. See `Metadata.table`."""
        return self.metadata.table(name)

    def require(self, table: str, columns: Sequence[str]) -> Table:
        """Return a table that has these columns.

        Raises:
            CrmSetupError: there is no such table, or it lacks one of them.
        """
        known = self.table(table)
        if missing := [column for column in columns if column not in known.columns]:
            raise CrmSetupError(f"Dynamics 365 has no column {', '.join(missing)} in {table}; correct its name in crm")
        return known

    def pages(self, query: FetchXml, title: str) -> Pages:
        """Return the pages of a query. See `Pages`."""
        return Pages(self.api, self.table(query.table).entity_set, query, title, self._page_rows)

    def query(self, table: Table, columns: Sequence[str]) -> FetchXml:
        """Return the query for columns of a table, some of which may be the labels of others."""
        labeled = any(column in table.labels for column in columns)
        return FetchXml.of_table(table.name, table.key, [table.stored(column) for column in columns], labeled=labeled)

    def email_column(self, entity_type: EntityType) -> str:
        """Return the column of the address."""
        return self.people[entity_type]["email"]

    def value(self, table: Table, record: Record, column: str) -> Any:
        """Return a value of a record."""
        return record.get(table.property(column))
