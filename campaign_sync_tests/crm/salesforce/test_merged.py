"""Withdrawals of records that were merged into others."""

from campaign_sync.crm.testing import NEWS, PRESS
from campaign_sync_tests.crm.salesforce.conftest import OpenCrm
from campaign_sync_tests.crm.salesforce.org import Org
from campaign_sync_tests.crm.salesforce.test_reading import member, selected

GRANT = {"Newsletter__c": True, "Newsletter_Date__c": "2026-01-10T10:00:00.000Z"}


def merge(org: Org, sobject: str, master: str | None, at: str = "2026-02-01T10:00:00.000Z", **values: object) -> str:
    """Add a record that was merged into another, and return its id."""
    return org.add(sobject, Email="x@example.org", IsDeleted=True, MasterRecordId=master, SystemModstamp=at, **values)


def granted_member(org: Org, sobject: str, **values: object) -> str:
    record = org.add(sobject, Email="a@example.org", **GRANT | values)
    member(org, **{f"{sobject}Id": record})
    return record


def kinds(open_crm: OpenCrm, opt_in_id: str = NEWS) -> list[str]:
    return [str(kind) for kind in selected(open_crm(), opt_in_id=opt_in_id)["consent_kind"]]


def test_a_withdrawal_of_a_merged_record_counts_unless_the_grant_of_what_is_left_is_newer(
    org: Org, open_crm: OpenCrm
) -> None:
    for sobject in ("Contact", "Lead"):
        for day, granted in (("2026-01-20", False), ("2026-01-02", False), ("2026-03-01", True)):
            at = f"{day}T10:00:00.000Z"
            merge(org, sobject, granted_member(org, sobject), Newsletter__c=granted, Newsletter_Date__c=at)
    assert kinds(open_crm) == ["withdrawn", "granted", "granted"] * 2


def test_an_opt_out_of_a_merged_record_is_as_old_as_the_merge(org: Org, open_crm: OpenCrm) -> None:
    for at in ("2026-02-01T10:00:00.000Z", "2026-01-02T10:00:00.000Z"):
        merge(org, "Contact", granted_member(org, "Contact"), at, HasOptedOutOfEmail=True)
    assert kinds(open_crm) == ["withdrawn", "granted"]


def test_what_is_left_in_the_end_has_the_withdrawals_of_all(org: Org, open_crm: OpenCrm) -> None:
    last = granted_member(org, "Contact")
    middle = merge(org, "Contact", last)
    merge(org, "Contact", middle, HasOptedOutOfEmail=True)
    ring = f"Contact-{len(org.rows['Contact'])}"
    merge(org, "Contact", ring, HasOptedOutOfEmail=True)  # Salesforce has no such record; it must not hang
    contact = granted_member(org, "Contact")
    converted = org.add("Lead", IsConverted=True, ConvertedContactId=contact, ConvertedDate="2026-02-01")
    merge(org, "Lead", converted, HasOptedOutOfEmail=True)
    assert kinds(open_crm) == ["withdrawn", "withdrawn"]


def test_a_lead_that_is_converted_after_a_merge_takes_the_withdrawal_along(org: Org, open_crm: OpenCrm) -> None:
    lead = granted_member(org, "Lead")
    merge(org, "Lead", lead, HasOptedOutOfEmail=True)
    crm = open_crm()
    assert [str(kind) for kind in selected(crm)["consent_kind"]] == ["withdrawn"]
    contact = granted_member(org, "Contact")
    org.record("Lead", lead).update({"IsConverted": True, "ConvertedContactId": contact, "ConvertedDate": "2026-02-02"})
    assert kinds(open_crm) == ["withdrawn"]


def test_a_person_account_that_was_merged_is_found_by_its_account(org: Org, open_crm: OpenCrm) -> None:
    contact = granted_member(org, "Contact", IsPersonAccount=True)
    account = org.add("Account", Name="P", IsPersonAccount=True, PersonContactId=contact)
    gone = org.add("Account", Name="P", IsPersonAccount=True, IsDeleted=True, MasterRecordId=account)
    middle = merge(org, "Contact", None, AccountId=gone)
    org.add("Account", Id="001-middle", Name="P", IsPersonAccount=True, PersonContactId=middle)
    first = org.add("Account", Name="P", IsPersonAccount=True, IsDeleted=True, MasterRecordId="001-middle")
    merge(org, "Contact", None, AccountId=first, HasOptedOutOfEmail=True)
    assert kinds(open_crm) == ["withdrawn"]


def test_consent_records_of_a_merged_record_only_withdraw(org: Org, open_crm: OpenCrm) -> None:
    for status in ("OptOut", "OptIn"):
        kept, lost = org.add("Individual", LastName="I"), org.add("Individual", LastName="I")
        merge(org, "Contact", granted_member(org, "Contact", IndividualId=kept), IndividualId=lost)
        consent = {"DataUsePurposeId": "0ZW", "ContactPointType": "Email"}
        granted_at, changed_at = "2026-01-10T10:00:00.000Z", "2026-01-20T10:00:00.000Z"
        org.add("ContactPointTypeConsent", PartyId=lost, PrivacyConsentStatus=status, CaptureDate=changed_at, **consent)
        org.add(
            "ContactPointTypeConsent", PartyId=kept, PrivacyConsentStatus="OptIn", CaptureDate=granted_at, **consent
        )
    frame = selected(open_crm(), opt_in_id=PRESS)
    assert frame["consent_kind"].tolist() == ["withdrawn", "granted"]
    assert frame["consent_at"].iloc[1].day == 10


def test_a_record_that_was_only_deleted_withdraws_nothing(org: Org, open_crm: OpenCrm) -> None:
    granted_member(org, "Contact")
    merge(org, "Contact", None, HasOptedOutOfEmail=True)
    assert kinds(open_crm) == ["granted"]


def test_withdrawals_of_a_converted_lead_follow_its_contact_through_merges(org: Org, open_crm: OpenCrm) -> None:
    for kept, lost in ((granted_member(org, "Contact"), f"c{number}") for number in range(3)):
        merge(org, "Contact", kept, Id=lost)
    converted = {"IsConverted": True, "ConvertedDate": "2026-02-01"}
    org.add(
        "Lead", Newsletter__c=False, Newsletter_Date__c="2026-01-20T10:00:00.000Z", ConvertedContactId="c0", **converted
    )
    lead = org.add("Lead", ConvertedContactId="c1", **converted)
    merge(org, "Lead", lead, HasOptedOutOfEmail=True)
    assert kinds(open_crm) == ["withdrawn", "withdrawn", "granted"]
