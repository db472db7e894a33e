"""A CRM in Salesforce, with checkboxes and consent records, for the conformance tests."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

from campaign_sync.crm.mirror.adapter import MirrorCrm
from campaign_sync.crm.port import Crm, CrmNeeds
from campaign_sync.crm.salesforce.source import SalesforceSource
from campaign_sync.crm.testing import (
    COLUMNS,
    EVERYBODY,
    NEWS,
    PRESS,
    Capability,
    Consent,
    CrmUnderTest,
    Person,
    crm_context,
)
from campaign_sync.domain.entity import Entity, EntityType
from campaign_sync_tests.crm.salesforce.org import Org
from campaign_sync_tests.crm.salesforce.settings import salesforce_settings

NEEDS = CrmNeeds(frozenset({EVERYBODY}), frozenset(COLUMNS))

_FIELDS: Final = {
    EntityType.CONTACT: ("Contact", "Email", "FirstName", "MailingCity"),
    EntityType.LEAD: ("Lead", "Email", "FirstName", "City"),
    EntityType.ACCOUNT: ("Account", "Email__c", "Nick__c", "BillingCity"),
}

_CONSENTS: Final = {NEWS: ("Newsletter__c", "Newsletter_Date__c"), "offers": ("Offers__c", "Offers_Date__c")}


class SalesforceUnderTest(CrmUnderTest):
    """An org with a server of its own. The opt-in `press` has consent records, the others have checkboxes.

    Reports are tested elsewhere: by its id, Salesforce says of which type a record is, and the ids here aren't such.
    """

    capabilities = frozenset(Capability) - {
        Capability.EVENTS,
        Capability.ANY_WORD,
        Capability.ANY_MEMBER,
        Capability.REPORTS,
    }
    largest_chunk = 20

    def __init__(self, org: Org, url: str, folder: Path) -> None:
        self._org, self._url, self._folder = org, url, folder
        self._campaign = org.add("Campaign", Name=EVERYBODY.name)
        self._purpose = org.add("DataUsePurpose", Name="Press")

    def open(self) -> Crm:
        settings = salesforce_settings(self._url)
        context = crm_context(self._folder, NEEDS)
        return MirrorCrm(
            SalesforceSource(settings, NEEDS, context.folder, lambda _: None), settings, context, self._url
        )

    def add_people(self, people: Sequence[Person]) -> None:
        for person in people:
            sobject, *names = _FIELDS[person.entity.entity_type]
            values = zip(names, (person.email, person.first_name, person.city), strict=True)
            individual = self._org.add("Individual", LastName="L")
            self._org.add(sobject, Id=person.entity.entity_id, IndividualId=individual, **dict(values))

    def add_members(self, members: Sequence[tuple[str, str]]) -> None:
        for kind, entity_id in members:
            self._org.add("CampaignMember", CampaignId=self._campaign, **{f"{kind.capitalize()}Id": entity_id})

    def add_consents(self, consents: Sequence[Consent]) -> None:
        for consent in consents:
            record, at = self._record(consent), consent.at.isoformat() if consent.at else None
            is_granted = consent.kind == "granted"
            if at is None and not is_granted:
                record["HasOptedOutOfEmail"] = True
                continue
            record["HasOptedOutOfEmail"] = False
            if consent.opt_in_id == PRESS:
                status = "OptIn" if is_granted else "OptOut"
                self._add_consent_record(record, PrivacyConsentStatus=status, CaptureDate=at)
            else:
                granted, date = _CONSENTS[consent.opt_in_id]
                record |= {granted: is_granted, date: at}

    def _add_consent_record(self, record: dict[str, Any], **values: Any) -> None:
        party = {"PartyId": record["IndividualId"], "DataUsePurposeId": self._purpose, "ContactPointType": "Email"}
        self._org.add("ContactPointTypeConsent", **party, **values)

    def remove_consent(self, consent: Consent) -> None:
        granted, date = _CONSENTS[consent.opt_in_id]
        self._record(consent).update({granted: False, date: None})

    def withdrawn(self) -> Collection[tuple[str, str]]:
        records = [(kind, row) for kind, (sobject, *_) in _FIELDS.items() for row in self._org.rows.get(sobject, ())]
        boxes = [
            (f"{kind}:{row['Id']}", opt_in_id)
            for kind, row in records
            for opt_in_id, (granted, date) in _CONSENTS.items()
            if row.get(date) and not row.get(granted)
        ]
        opted_out = {
            consent["PartyId"]
            for consent in self._org.rows.get("ContactPointTypeConsent", ())
            if consent["PrivacyConsentStatus"] == "OptOut"
        }
        return [*boxes, *((f"{kind}:{row['Id']}", PRESS) for kind, row in records if row["IndividualId"] in opted_out)]

    def bounced(self) -> Mapping[str, str]:
        rows = [row for sobject in ("Contact", "Lead") for row in self._org.rows.get(sobject, ())]
        return {
            row["Email"].strip().lower(): row["EmailBouncedReason"].partition(":")[0]
            for row in rows
            if row.get("EmailBouncedDate")
        }

    def losing_rows(self) -> AbstractContextManager[object]:
        return patch.object(self._org, "loses", new=True)

    def unreachable(self) -> AbstractContextManager[object]:
        return patch.object(self, "_url", "http://127.0.0.1:9")

    def cut(self) -> AbstractContextManager[object]:
        return patch.object(self._org, "cuts", new=True)

    def refusing_writes(self, entities: Collection[Entity] = ()) -> AbstractContextManager[object]:
        ids = [entity.entity_id for entity in entities] or [""]
        return patch.object(self._org, "refused", dict.fromkeys(ids, "FIELD_CUSTOM_VALIDATION_EXCEPTION"))

    def _record(self, consent: Consent) -> dict[str, Any]:
        entity = consent.person.entity
        return self._org.record(_FIELDS[entity.entity_type][0], entity.entity_id)
