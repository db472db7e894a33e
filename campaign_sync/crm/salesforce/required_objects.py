"""The objects and fields that the integration user must be able to read and write."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from campaign_sync.config.crm_salesforce import SalesforceSettings
from campaign_sync.crm.salesforce.opt_outs import INDIVIDUAL_OPT_OUTS, OPTED_OUT
from campaign_sync.crm.salesforce.records import person_field
from campaign_sync.crm.salesforce.schema import OBJECTS
from campaign_sync.crm.salesforce.stated_consents import CONSENT_PATHS, CONSENT_RECORD
from campaign_sync.domain.entity import EntityType


@dataclass(frozen=True)
class RequiredObject:
    """What is needed of an object."""

    name: str
    read: Sequence[str]
    write: Sequence[str] = ()
    create: Sequence[str] = ()
    """The fields that a new record needs."""
    is_complete: bool = True
    """Whether all of its records must be seen."""


def uses_purposes(settings: SalesforceSettings) -> bool:
    """Return whether consents are records of their own."""
    return any(opt_in.purpose for opt_in in settings.opt_ins.values())


def required_objects(settings: SalesforceSettings, *, has_person_accounts: bool) -> Iterator[RequiredObject]:
    """Yield what the section `crm` needs. An object may come twice.

    Args:
        settings: the section.
        has_person_accounts: whether the org has some; what is written to their contacts is written on the account.
    """
    for entity_type in settings.entity_types:
        read, write = _fields(settings, entity_type)
        has_persons = entity_type is EntityType.CONTACT and has_person_accounts
        yield RequiredObject(OBJECTS[entity_type], [*read, *(["AccountId"] if has_persons else [])], write)
        if has_persons:
            yield RequiredObject("Account", ["IsPersonAccount"], [person_field(name) for name in write])
    yield RequiredObject("Campaign", ["Name"])
    yield RequiredObject("CampaignMember", ["CampaignId", "ContactId", "LeadId"], is_complete=False)
    if uses_purposes(settings):
        yield RequiredObject("DataUsePurpose", ["Name"], is_complete=False)
        yield RequiredObject("Individual", INDIVIDUAL_OPT_OUTS)
        written = ("PrivacyConsentStatus", "CaptureDate", "CaptureSource")
        added = ("PartyId", "DataUsePurposeId", "ContactPointType", "CaptureContactPointType")
        yield RequiredObject(CONSENT_RECORD, (*CONSENT_PATHS, "ContactPointType"), written, added)


def _fields(settings: SalesforceSettings, entity_type: EntityType) -> tuple[list[str], list[str]]:
    """Return the fields of a type that are read, and those that are written."""
    read = ["Id", settings.field_of(entity_type, "email")]
    if entity_type is not EntityType.ACCOUNT:
        read += [OPTED_OUT, *(["IndividualId"] if uses_purposes(settings) else [])]
    if entity_type is EntityType.LEAD:
        read += ["IsConverted", "ConvertedContactId", "ConvertedDate"]
    return read, settings.written_fields(entity_type)
