"""A population in Salesforce: campaigns, checkboxes with a date, bounces of records."""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from campaign_sync.domain.entity import Entity, EntityType
from campaign_sync_tests.crm.salesforce.org import CLIENT_ID, CLIENT_SECRET, Org
from campaign_sync_tests.crm_forms.rows import Rows
from campaign_sync_tests.crm_forms.web_form import RecordFields, WebForm

OWN_FIELDS = {"Newsletter_Date__c": "datetime", "Bounce__c": "string", "Bounce_Date__c": "datetime"}
"""Fields of accounts that an org must have: they have none for bounces."""

_NAMES = {"email": "Email", "first_name": "FirstName", "last_name": "LastName"}


def _person(table: str, city: str) -> RecordFields:
    consent = ("Newsletter__c", "Newsletter_Date__c")
    bounce = ("EmailBouncedReason", "EmailBouncedDate")
    return RecordFields(table, {**_NAMES, "city": city}, *consent, *bounce, "HasOptedOutOfEmail")


_FIELDS = {
    EntityType.CONTACT: _person("Contact", "MailingCity"),
    EntityType.LEAD: _person("Lead", "City"),
    # Accounts have no address, no first name, and no box for no mail at all.
    EntityType.ACCOUNT: RecordFields(
        "Account",
        {"email": "Email__c", "company": "Name", "city": "BillingCity"},
        *("Newsletter__c", "Newsletter_Date__c", "Bounce__c", "Bounce_Date__c", None),
    ),
}


def org_for_forms() -> Org:
    """Return a stand-in with the fields that the population needs."""
    org = Org(page_rows=200)
    org.fields["Account"] |= OWN_FIELDS
    return org


class Salesforce(WebForm):
    """An org. A withdrawal without a date is the box for no mail at all, since an empty checkbox alone says nothing."""

    secrets: ClassVar[dict[str, str]] = {"SALESFORCE_ID": CLIENT_ID, "SALESFORCE_SECRET": CLIENT_SECRET}
    key: ClassVar[str | None] = "Id"
    member_table: ClassVar[str] = "CampaignMember"
    fields: ClassVar[Mapping[EntityType, RecordFields]] = _FIELDS
    bounce: ClassVar[str | bool] = "550 5.1.1 unknown"

    def __init__(self, rows: Rows, url: str, opt_in_id: str, mandator: str, **settings: Any) -> None:
        super().__init__(rows)
        self._campaigns: dict[str, str] = {}
        mapped = {kind.value: dict(names.columns) for kind, names in _FIELDS.items()}
        consents = {kind.value: {"granted": names.granted, "at": names.granted_at} for kind, names in _FIELDS.items()}
        self.settings: dict[str, Any] = {
            "adapter": "salesforce",
            "url": url,
            "client_id": {"env": "SALESFORCE_ID"},
            "client_secret": {"env": "SALESFORCE_SECRET"},
            "bounce": {"account": {"reason": "Bounce__c", "at": "Bounce_Date__c"}},
            "opt_ins": {opt_in_id: {"mandator": mandator, "description": "Newsletter", "field": consents}},
            **mapped,
            **settings,
        }

    def add_members(self, marketing_list: str, members: Iterable[Entity]) -> None:
        """Add members to a campaign."""
        if marketing_list not in self._campaigns:
            self._campaigns[marketing_list] = self._rows.add("Campaign", [{"Name": marketing_list}])[0]
        entities = list(members)
        rows = [
            {
                "CampaignId": self._campaigns[marketing_list],
                f"{_FIELDS[entity.entity_type].table}Id": self.id_of(entity),
            }
            for entity in entities
        ]
        self.note_members(entities, self._rows.add("CampaignMember", rows))
