"""One read of Salesforce."""

from collections.abc import Collection, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import cached_property

from campaign_sync.config.crm_salesforce import SalesforceSettings
from campaign_sync.crm.mirror.source import SourceReader, SourceRows
from campaign_sync.crm.port import CrmNeeds, CrmSetupError, Pick
from campaign_sync.crm.salesforce.api import SalesforceApi
from campaign_sync.crm.salesforce.bounces import address_states
from campaign_sync.crm.salesforce.bulk import BulkQuery
from campaign_sync.crm.salesforce.consents import ConsentReader, purpose_ids
from campaign_sync.crm.salesforce.org_records import OrgRecords, OrgTables, org_tables, record_calls
from campaign_sync.crm.salesforce.picks import PickReader
from campaign_sync.crm.salesforce.rights import people_calls
from campaign_sync.crm.salesforce.schema import OBJECTS, Schema
from campaign_sync.crm.web_api.shared_records import OpenRecords, SharedRecords
from campaign_sync.domain.consent import OptIn
from campaign_sync.domain.entity import EntityType


class SalesforceReader(SourceReader):
    """Implements `SourceReader`. Salesforce shows no single moment: each table is as of its own query.

    Args:
        api: of the org.
        schema: of the org.
        settings: the section `crm`.
        needs: what the lists ask of the CRM; other columns of people aren't read.
        shared: the copy of records that all processes share.
    """

    def __init__(
        self,
        api: SalesforceApi,
        schema: Schema,
        settings: SalesforceSettings,
        needs: CrmNeeds,
        shared: SharedRecords,
    ) -> None:
        self.as_of = datetime.now(UTC)
        self._api, self._schema, self._settings, self._needs, self._shared = api, schema, settings, needs, shared
        self._opened = ExitStack()
        self._has_calls = False

    def close(self) -> None:
        """Close the copy of records."""
        self._opened.close()

    def pick(self, pick: Pick) -> SourceRows:
        """Return everybody in a campaign, report, list view or query. See `SourceReader.pick`."""
        self._require_calls()
        return PickReader(self._api, self._schema, self._needs.columns).rows(pick)

    def people(self, entity_type: EntityType) -> SourceRows:
        """Return all records of a type with the columns that lists name. See `SourceReader.people`.

        Person accounts are contacts. Converted leads are left out: they go on as contacts.
        """
        if entity_type not in self._settings.entity_types:
            return SourceRows(("id", "email"), iter(()), lambda: 0)
        self._require_calls()
        sobject = OBJECTS[entity_type]
        source = {
            EntityType.CONTACT: "Contact",
            EntityType.LEAD: "Lead WHERE IsConverted = false",
            EntityType.ACCOUNT: "",
        }[entity_type]
        paths = {name: self._path(entity_type, name) for name in ("id", "email", *sorted(self._needs.columns))}
        for name in ("id", "email"):
            if paths[name] is None:
                field = self._settings.field_of(entity_type, name)
                raise CrmSetupError(f"the user may not read {sobject}.{field}; grant it in the permission set")
        readable = {name: path for name, path in paths.items() if path is not None}
        selected = list(dict.fromkeys(readable.values()))
        query = BulkQuery(self._api, selected, source or self._schema.business_accounts(), sobject)
        positions = [selected.index(path) for path in readable.values()]
        chunks = ([[row[position] for position in positions] for row in chunk] for chunk in query.chunks())
        return SourceRows(tuple(readable), chunks, lambda: query.count)

    def opt_ins(self) -> Sequence[OptIn]:
        """Return none: those of the configuration are all."""
        return ()

    def consent_events(self, opt_in_ids: Collection[str] | None) -> SourceRows | None:
        """Return None: Salesforce keeps states."""
        return None

    def consent_states(self, opt_in_ids: Collection[str] | None) -> SourceRows | None:
        """Return the consents as they are now. See `SourceReader.consent_states`."""
        now = datetime.now(UTC)
        return ConsentReader(self._records, self._tables, self._settings, self._purposes, now).states(opt_in_ids)

    def address_states(self) -> SourceRows:
        """Return the bounces. See `SourceReader.address_states`."""
        return address_states(self._records, self._tables, self._settings)

    @cached_property
    def _purposes(self) -> dict[str, list[str]]:
        purposes = {key: opt_in.purpose for key, opt_in in self._settings.opt_ins.items() if opt_in.purpose}
        return purpose_ids(self._api, purposes)

    @cached_property
    def _tables(self) -> OrgTables:
        return org_tables(self._schema, self._settings, list(self._purposes))

    @cached_property
    def _records(self) -> OpenRecords:
        records = OrgRecords(self._api, record_calls(self._settings))
        return self._opened.enter_context(self._shared.open(records, self._tables.all))

    def _require_calls(self) -> None:
        if not self._has_calls:
            self._api.require_calls(people_calls(self._settings, self._needs), "a read of people")
            self._has_calls = True

    def _path(self, entity_type: EntityType, name: str) -> str | None:
        """Return the path of a column, spelled as in the configuration; None if the user can't read it."""
        path = self._settings.field_of(entity_type, name)
        return path if self._schema.field(OBJECTS[entity_type], path) else None
