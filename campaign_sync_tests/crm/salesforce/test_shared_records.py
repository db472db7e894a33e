"""Consents and bounces are read by jobs once, and as they are now for every view."""

from typing import Any

import pytest
from pydantic import SecretStr

from campaign_sync.crm.port import CrmError
from campaign_sync.crm.testing import PRESS
from campaign_sync_tests.crm.salesforce.conftest import OpenCrm
from campaign_sync_tests.crm.salesforce.org import Org
from campaign_sync_tests.crm.salesforce.test_reading import member, selected

DATE = "2026-01-01T10:00:00.000Z"


def jobs(org: Org) -> list[str]:
    """Return what was read by jobs, apart from picks and people, since it was asked for the last time."""
    queries = [call for call in org.calls if call.startswith("POST") and "/jobs/query" in call]
    org.calls.clear()
    return queries


@pytest.fixture
def contact(org: Org) -> str:
    individual = org.add("Individual", LastName="I")
    contact = org.add(
        "Contact", Email="a@example.org", Newsletter__c=True, Newsletter_Date__c=DATE, IndividualId=individual
    )
    member(org, ContactId=contact)
    return contact


def test_a_second_view_takes_no_jobs(org: Org, open_crm: OpenCrm, contact: str) -> None:
    crm = open_crm()
    assert selected(crm)["consent_kind"].tolist() == ["granted"]
    assert jobs(org)
    assert selected(crm)["consent_kind"].tolist() == ["granted"]
    assert jobs(org) == []


@pytest.mark.parametrize("box", ["HasOptedOutOfEmail", "HasOptedOutSolicit"])
def test_a_second_view_sees_who_opted_out_meanwhile(org: Org, open_crm: OpenCrm, contact: str, box: str) -> None:
    crm = open_crm()
    selected(crm)
    jobs(org)
    record = org.record("Contact", contact)
    owner = record if box == "HasOptedOutOfEmail" else org.record("Individual", record["IndividualId"])
    owner[box] = True
    assert selected(crm)["consent_kind"].tolist() == ["withdrawn"]
    assert jobs(org) == []


def test_a_second_view_sees_changed_and_deleted_consent_records(org: Org, open_crm: OpenCrm, contact: str) -> None:
    party = org.record("Contact", contact)["IndividualId"]
    grant = {"PrivacyConsentStatus": "OptIn", "CaptureDate": DATE, "ContactPointType": "Email"}
    consent = org.record(
        "ContactPointTypeConsent", org.add("ContactPointTypeConsent", PartyId=party, DataUsePurposeId="0ZW", **grant)
    )
    crm = open_crm()
    assert selected(crm, opt_in_id=PRESS)["consent_kind"].tolist() == ["granted"]
    consent["ContactPointType"] = "Phone"
    assert selected(crm, opt_in_id=PRESS)["consent_kind"].isna().all()
    consent.update({"ContactPointType": "Email", "PrivacyConsentStatus": "OptOut"})
    assert selected(crm, opt_in_id=PRESS)["consent_kind"].tolist() == ["withdrawn"]
    consent["IsDeleted"] = True
    assert selected(crm, opt_in_id=PRESS)["consent_kind"].isna().all()


def test_a_second_view_sees_bounces_that_came_and_went(org: Org, open_crm: OpenCrm, contact: str) -> None:
    crm = open_crm()
    record = org.record("Contact", contact)
    for at in (None, DATE, None):
        record["EmailBouncedDate"] = at
        with crm.snapshot(()) as snapshot:
            assert snapshot.suppression("nord").empty is (at is None)


def test_formulas_are_read_by_jobs_for_every_view(org: Org, open_crm: OpenCrm, contact: str) -> None:
    """Their values change without a change of the record."""
    org.formulas.add("Contact.Newsletter__c")
    crm = open_crm()
    selected(crm)
    jobs(org)
    dict.__setitem__(org.record("Contact", contact), "Newsletter__c", False)
    assert selected(crm)["consent_kind"].tolist() == ["withdrawn"]
    assert jobs(org)


def test_a_second_view_sees_a_merge(org: Org, open_crm: OpenCrm, contact: str) -> None:
    loser = org.record("Contact", org.add("Contact", Email="b@example.org", HasOptedOutOfEmail=True))
    crm = open_crm()
    assert selected(crm)["consent_kind"].tolist() == ["granted"]
    loser.update({"IsDeleted": True, "MasterRecordId": contact})
    assert selected(crm)["consent_kind"].tolist() == ["withdrawn"]


def test_another_app_reads_for_itself_as_its_user_may_see_other_records(
    org: Org, open_crm: OpenCrm, contact: str
) -> None:
    selected(open_crm())
    jobs(org)
    selected(open_crm(client_id=SecretStr("another")))
    assert jobs(org)


def test_a_second_view_sees_a_merge_of_individuals(org: Org, open_crm: OpenCrm, contact: str) -> None:
    """It isn't known whether that is a change of the contacts, too, which refer to another individual now."""
    crm = open_crm()
    record = org.record("Contact", contact)
    master = org.add("Individual", LastName="I", HasOptedOutSolicit=True, SystemModstamp=DATE)
    dict.__setitem__(record, "SystemModstamp", DATE)
    assert selected(crm)["consent_kind"].tolist() == ["granted"]
    org.record("Individual", record["IndividualId"]).update(IsDeleted=True, MasterRecordId=master)
    dict.__setitem__(record, "IndividualId", master)
    assert selected(crm)["consent_kind"].tolist() == ["withdrawn"]


def test_a_page_of_changes_in_place_of_another_is_refused(
    org: Org, open_crm: OpenCrm, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(45):
        member(org, ContactId=org.add("Contact", Email="a@example.org", HasOptedOutOfEmail=True))
    crm, page = open_crm(), org._page
    selected(crm)

    def repeated(location: str, offset: int) -> dict[str, Any]:
        return page(location, offset) | ({"records": page(location, 0)["records"]} if offset == 20 else {})

    monkeypatch.setattr(org, "_page", repeated)
    with pytest.raises(CrmError, match="a second time"):
        selected(crm)
