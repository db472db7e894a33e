"""What an org has that a first configuration can name."""

from collections.abc import Iterator

from campaign_sync.config.crm_salesforce import SalesforceLogin
from campaign_sync.crm.outline import Choice, CrmOutline, column_choices
from campaign_sync.crm.port import CrmSetupError
from campaign_sync.crm.salesforce.api import SalesforceApi
from campaign_sync.crm.salesforce.schema import OBJECTS, Schema
from campaign_sync.domain.entity import EntityType

_OWN = "__c"
"""The end of the names of customers' own fields."""

_TYPES = {"string": "text"}


_ADDRESSES = {
    "contact": {"city": "MailingCity", "postal_code": "MailingPostalCode", "country": "MailingCountry"},
    "lead": {"city": "City", "postal_code": "PostalCode", "country": "Country"},
}
"""Standard fields that contacts and leads name differently."""


def outline_org(login: SalesforceLogin) -> CrmOutline:
    """Return the purposes, consent fields, campaigns, reports and list views of an org.

    Raises:
        CrmError: the login is refused, or something can't be read.
    """
    api = SalesforceApi(login)
    api.limits()  # refuses a wrong version by its name
    schema = Schema(api)
    consents, bounces = column_choices(
        {
            kind: {
                field.name: _TYPES.get(field.kind, field.kind)
                for field in schema.fields(sobject).values()
                if field.name.endswith(_OWN)
            }
            for kind, sobject in OBJECTS.items()
            if kind is not EntityType.ACCOUNT  # these have no address of their own
        },
        "reason",
        _OWN,
    )
    purposes = [Choice({"purpose": name}, name) for name in _names(api, "DataUsePurpose")]
    picks = [Choice({"marketing_list": name}, remark="campaign") for name in _names(api, "Campaign")]
    picks += [Choice({"report": name}, remark="report") for name in _names(api, "Report")]
    picks += [Choice({"report": name}, remark="list view") for name in _list_views(api)]
    return CrmOutline(_ADDRESSES, [*purposes, *consents], bounces, picks, attributes="{Vorname: FirstName, Ort: city}")


def _names(api: SalesforceApi, sobject: str) -> list[str]:
    """Return the names of an object's records; none if the user can't read it."""
    try:
        return sorted(str(row["Name"]) for row in api.rows(f"SELECT Name FROM {sobject}", f"reading {sobject}"))  # noqa: S608 - names of ours
    except CrmSetupError:
        return []


def _list_views(api: SalesforceApi) -> Iterator[str]:
    objects = set(OBJECTS.values())
    for row in api.rows("SELECT Name, SobjectType FROM ListView", "reading list views"):
        if row["SobjectType"] in objects:
            yield str(row["Name"])
