"""What is read from Salesforce."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaign_sync.crm.mirror.adapter import MirrorCrm
from campaign_sync.crm.port import CrmError, CrmSetupError, Pick
from campaign_sync.crm.salesforce.api import SalesforceApi
from campaign_sync.crm.salesforce.bulk import BulkQuery
from campaign_sync.crm.salesforce.ids import long_id
from campaign_sync.crm.salesforce.stated_consents import CONSENT_PATHS, of_checkbox, of_record
from campaign_sync.crm.testing import EVERYBODY, NEWS, PRESS
from campaign_sync.domain.entity import EntityType
from campaign_sync_tests.crm.salesforce.conftest import OpenCrm
from campaign_sync_tests.crm.salesforce.org import Fault, Org
from campaign_sync_tests.crm.salesforce.settings import salesforce_settings

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def selected(
    crm: MirrorCrm, pick: Pick = EVERYBODY, columns: Sequence[str] = (), opt_in_id: str = NEWS
) -> pd.DataFrame:
    with crm.snapshot([opt_in_id]) as snapshot:
        return pd.concat(list(snapshot.select(pick, opt_in_id, columns)), ignore_index=True)


def member(org: Org, **values: object) -> None:
    org.add("CampaignMember", CampaignId="701", **values)


def test_a_token_that_ends_between_two_pages_is_renewed(org: Org, open_crm: OpenCrm) -> None:
    for _ in range(45):
        member(org, ContactId=org.add("Contact", Email="a@example.org"))
    org.expires_at = "locator=20"
    assert len(selected(open_crm())) == 45
    assert sum("oauth2" in call for call in org.calls) == 2
    assert not any(job.startswith("750") for job in org.jobs)


def test_a_download_that_is_cut_goes_on_at_the_same_page_with_a_new_token(
    org: Org, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [org.add("Contact", Email="a@example.org") for _ in range(45)]
    results, cuts = org.results, iter([True])

    def cut_once(job: str, offset: int) -> tuple[bytes, dict[str, str]]:
        org.cuts = offset == 20 and next(cuts, False)
        if org.cuts:
            org.expires_at = "locator=20"  # before the next attempt
        return results(job, offset)

    monkeypatch.setattr(org, "results", cut_once)
    query = BulkQuery(SalesforceApi(salesforce_settings(url), lambda _: None), ["Id"], "Contact", "contacts")
    assert [row[0] for chunk in query.chunks() for row in chunk] == ids
    pages = [call.partition("locator=")[2] for call in org.calls if "/results" in call]
    assert pages == ["", "20", "20", "20", "40"]
    assert sum("oauth2" in call for call in org.calls) == 2


def test_a_page_in_place_of_another_is_refused(org: Org, open_crm: OpenCrm, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(40):
        member(org, ContactId=org.add("Contact", Email=f"p{number}@example.org"))
    results = org.results

    def repeated(job: str, offset: int) -> tuple[bytes, dict[str, str]]:
        return results(job, 0)[0], results(job, offset)[1]

    monkeypatch.setattr(org, "results", repeated)
    with pytest.raises(CrmError, match="a second time"):
        selected(open_crm())


@pytest.mark.parametrize(
    ("code", "status", "message", "expected"),
    [
        ("REQUEST_LIMIT_EXCEEDED", 403, "TotalRequests Limit exceeded.", "no more API calls in these 24 hours"),
        ("REQUEST_LIMIT_EXCEEDED", 403, "ConcurrentRequests Limit exceeded.", "at the same time"),
        ("INVALID_FIELD", 400, "Geheimrath", "INVALID_FIELD"),
        ("QUERY_TIMEOUT", 400, "Geheimrath", "QUERY_TIMEOUT"),
        ("SERVER_UNAVAILABLE", 503, "Geheimrath", "503"),
    ],
)
def test_an_answer_that_is_an_error_is_named_by_its_code(
    org: Org, open_crm: OpenCrm, code: str, status: int, message: str, expected: str
) -> None:
    org.faults.append(Fault("/jobs/query", status, code, message, times=-1))
    with pytest.raises(CrmError, match=expected) as caught, open_crm().snapshot():
        pass
    assert "Geheimrath" not in str(caught.value)


@pytest.mark.parametrize(("code", "retryable"), [("INVALID_FIELD", False), ("QUERY_TIMEOUT", True)])
def test_a_job_that_fails_is_retried_unless_a_person_has_to_correct_something(
    org: Org, open_crm: OpenCrm, monkeypatch: pytest.MonkeyPatch, code: str, retryable: bool
) -> None:
    answer = org.answer

    def failed(method: str, path: str, query: dict[str, str], body: object) -> tuple[int, object, dict[str, str]]:
        is_job = method == "GET" and re.fullmatch(r"jobs/query/\w+", path)
        info = {"state": "Failed", "errorMessage": f"{code}: Geheimrath"}
        return (200, info, {}) if is_job else answer(method, path, query, body)

    monkeypatch.setattr(org, "answer", failed)
    with pytest.raises(CrmError, match=code) as caught:
        selected(open_crm())
    assert caught.value.retryable is retryable
    assert "Geheimrath" not in str(caught.value)


def test_an_address_that_the_user_may_not_read_is_not_retried(org: Org, open_crm: OpenCrm) -> None:
    org.hidden = {"Contact.Email"}
    with pytest.raises(CrmSetupError, match=r"may not read Contact\.Email"):
        selected(open_crm())


@pytest.mark.parametrize(("code", "message"), [("SERVER_UNAVAILABLE", ""), ("REQUEST_LIMIT_EXCEEDED", "Concurrent")])
def test_a_call_that_may_succeed_later_is_repeated(org: Org, open_crm: OpenCrm, code: str, message: str) -> None:
    member(org, ContactId=org.add("Contact", Email="a@example.org"))
    status, text = (503, message) if not message else (403, "ConcurrentRequests Limit exceeded.")
    org.faults.append(Fault("/results", status, code, text, times=2))
    assert len(selected(open_crm())) == 1


def test_too_few_calls_are_reported_before_any_work(org: Org, open_crm: OpenCrm) -> None:
    org.limit = 30
    with (
        pytest.raises(CrmError, match=r"needs about \d+ API calls, and Salesforce has \d+ of 30 left"),
        open_crm().snapshot(),
    ):
        pass
    assert not any("jobs" in call for call in org.calls)


def test_a_nul_is_kept(org: Org, open_crm: OpenCrm) -> None:
    member(org, ContactId=org.add("Contact", Email="a\x00b@example.org"))
    assert selected(open_crm())["email"].tolist() == ["a\x00b@example.org"]


def test_fields_of_parents_can_be_columns(org: Org, open_crm: OpenCrm) -> None:
    account = org.add("Account", Name="Öl & Söhne")
    member(org, ContactId=org.add("Contact", Email="a@example.org", AccountId=account))
    frame = selected(open_crm(columns=("Account.Name",)), columns=["Account.Name"])
    assert frame["Account.Name"].tolist() == ["Öl & Söhne"]


def test_a_person_account_is_a_contact_and_no_account(org: Org, open_crm: OpenCrm) -> None:
    person = org.add("Account", Name="P", IsPersonAccount=True, Email__c="p@example.org")
    member(org, ContactId=org.add("Contact", Email="p@example.org", AccountId=person, IsPersonAccount=True))
    with open_crm().snapshot() as snapshot:
        assert list(map(str, snapshot.entities_with("p@example.org"))) == ["contact:Contact-0"]


def test_a_converted_lead_is_its_contact_who_keeps_its_withdrawal(org: Org, open_crm: OpenCrm) -> None:
    grant = {"Newsletter__c": True, "Newsletter_Date__c": "2024-05-01T10:00:00.000Z"}
    early, late = (org.add("Contact", Email=f"{name}@example.org", **grant) for name in ("early", "late"))
    for contact, day in ((early, "2024-01-01"), (late, "2025-01-01")):
        lead = org.add("Lead", Email="x@example.org", IsConverted=True, ConvertedContactId=contact, ConvertedDate=day)
        org.record("Lead", lead)["HasOptedOutOfEmail"] = True
        member(org, LeadId=lead, ContactId=contact if contact == early else None)
    frame = selected(open_crm())
    assert frame["entity_type"].tolist() == ["contact", "contact"]
    assert dict(zip(frame["email"], frame["consent_kind"], strict=True)) == {
        "early@example.org": "granted",
        "late@example.org": "withdrawn",
    }


def test_who_opted_out_of_all_e_mail_has_withdrawn_every_opt_in(org: Org, open_crm: OpenCrm) -> None:
    grant = {"Newsletter__c": True, "Newsletter_Date__c": "2026-01-01T10:00:00.000Z", "HasOptedOutOfEmail": True}
    member(org, ContactId=org.add("Contact", Email="a@example.org", **grant))
    for opt_in_id in (NEWS, "offers", PRESS):
        assert selected(open_crm(), opt_in_id=opt_in_id)["consent_kind"].tolist() == ["withdrawn"]


def test_consents_of_an_individual_are_those_of_all_its_records(org: Org, open_crm: OpenCrm) -> None:
    individual = org.add("Individual", LastName="I")
    for sobject in ("Contact", "Lead"):
        record = org.add(sobject, Email="a@example.org", IndividualId=individual)
        member(org, **{f"{sobject}Id": record})
    granted = {"PartyId": individual, "DataUsePurposeId": "0ZW", "PrivacyConsentStatus": "OptIn"}
    org.add("ContactPointTypeConsent", ContactPointType="Email", CaptureDate="2026-01-01T10:00:00.000Z", **granted)
    org.add("ContactPointTypeConsent", ContactPointType="Phone", CaptureDate="2026-02-01T10:00:00.000Z", **granted)
    frame = selected(open_crm(), opt_in_id=PRESS)
    assert frame["consent_at"].tolist() == [datetime(2026, 1, 1, 10, tzinfo=UTC)] * 2


@pytest.mark.parametrize(
    ("changes", "kind", "at"),
    [
        ({}, "granted", "2026-01-01T00:00:00Z"),
        ({"DoubleConsentCaptureDate": "2026-01-02T00:00:00Z"}, "confirmed", "2026-01-02T00:00:00Z"),
        ({"DoubleConsentCaptureDate": "2025-01-02T00:00:00Z"}, "confirmed", "2026-01-01T00:00:00Z"),
        ({"BusinessBrandId": "Brand"}, "none", "2026-01-01T00:00:00Z"),
        ({"BusinessBrandId": "Brand", "PrivacyConsentStatus": "OptOut"}, "withdrawn", "2026-01-01T00:00:00Z"),
        ({"EffectiveFrom": "2026-06-01T00:00:00Z"}, "granted", "2026-06-01T00:00:00Z"),
        ({"EffectiveTo": "2026-02-01T00:00:00Z"}, "withdrawn", "2026-02-01T00:00:00Z"),
        ({"EffectiveTo": "2026-06-01T00:00:00Z"}, "granted", "2026-01-01T00:00:00Z"),
        ({"PrivacyConsentStatus": "OptOut"}, "withdrawn", "2026-01-01T00:00:00Z"),
        ({"PrivacyConsentStatus": "Seen"}, "none", "2026-01-01T00:00:00Z"),
        ({"PrivacyConsentStatus": "Perhaps"}, "Perhaps", "2026-01-01T00:00:00Z"),
    ],
)
def test_a_consent_record_says_what_counts_now(changes: dict[str, str], kind: str, at: str) -> None:
    row = dict.fromkeys(CONSENT_PATHS) | {"PrivacyConsentStatus": "OptIn", "CaptureDate": "2026-01-01T00:00:00Z"}
    stated = of_record(row | changes, NOW)
    assert (stated.kind, stated.at) == (kind, at)


def test_a_grant_with_a_date_alone_is_older_than_every_withdrawal_of_that_day() -> None:
    earliest = datetime(2026, 2, 28, 10, tzinfo=UTC)
    assert not of_checkbox("true", "2026-03-01").is_grant_since(earliest)
    assert of_checkbox("false", None).kind == "none"
    assert of_checkbox("false", "2026-03-01").moment == datetime(2026, 3, 2, 11, 59, 59, tzinfo=UTC)


@given(st.integers(-12, 14), st.integers(-12, 14), st.integers(0, 96 * 60), st.integers(0, 96 * 60), st.booleans())
def test_a_grant_with_a_date_alone_never_seems_newer_than_it_was(
    grant_zone: int, other_zone: int, granted: int, withdrawn: int, has_time: bool
) -> None:
    granted_at, withdrawn_at = (NOW + timedelta(minutes=minutes) for minutes in (granted, withdrawn))
    day, other_day = (
        at.astimezone(timezone(timedelta(hours=zone))).date().isoformat()
        for at, zone in ((granted_at, grant_zone), (withdrawn_at, other_zone))
    )
    withdrawal = of_checkbox("false", withdrawn_at.isoformat() if has_time else other_day)
    assert withdrawal.moment is not None
    assert withdrawal.moment >= withdrawn_at
    if of_checkbox("true", day).is_grant_since(withdrawal.moment):
        assert granted_at > withdrawn_at


def test_campaigns_of_the_same_name_are_refused_and_can_be_named_by_id(org: Org, open_crm: OpenCrm) -> None:
    twin = "701000000000002AAA"
    org.add("Campaign", Id=twin, Name=f" {EVERYBODY.name} ")
    org.record("Campaign", twin)["Name"] = EVERYBODY.name
    org.add("CampaignMember", CampaignId=twin, ContactId=org.add("Contact", Email="a@example.org"))
    with pytest.raises(CrmError, match=f"2 Campaign records 'Everybody'; name it by its id: 701, {twin}"):
        selected(open_crm())
    assert len(selected(open_crm(by_id := Pick("marketing_list", twin)), by_id)) == 1


@pytest.mark.parametrize("name", ["2026NewsletterA", "701NewsletterXX", "202611NewsletterAB"])
def test_a_name_that_looks_like_an_id_is_found(org: Org, open_crm: OpenCrm, name: str) -> None:
    campaign = org.add("Campaign", Name=name)
    org.add("CampaignMember", CampaignId=campaign, ContactId=org.add("Contact", Email="a@example.org"))
    pick = Pick("marketing_list", name)
    assert len(selected(open_crm(pick), pick)) == 1


def test_the_id_of_a_campaign_that_is_the_name_of_another_is_refused(org: Org, open_crm: OpenCrm) -> None:
    short = "70100000000000A"
    campaign = org.add("Campaign", Id=long_id(short), Name="A")
    org.add("CampaignMember", CampaignId=campaign, ContactId=org.add("Contact", Email="a@example.org"))
    pick = Pick("marketing_list", short)
    assert len(selected(open_crm(pick), pick)) == 1
    other = org.add("Campaign", Name=short)
    with pytest.raises(CrmSetupError, match=f"is the id of a Campaign record, and the name of another .{other}"):
        selected(open_crm(pick), pick)


def test_a_query_yields_its_ids_and_may_not_be_sorted(org: Org, open_crm: OpenCrm) -> None:
    contact = org.add("Contact", Email="a@example.org", MailingCity="Kö'ln LIMIT")
    org.add("Contact", Email="b@example.org")
    pick = Pick("query", "SELECT Id FROM Contact WHERE MailingCity = 'Kö\\'ln LIMIT'", EntityType.CONTACT)
    assert selected(open_crm(pick), pick)["entity_id"].tolist() == [contact]
    ordered = Pick("query", "SELECT Id FROM Contact ORDER BY Name", EntityType.CONTACT)
    with pytest.raises(CrmError, match="ORDER BY"):
        selected(open_crm(ordered), ordered)


def test_a_bounce_that_salesforce_saw_is_final(org: Org, open_crm: OpenCrm) -> None:
    bounced = {"EmailBouncedReason": "550 5.1.1 unknown", "EmailBouncedDate": "2026-01-01T10:00:00.000Z"}
    org.add("Lead", Email="Müller@example.org", **bounced)
    with open_crm().snapshot() as snapshot:
        frame = snapshot.suppression("nord")
    assert frame[["kind", "address"]].to_numpy().tolist() == [["bounce", "müller@example.org"]]


def test_a_box_that_is_ticked_later_is_no_grant_while_the_opt_out_of_all_e_mail_is_shown(
    org: Org, open_crm: OpenCrm
) -> None:
    contact = org.add("Contact", Email="a@example.org", HasOptedOutOfEmail=True)
    member(org, ContactId=contact)
    assert selected(open_crm())["consent_kind"].tolist() == ["withdrawn"]
    now = datetime.now(UTC).isoformat()
    org.record("Contact", contact).update({"Newsletter__c": True, "Newsletter_Date__c": now})
    assert selected(open_crm())["consent_kind"].tolist() == ["withdrawn"]
    org.record("Contact", contact)["HasOptedOutOfEmail"] = False
    assert selected(open_crm())["consent_kind"].tolist() == ["granted"]


@pytest.mark.parametrize("box", ["HasOptedOutSolicit", "HasOptedOutProcessing", "ShouldForget"])
def test_an_individual_who_wants_no_marketing_has_withdrawn_every_opt_in(org: Org, open_crm: OpenCrm, box: str) -> None:
    individual = org.add("Individual", LastName="I", **{box: True})
    grant = {"Newsletter__c": True, "Newsletter_Date__c": "2026-01-01T10:00:00.000Z", "IndividualId": individual}
    for sobject in ("Contact", "Lead"):
        member(org, **{f"{sobject}Id": org.add(sobject, Email="a@example.org", **grant)})
    assert selected(open_crm())["consent_kind"].tolist() == ["withdrawn"] * 2


def test_individuals_that_the_user_may_not_read_are_left_out_where_no_purpose_needs_them(
    org: Org, open_crm: OpenCrm, caplog: pytest.LogCaptureFixture
) -> None:
    del org.fields["Individual"]
    member(org, ContactId=org.add("Contact", Email="a@example.org", Newsletter__c=True))
    assert selected(open_crm())["consent_kind"].tolist() == ["granted"]
    with pytest.raises(CrmError, match="no object Individual that the user may read"):  # the opt-in `press` needs it
        open_crm().check()
    assert "Don't Market" in caplog.text


def test_a_query_that_yields_ids_of_another_type_is_refused(org: Org, open_crm: OpenCrm) -> None:
    org.add("Contact", Id="0035i0000000xyaAAA", Email="a@example.org")
    pick = Pick("query", "SELECT Id FROM Contact", EntityType.LEAD)
    with pytest.raises(CrmError, match=r"ids of another entity type \(contact\) than lead"):
        selected(open_crm(pick), pick)


@pytest.mark.parametrize("path", [r"/query\?", "/describe", "jobs/query$", r"jobs/query/\w+$"])
@pytest.mark.parametrize("content", [b"{}", b"[]", b"null"])
def test_an_answer_that_is_none_of_salesforce_is_an_error(
    org: Org, open_crm: OpenCrm, monkeypatch: pytest.MonkeyPatch, path: str, content: bytes
) -> None:
    answer = org.answer

    def foreign(method: str, called: str, query: dict[str, str], body: object) -> tuple[int, object, dict[str, str]]:
        is_foreign = re.search(path, f"/{called}{'?' if query else ''}") and method != "DELETE"
        return (200, content, {}) if is_foreign else answer(method, called, query, body)

    monkeypatch.setattr(org, "answer", foreign)
    with pytest.raises(CrmError, match="the answer isn't one of Salesforce"):
        selected(open_crm())
