"""A population in Dynamics 365: marketing lists, columns with a date, bounces of records."""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from campaign_sync.domain.entity import Entity, EntityType
from campaign_sync.sandbox import demo_people
from campaign_sync_tests.crm.dataverse.stand_in import CLIENT, SECRET, TENANT
from campaign_sync_tests.crm_forms.population import NEWSLETTER, PARTNERS
from campaign_sync_tests.crm_forms.rows import Rows
from campaign_sync_tests.crm_forms.web_form import RecordFields, WebForm

LEADS = f"{NEWSLETTER} (Leads)"
"""The leads of the newsletter: a marketing list of Dynamics 365 has records of a single type."""

_CODES = {EntityType.ACCOUNT: 1, EntityType.CONTACT: 2, EntityType.LEAD: 4}
"""What a list's `createdfromcode` means."""


def _fields(table: str, **columns: str) -> RecordFields:
    names = {"email": "emailaddress1", "city": "address1_city", **columns}
    return RecordFields(table, names, "cs_news", "cs_newson", "cs_bounced", "cs_bouncedon", "donotbulkemail")


_FIELDS = {
    EntityType.CONTACT: _fields("contact", first_name="firstname", last_name="lastname"),
    EntityType.LEAD: _fields("lead", first_name="firstname", last_name="lastname"),
    EntityType.ACCOUNT: _fields("account", company="name"),
}

_CITIES = "".join(f"<value>{city}</value>" for _, city in demo_people.NORTH)

_PARTNERS_QUERY = (
    '<fetch><entity name="account"><attribute name="name"/><filter><condition attribute="address1_city" operator="in">'
    f'{_CITIES}</condition></filter><order attribute="name"/></entity></fetch>'
)
"""The partners are exactly the accounts in the north."""


class DynamicsCrm(WebForm):
    """An environment. The partners are a dynamic list; of the others, each has a list for each type of record."""

    secrets: ClassVar[dict[str, str]] = {"DATAVERSE_ID": CLIENT, "DATAVERSE_SECRET": SECRET}
    key: ClassVar[str | None] = None
    member_table: ClassVar[str] = "listmember"
    fields: ClassVar[Mapping[EntityType, RecordFields]] = _FIELDS
    bounce: ClassVar[str | bool] = True

    def __init__(self, rows: Rows, url: str, opt_in_id: str, mandator: str, **settings: Any) -> None:
        super().__init__(rows)
        self._lists: dict[str, str] = {}
        mapped = {kind.value: dict(names.columns) for kind, names in _FIELDS.items()}
        consents = {kind.value: {"granted": names.granted, "at": names.granted_at} for kind, names in _FIELDS.items()}
        bounces = {kind.value: {"state": names.bounced, "at": names.bounced_at} for kind, names in _FIELDS.items()}
        self.settings: dict[str, Any] = {
            "adapter": "dataverse",
            "url": url,
            "login_url": url,
            "tenant_id": TENANT,
            "client_id": {"env": "DATAVERSE_ID"},
            "client_secret": {"env": "DATAVERSE_SECRET"},
            "bounce": bounces,
            "opt_ins": {opt_in_id: {"mandator": mandator, "description": "Newsletter", "field": consents}},
            **mapped,
            **settings,
        }

    def add_members(self, marketing_list: str, members: Iterable[Entity]) -> None:
        """Add members to a marketing list, and leads to that of leads."""
        by_type: dict[EntityType, list[Entity]] = {}
        for entity in members:
            by_type.setdefault(entity.entity_type, []).append(entity)
        for entity_type, entities in by_type.items():
            name = LEADS if entity_type is EntityType.LEAD else marketing_list
            if name not in self._lists:
                query = {"type": True, "query": _PARTNERS_QUERY} if name == PARTNERS else {"type": False}
                new = {"listname": name, "createdfromcode": _CODES[entity_type], **query}
                self._lists[name] = self._rows.add("list", [new])[0]
            if name == PARTNERS:
                continue
            rows = [
                {"listid": self._lists[name], "entityid": self.id_of(entity), "entitytype": entity_type.value}
                for entity in entities
            ]
            self.note_members(entities, self._rows.add("listmember", rows))
