"""What the integration user must be able to see and change, and what is missing."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from campaign_sync.config.crm_salesforce import SalesforceSettings
from campaign_sync.crm.port import CrmError, CrmNeeds
from campaign_sync.crm.salesforce.api import SalesforceApi, literal
from campaign_sync.crm.salesforce.bulk import CALLS_PER_QUERY
from campaign_sync.crm.salesforce.consents import purpose_ids
from campaign_sync.crm.salesforce.opt_outs import INDIVIDUAL_OPT_OUTS, OPTED_OUT
from campaign_sync.crm.salesforce.org_records import record_calls
from campaign_sync.crm.salesforce.records import person_field
from campaign_sync.crm.salesforce.schema import OBJECTS, Schema
from campaign_sync.crm.salesforce.stated_consents import CONSENT_PATHS, CONSENT_RECORD
from campaign_sync.domain.entity import EntityType

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Object:
    """What is needed of an object."""

    name: str
    read: Sequence[str]
    write: Sequence[str] = ()
    create: Sequence[str] = ()


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
        objects = self._objects(schema)
        if _ignores_individuals(schema):
            _log.warning(
                "the user may not read all of Don't Market, Don't Process and Forget this Individual, so they aren't "
                "all respected; grant Read on Individual, and these fields, in the permission set"
            )
        return [
            *(flaw for wanted in objects for flaw in _field_flaws(schema, wanted)),
            *self._view_all_flaws(schema),
            *self._purpose_flaws(),
        ]

    def _objects(self, schema: Schema) -> Iterator[_Object]:
        has_purposes = any(opt_in.purpose for opt_in in self.settings.opt_ins.values())
        for entity_type in self.settings.entity_types:
            read, write = self._fields(entity_type, has_purposes)
            has_persons = entity_type is EntityType.CONTACT and _has_person_accounts(schema)
            yield _Object(OBJECTS[entity_type], [*read, *(["AccountId"] if has_persons else [])], write)
            if has_persons:
                yield _Object("Account", ["IsPersonAccount"], [person_field(name) for name in write])
        yield _Object("Campaign", ["Name"])
        yield _Object("CampaignMember", ["CampaignId", "ContactId", "LeadId"])
        if has_purposes:
            yield _Object("DataUsePurpose", ["Name"])
            yield _Object("Individual", INDIVIDUAL_OPT_OUTS)
            written = ("PrivacyConsentStatus", "CaptureDate", "CaptureSource")
            added = ("PartyId", "DataUsePurposeId", "ContactPointType", "CaptureContactPointType")
            yield _Object(CONSENT_RECORD, (*CONSENT_PATHS, "ContactPointType"), written, added)

    def _fields(self, entity_type: EntityType, has_purposes: bool) -> tuple[list[str], list[str]]:
        """Return the fields of a type that are read, and those that are written."""
        fields = [opt_in.field[entity_type] for opt_in in self.settings.opt_ins.values() if entity_type in opt_in.field]
        write = [name for field in fields for name in (field.granted, field.at) if name]
        bounce = self.settings.bounce_fields(entity_type)
        write += [bounce.reason, bounce.at] if bounce else []
        read = ["Id", self.settings.field_of(entity_type, "email")]
        if entity_type is not EntityType.ACCOUNT:
            read += [OPTED_OUT, *(["IndividualId"] if has_purposes else [])]
        if entity_type is EntityType.LEAD:
            read += ["IsConverted", "ConvertedContactId", "ConvertedDate"]
        return read, write

    def _view_all_flaws(self, schema: Schema) -> list[str]:
        """Return the objects of which the user may not see every record: sharing hides records without an error."""
        wanted = {OBJECTS[entity_type] for entity_type in self.settings.entity_types} | {"Campaign"}
        if any(opt_in.purpose for opt_in in self.settings.opt_ins.values()):
            wanted |= {"Individual", CONSENT_RECORD}
        try:
            if _has_person_accounts(schema):
                wanted.add("Account")
            missing = sorted(wanted - self._seen_completely())
        except CrmError:
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

    def _seen_completely(self) -> set[str]:
        """Return the objects of which the user sees every record; all that are wanted for View All Data."""
        doing = "reading the user's permissions"
        assigned = f"PermissionSetAssignment WHERE AssigneeId = {literal(self.api.login.user_id or '')}"
        everything = f"SELECT Id FROM {assigned} AND PermissionSet.PermissionsViewAllData = true"  # noqa: S608
        if list(self.api.rows(everything, doing)):
            return {*OBJECTS.values(), "Campaign", "Individual", CONSENT_RECORD}
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
                except CrmError as error:
                    yield str(error)


def people_calls(settings: SalesforceSettings, needs: CrmNeeds) -> int:
    """Return about how many calls it takes to read picks and people once."""
    picks = sum(pick.kind != "filter" for pick in needs.picks)
    return CALLS_PER_QUERY * (len(settings.entity_types) + picks) + 10


def _field_flaws(schema: Schema, wanted: _Object) -> Iterator[str]:
    try:
        schema.fields(wanted.name)
    except CrmError as error:
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
    except CrmError:
        return False


def _ignores_individuals(schema: Schema) -> bool:
    """Return whether people have individuals, and the user can't read all of their opt-outs."""
    if not schema.knows("Contact") or not schema.has("Contact", "IndividualId"):
        return False
    return any(schema.field("Contact", f"Individual.{name}") is None for name in INDIVIDUAL_OPT_OUTS)
