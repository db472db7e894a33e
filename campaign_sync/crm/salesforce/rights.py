"""What the integration user must be able to see and change, and what is missing."""

import logging
from collections.abc import Iterator, Set
from dataclasses import dataclass

from campaign_sync.config.crm_salesforce import SalesforceSettings
from campaign_sync.crm.port import CrmNeeds, CrmSetupError
from campaign_sync.crm.salesforce.api import SalesforceApi, literal
from campaign_sync.crm.salesforce.bulk import CALLS_PER_QUERY
from campaign_sync.crm.salesforce.consents import purpose_ids
from campaign_sync.crm.salesforce.opt_outs import INDIVIDUAL_OPT_OUTS
from campaign_sync.crm.salesforce.org_records import record_calls
from campaign_sync.crm.salesforce.required_objects import RequiredObject, required_objects, uses_purposes
from campaign_sync.crm.salesforce.schema import OBJECTS, Schema
from campaign_sync.crm.salesforce.stated_consents import BRAND, CONSENT_RECORD

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rights:
    """Checks the rights of the user who is logged in.

    Args:
        api: of the org.
        settings: the section `crm`.
        needs: what the lists ask of the CRM.
    """

    api: SalesforceApi
    settings: SalesforceSettings
    needs: CrmNeeds

    def flaws(self) -> list[str]:
        """Return everything that is missing, in sentences. Whether lists can be read shows when they are.

        Raises:
            CrmError: Salesforce can't be reached, or refuses the login.
        """
        calls = people_calls(self.settings, self.needs) + record_calls(self.settings)
        self.api.require_calls(calls, "a read of people and consents")
        schema = Schema(self.api)
        objects = list(required_objects(self.settings, has_person_accounts=_has_person_accounts(schema)))
        if _ignores_individuals(schema):
            _log.warning(
                "the user may not read all of Don't Market, Don't Process and Forget this Individual, so they aren't "
                "all respected; grant Read on Individual, and these fields, in the permission set"
            )
        if uses_purposes(self.settings) and _ignores_brands(schema):
            _log.warning(
                "the user may not read %s.%s, so a consent for one brand counts for all; where the org has brands, "
                "grant this field in the permission set",
                CONSENT_RECORD,
                BRAND,
            )
        return [
            *(flaw for wanted in objects for flaw in _field_flaws(schema, wanted)),
            *self._column_flaws(schema),
            *self._view_all_flaws({wanted.name for wanted in objects if wanted.is_complete}),
            *self._purpose_flaws(),
        ]

    def _column_flaws(self, schema: Schema) -> Iterator[str]:
        """Yield the fields of columns that lists name by an entry of the section, and that can't be read."""
        for entity_type, fields in self.settings.people.items():
            known = schema.knows(OBJECTS[entity_type])
            for name in sorted(self.needs.columns & fields.keys() if known else ()):
                if schema.field(OBJECTS[entity_type], fields[name]) is None:
                    yield (
                        f"crm.{entity_type.value}.{name}: {OBJECTS[entity_type]}.{fields[name]} can't be read: correct "
                        "the name, or grant the field in the permission set"
                    )

    def _view_all_flaws(self, wanted: Set[str]) -> list[str]:
        """Return the objects of which the user may not see every record: sharing hides records without an error."""
        try:
            missing = sorted(wanted - self._seen_completely(wanted))
        except CrmSetupError:
            _log.warning(
                "Salesforce doesn't let the user read its own permissions, so it isn't known whether sharing hides "
                "records; grant View Setup and Configuration, or make sure by yourself that the permission set has "
                "View All Records on %s",
                ", ".join(sorted(wanted)),
            )
            return []
        return [
            f"the user may not see every record of {name}: grant View All Records on it in the permission set; sharing "
            "hides records without an error, and withdrawals with them"
            for name in missing
        ]

    def _seen_completely(self, wanted: Set[str]) -> Set[str]:
        """Return the objects of which the user sees every record; all that are wanted for View All Data."""
        doing = "reading the user's permissions"
        assigned = f"PermissionSetAssignment WHERE AssigneeId = {literal(self.api.login.user_id or '')}"
        everything = f"SELECT Id FROM {assigned} AND PermissionSet.PermissionsViewAllData = true"  # noqa: S608
        if list(self.api.rows(everything, doing)):
            return wanted
        soql = (
            "SELECT SobjectType FROM ObjectPermissions WHERE PermissionsViewAllRecords = true "  # noqa: S608
            f"AND ParentId IN (SELECT PermissionSetId FROM {assigned})"
        )
        return {str(row["SobjectType"]) for row in self.api.rows(soql, doing)}

    def _purpose_flaws(self) -> Iterator[str]:
        for opt_in_id, opt_in in self.settings.opt_ins.items():
            if opt_in.purpose:
                try:
                    purpose_ids(self.api, {opt_in_id: opt_in.purpose})
                except CrmSetupError as error:
                    yield str(error)


def people_calls(settings: SalesforceSettings, needs: CrmNeeds) -> int:
    """Return about how many calls it takes to read picks and people once."""
    picks = sum(pick.kind != "filter" for pick in needs.picks)
    return CALLS_PER_QUERY * (len(settings.entity_types) + picks) + 10


def _field_flaws(schema: Schema, wanted: RequiredObject) -> Iterator[str]:
    try:
        schema.fields(wanted.name)
    except CrmSetupError as error:
        yield str(error)
        return
    for name in dict.fromkeys([*wanted.read, *wanted.write]):
        if schema.field(wanted.name, name) is None:
            yield f"{wanted.name}.{name} can't be read: correct the name, or grant the field in the permission set"
    for name in dict.fromkeys(wanted.write):
        field = schema.field(wanted.name, name)
        if field and not field.updateable:
            yield f"{wanted.name}.{name} can't be written: grant the user edit access to the field"
    for name in wanted.create:
        field = schema.field(wanted.name, name)
        if field is None or not field.createable:
            yield f"{wanted.name}.{name} can't be set on a new record: grant Create, and edit access to the field"


def _has_person_accounts(schema: Schema) -> bool:
    try:
        return schema.has("Contact", "IsPersonAccount")
    except CrmSetupError:
        return False


def _ignores_brands(schema: Schema) -> bool:
    return schema.knows(CONSENT_RECORD) and not schema.has(CONSENT_RECORD, BRAND)


def _ignores_individuals(schema: Schema) -> bool:
    """Return whether people have individuals, and the user can't read all of their opt-outs."""
    if not schema.knows("Contact") or not schema.has("Contact", "IndividualId"):
        return False
    return any(schema.field("Contact", f"Individual.{name}") is None for name in INDIVIDUAL_OPT_OUTS)
