"""Which fields have permissions of their own. Salesforce refuses a permission set that names any other field.

Required fields, ids, names and system fields are seen by everyone who may read the object. The parts of an address are
seen with the address. Fields of person accounts have the permissions of the contact's field.
https://help.salesforce.com/s/articleView?id=sales.account_fields.htm
"""

import re
from typing import Final

_CONTACT_AND_LEAD = (
    "CleanStatus Description DoNotCall Email Fax HasOptedOutOfEmail HasOptedOutOfFax Jigsaw LeadSource MobilePhone "
    "Phone Title"
)

_STANDARD: Final = {
    name: {field.lower(): field for field in fields.split()}
    for name, fields in {
        "Contact": f"{_CONTACT_AND_LEAD} AccountId AssistantName AssistantPhone Birthdate Department HomePhone "
        "MailingAddress OtherAddress OtherPhone ReportsToId",
        "Lead": f"{_CONTACT_AND_LEAD} Address AnnualRevenue CompanyDunsNumber DandbCompanyId Industry LastTransferDate "
        "NumberOfEmployees Rating Website",
        "Account": "AccountNumber AccountSource AnnualRevenue BillingAddress CleanStatus DandbCompanyId Description "
        "DunsNumber Fax Industry Jigsaw NaicsCode NaicsDesc NumberOfEmployees OperatingHoursId Ownership ParentId "
        "Phone Rating ShippingAddress Sic SicDesc Site TickerSymbol Tier Tradestyle Type Website YearStarted",
        "Individual": "HasOptedOutProcessing HasOptedOutSolicit ShouldForget",
        "ContactPointTypeConsent": "BusinessBrandId DataUsePurposeId DoubleConsentCaptureDate EffectiveFrom "
        "EffectiveTo EngagementChannelTypeId",
    }.items()
}
"""The standard fields that have permissions, by object; as in the profiles that Salesforce returns."""

_ADDRESS_PARTS: Final = (
    "city",
    "country",
    "countrycode",
    "geocodeaccuracy",
    "latitude",
    "longitude",
    "postalcode",
    "state",
    "statecode",
    "street",
)

_CUSTOM = "__c"

_OF_PERSON_ACCOUNT = "__pc"

_OF_COMPOUND = re.compile(r"__[a-z]+__s$", re.IGNORECASE)
"""The end of a part of a customer's address or location."""


def permission_field(sobject: str, field: str) -> tuple[str, str] | None:
    """Return the object and field whose permission lets a user see a field; None if none is needed, or it's unknown.

    Args:
        sobject: an object.
        field: one of its fields, in any case.
    """
    lower = field.lower()
    if sobject == "Account" and lower.endswith(_OF_PERSON_ACCOUNT):
        return "Contact", field[: -len(_OF_PERSON_ACCOUNT)] + _CUSTOM
    if lower.endswith(_CUSTOM):
        return sobject, field
    standard = _STANDARD.get(sobject, {})
    if lower in standard:
        return sobject, standard[lower]
    if _OF_COMPOUND.search(field):
        return sobject, _OF_COMPOUND.sub(_CUSTOM, field)
    parts = (part for part in _ADDRESS_PARTS if lower.endswith(part))
    addresses = (standard.get(f"{lower.removesuffix(part)}address") for part in parts)
    return next(((sobject, address) for address in addresses if address), None)
