"""What is written to Salesforce."""

from datetime import UTC, datetime, timedelta

import pytest

from campaign_sync.crm.mirror.source import Withdrawal
from campaign_sync.crm.port import WriteBack
from campaign_sync.crm.salesforce.api import SalesforceApi
from campaign_sync.crm.salesforce.write_back import SalesforceWriter
from campaign_sync.crm.testing import NEWS, PRESS
from campaign_sync.domain.entity import Entity, EntityType
from campaign_sync.domain.feedback import Bounce, BounceKind, Unsubscribe
from campaign_sync_tests.crm.salesforce.conftest import OpenCrm
from campaign_sync_tests.crm.salesforce.org import Org
from campaign_sync_tests.crm.salesforce.settings import salesforce_settings

AT = datetime(2026, 3, 1, 12, 0, 0, 500, tzinfo=UTC)
WRITTEN = "2026-03-01T12:00:01.000Z"
EARLIER, LATER = "2026-02-01T12:00:00.000Z", "2026-03-02T12:00:00.000Z"


def unsubscribe(opt_in_id: str | None = NEWS, mandator: str = "nord") -> Unsubscribe:
    return Unsubscribe("a@example.org", AT, mandator, "optimizely:getUnsubscribes", opt_in_id=opt_in_id)


def bounce(kind: BounceKind = BounceKind.HARD, days: int = 0) -> Bounce:
    return Bounce("a@example.org", AT + timedelta(days=days), "nord", "optimizely:getOutBounces", kind)


def granted(at: str | None = EARLIER, **more: object) -> dict[str, object]:
    return {"Email": "a@example.org", "Newsletter__c": True, "Newsletter_Date__c": at, **more}


def test_only_the_values_that_change_are_written(org: Org, open_crm: OpenCrm) -> None:
    org.add("Contact", **granted(Offers__c=False, Offers_Date__c=EARLIER))
    open_crm().record_unsubscribes([unsubscribe(None)])
    assert org.written == [{"Newsletter__c": False, "Newsletter_Date__c": WRITTEN}]


def test_consents_of_one_record_are_written_together(org: Org, open_crm: OpenCrm) -> None:
    org.add("Contact", **granted(Offers__c=True))
    assert open_crm().record_unsubscribes([unsubscribe(None)]) == WriteBack(2, 0)
    assert len(org.written) == 1
    assert set(org.written[0]) == {"Newsletter__c", "Newsletter_Date__c", "Offers__c", "Offers_Date__c"}


def test_a_grant_that_came_after_the_copy_stays(org: Org, open_crm: OpenCrm) -> None:
    contact = org.add("Contact", **granted())
    crm, select = open_crm(), org.select

    def regranted(text: str, **how: bool) -> object:
        if " IN (" in text and "Contact WHERE Id" in text:
            org.record("Contact", contact)["Newsletter_Date__c"] = LATER
        return select(text, **how)

    org.select = regranted  # type: ignore[method-assign,assignment]
    crm.record_unsubscribes([unsubscribe()])
    assert org.written == []


def test_a_person_account_is_written_on_the_account(org: Org, open_crm: OpenCrm) -> None:
    account = org.add("Account", Name="P", IsPersonAccount=True)
    org.add("Contact", **granted(AccountId=account, IsPersonAccount=True))
    open_crm().record_unsubscribes([unsubscribe()])
    open_crm().record_bounces([bounce()])
    person = org.record("Account", account)
    assert (person["Newsletter__pc"], person["Newsletter_Date__pc"]) == (False, WRITTEN)
    assert person["PersonEmailBouncedReason"] == "hard: optimizely:getOutBounces (nord)"
    assert open_crm().record_bounces([bounce()]) == WriteBack(0, 1)


def test_a_field_for_dates_takes_the_day(org: Org, open_crm: OpenCrm) -> None:
    org.add("Account", Name="F", Email__c="a@example.org", Newsletter__c=True, Newsletter_Date__c="2026-02-28")
    open_crm().record_unsubscribes([unsubscribe()])
    assert org.written == [{"Newsletter__c": False, "Newsletter_Date__c": "2026-03-01"}]
    assert open_crm().record_unsubscribes([unsubscribe()]) == WriteBack(0, 1)


@pytest.mark.parametrize(("times", "written"), [(2, 1), (9, 0)])
def test_a_locked_record_is_tried_again_alone(org: Org, open_crm: OpenCrm, times: int, written: int) -> None:
    org.locked[org.add("Contact", **granted())] = times
    result = open_crm().record_unsubscribes([unsubscribe()])
    assert (result.written, len(result.refused)) == (written, 1 - written)


def test_a_consent_record_becomes_an_opt_out(org: Org, open_crm: OpenCrm) -> None:
    party = org.add("Individual", LastName="I")
    for sobject in ("Contact", "Lead"):
        org.add(sobject, Email="a@example.org", IndividualId=party)
    key = {"PartyId": party, "DataUsePurposeId": "0ZW", "ContactPointType": "Email", "PrivacyConsentStatus": "OptIn"}
    org.add("ContactPointTypeConsent", CaptureDate=EARLIER, **key)
    assert open_crm().record_unsubscribes([unsubscribe(PRESS, "sued")]) == WriteBack(2, 0)
    opted_out = {"PrivacyConsentStatus": "OptOut", "CaptureDate": WRITTEN}
    assert org.written == [{**opted_out, "CaptureSource": "optimizely:getUnsubscribes"}]
    assert open_crm().record_unsubscribes([unsubscribe(PRESS, "sued")]) == WriteBack(0, 2)


def test_a_consent_record_that_is_missing_is_added_once(org: Org, url: str) -> None:
    party = org.add("Individual", LastName="I")
    entity = Entity(EntityType.CONTACT, org.add("Contact", Email="a@example.org", IndividualId=party))
    withdrawal = Withdrawal("id", entity, "a@example.org", PRESS, "sued", AT, "optimizely:getUnsubscribes", "row 1")
    settings = salesforce_settings(url)
    for _ in range(2):
        writer = SalesforceWriter(SalesforceApi(settings, lambda _: None), settings)
        assert list(writer.withdrawals([withdrawal])) == [[withdrawal]]
    (record,) = org.rows["ContactPointTypeConsent"]
    assert (record["PrivacyConsentStatus"], record["CaptureDate"], record["PartyId"]) == ("OptOut", WRITTEN, party)


def test_a_record_without_a_place_for_a_consent_needs_no_withdrawal(org: Org, open_crm: OpenCrm) -> None:
    org.add("Lead", Email="a@example.org")
    result = open_crm().record_unsubscribes([unsubscribe("offers"), unsubscribe(PRESS, "sued")])
    assert (result.refused, org.written) == ((), [])


def test_refusals_are_reported_by_their_codes_alone(
    org: Org, open_crm: OpenCrm, caplog: pytest.LogCaptureFixture
) -> None:
    contact = org.add("Contact", **granted())
    org.refused[contact] = "FIELD_CUSTOM_VALIDATION_EXCEPTION"
    open_crm().record_unsubscribes([unsubscribe()])
    assert "FIELD_CUSTOM_VALIDATION_EXCEPTION (1)" in caplog.text
    assert not any(text in caplog.text for text in (contact, "Geheimrath", "a@example.org"))


def test_a_soft_bounce_is_known_and_not_shown_in_salesforce(org: Org, open_crm: OpenCrm) -> None:
    org.add("Contact", Email="a@example.org")
    assert open_crm().record_bounces([bounce(BounceKind.SOFT)]) == WriteBack(1, 0)
    assert open_crm().record_bounces([bounce(BounceKind.SOFT)]) == WriteBack(0, 1)
    assert org.written == []


def test_an_address_of_an_account_alone_has_no_place_for_a_bounce(org: Org, open_crm: OpenCrm) -> None:
    org.add("Account", Name="F", Email__c="a@example.org")
    result = open_crm().record_bounces([bounce()])
    assert (result.written, result.unmatched) == (0, ("a@example.org",))


def test_a_newer_bounce_replaces_an_older_one(org: Org, open_crm: OpenCrm) -> None:
    org.add("Contact", Email="a@example.org")
    open_crm().record_bounces([bounce()])
    assert open_crm().record_bounces([bounce(BounceKind.LIMIT, days=1), bounce()]).written == 1
    assert org.written[-1]["EmailBouncedReason"] == "limit: optimizely:getOutBounces (nord)"


def test_an_address_that_the_record_has_got_since_the_copy_has_not_bounced(org: Org, open_crm: OpenCrm) -> None:
    contact = org.add("Contact", Email="a@example.org")
    crm = open_crm()
    with crm.snapshot():
        pass
    org.record("Contact", contact)["Email"] = "b@example.org"
    crm.record_bounces([bounce()])
    assert org.written == []
