"""One read of Salesforce."""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime

from campaign_sync.config.crm_salesforce import SalesforceSettings
from campaign_sync.crm.mirror.source import SourceReader, SourceRows
from campaign_sync.crm.port import CrmNeeds, CrmSetupError, Pick
from campaign_sync.crm.salesforce.api import SalesforceApi
from campaign_sync.crm.salesforce.bounces import address_states
from campaign_sync.crm.salesforce.bulk import BulkQuery
from campaign_sync.crm.salesforce.consents import ConsentReader
from campaign_sync.crm.salesforce.picks import PickReader
from campaign_sync.crm.salesforce.schema import OBJECTS, Schema
from campaign_sync.domain.consent import OptIn
from campaign_sync.domain.entity import EntityType


class SalesforceReader(SourceReader):
    """Implements `SourceReader`. Salesforce shows no single moment: each table is as of its own query.

    Args:
        api: of the org.
        settings: the section `crm`.
        needs: what the lists ask of the CRM; other columns of people aren't read.
    """

    def __init__(self, api: SalesforceApi, settings: SalesforceSettings, needs: CrmNeeds) -> None:
        self.as_of = datetime.now(UTC)
        self._api, self._settings, self._needs = api, settings, needs
        self._schema = Schema(api)

    def pick(self, pick: Pick) -> SourceRows:
        """Return everybody in a campaign, report, list view or query. See `SourceReader.pick`."""
        return PickReader(self._api, self._schema, self._needs.columns).rows(pick)

    def people(self, entity_type: EntityType) -> SourceRows:
        """Return all records of a type with the columns that lists name. See `SourceReader.people`.

        Person accounts are contacts. Converted leads are left out: they go on as contacts.
        """
        if entity_type not in self._settings.entity_types:
            return SourceRows(("id", "email"), iter(()), lambda: 0)
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
        return ConsentReader(self._api, self._schema, self._settings, datetime.now(UTC)).states(opt_in_ids)

    def address_states(self) -> SourceRows:
        """Return the bounces. See `SourceReader.address_states`."""
        return address_states(self._api, self._settings)

    def _path(self, entity_type: EntityType, name: str) -> str | None:
        """Return the path of a column, spelled as in the configuration; None if the user can't read it."""
        path = self._settings.field_of(entity_type, name)
        return path if self._schema.field(OBJECTS[entity_type], path) else None
