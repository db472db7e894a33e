import ssl
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import trustme
from azure.core.credentials import AccessToken
from PowerPlatform.Dataverse.client import DataverseClient
from pydantic import SecretStr

from campaign_sync.crm.dataverse import pages
from campaign_sync.crm.dataverse.api import content
from campaign_sync.crm.dataverse.source import DataverseSource
from campaign_sync.crm.port import Crm, CrmError, CrmNeeds, CrmSetupError, Pick
from campaign_sync.crm.testing import NEWS, OFFERS, PRESS
from campaign_sync.crm.testing.reads import consenting
from campaign_sync.crm.web_api.answer import Answer
from campaign_sync.domain.entity import EntityType
from campaign_sync_tests.crm.conformance.dataverse_tables import dataverse_settings, field_settings
from campaign_sync_tests.crm.dataverse.conftest import LIST, PAGE_ROWS, OpenCrm, add_people
from campaign_sync_tests.crm.dataverse.stand_in import SUM_ROWS, Dataverse, RefusalError, serving
from campaign_sync_tests.crm_faults.calls import ALWAYS, Call, answering, calls_meet, while_patched

QUERY = '<fetch><entity name="contact"><attribute name="fullname"/><order attribute="fullname"/>{}</entity></fetch>'

IN_BONN = '<filter><condition attribute="address1_city" operator="eq" value="Bonn"/></filter>'

SEVERAL_PAGES = 2 * PAGE_ROWS + 3


def members(crm: Crm, pick: Pick = LIST) -> list[str]:
    with crm.snapshot([NEWS]) as snapshot:
        return [entity_id for frame in snapshot.select(pick, NEWS, []) for entity_id in frame["entity_id"]]


def problem(crm: Crm, pick: Pick = LIST) -> str:
    with pytest.raises(CrmError) as caught:
        members(crm, pick)
    return str(caught.value)


def is_second_page(call: Call) -> bool:
    """Return whether a call reads the second page of the contacts."""
    return call.path == "contacts" and 'page="2"' in call.query.get("fetchXml", "")


@pytest.mark.parametrize("calls", [2, 9, 13])
def test_a_token_that_expires_between_pages_is_renewed(dataverse: Dataverse, open_crm: OpenCrm, calls: int) -> None:
    add_people(dataverse, SEVERAL_PAGES)
    dataverse.expire_after = calls
    assert len(members(open_crm())) == SEVERAL_PAGES
    assert dataverse.logins == 2


def test_a_crm_that_asks_to_wait_is_waited_for(dataverse: Dataverse, open_crm: OpenCrm) -> None:
    add_people(dataverse, 3)
    dataverse.throttled = 3
    waits: list[float] = []
    assert len(members(open_crm(waits=waits))) == 3
    assert sum(waits) >= 3 * 7


@pytest.mark.parametrize("sums_fail", [False, True], ids=["by a sum", "by the keys"])
def test_a_page_that_is_left_out_is_noticed(dataverse: Dataverse, open_crm: OpenCrm, sums_fail: bool) -> None:
    add_people(dataverse, SUM_ROWS)
    assert len(members(open_crm())) == SUM_ROWS
    dataverse.sums_fail = sums_fail
    with calls_meet(dataverse, while_patched(dataverse, skips=1), is_second_page):
        assert f"{SUM_ROWS - PAGE_ROWS} of {SUM_ROWS} rows" in problem(open_crm())
    assert len(members(open_crm())) == SUM_ROWS


def test_records_that_come_twice_are_noticed(dataverse: Dataverse, open_crm: OpenCrm) -> None:
    add_people(dataverse, SEVERAL_PAGES)
    dataverse.repeats = True
    assert "twice" in problem(open_crm())


def test_a_query_without_a_cookie_is_refused_beyond_the_pages_by_number(
    dataverse: Dataverse, open_crm: OpenCrm, monkeypatch: pytest.MonkeyPatch
) -> None:
    list_id = add_people(dataverse, 2 * PAGE_ROWS)
    dataverse.has_no_cookies = True
    monkeypatch.setattr(pages, "ROWS_WITHOUT_COOKIE", 2 * PAGE_ROWS)
    open_crm().check()
    assert len(members(open_crm())) == 2 * PAGE_ROWS
    dataverse.add("listmember", listid=list_id, entityid="c0000")
    assert "paging cookie" in problem(open_crm())


def test_a_record_made_or_deleted_during_the_read_is_no_flaw(dataverse: Dataverse, open_crm: OpenCrm) -> None:
    list_id = add_people(dataverse, SEVERAL_PAGES)
    later = f"{datetime(2999, 1, 1, tzinfo=UTC):%Y-%m-%dT%H:%M:%SZ}"
    dataverse.add("contact", "new", createdon=later)
    dataverse.add("listmember", listid=list_id, entityid="new", createdon=later)
    assert len(members(open_crm())) == SEVERAL_PAGES + 1


def test_a_record_made_as_the_read_begins_is_no_flaw(dataverse: Dataverse, open_crm: OpenCrm) -> None:
    add_people(dataverse, SEVERAL_PAGES)
    fetch, begin = dataverse._fetch, f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"

    def meanwhile(table: str, text: str) -> object:
        if table == "contact" and 'aggregate="true"' in text:
            dataverse.add("contact", "a", createdon=begin)
        return fetch(table, text)

    dataverse._fetch = meanwhile  # type: ignore[method-assign]
    assert len(members(open_crm())) == SEVERAL_PAGES


def test_a_record_of_the_history_counts_for_all_its_people_unless_it_is_an_inactive_grant(
    dataverse: Dataverse, open_crm: OpenCrm, url: str
) -> None:
    add_people(dataverse, 2)
    dataverse.add("lead", "l1", emailaddress1="other@example.org")

    def event(what: str, on: str, statecode: int = 0, **people: str) -> None:
        values = {"cs_consent": PRESS, "cs_what": what, "cs_on": f"2026-0{on}-01T00:00:00Z"}
        dataverse.add("cs_consentlog", **values, statecode=statecode, **people)

    event("in", "1", cs_contactid="c0000", cs_leadid="l1")
    event("in", "1", cs_contactid="c0001")
    event("out", "2", cs_contactid="c0001", cs_leadid="l1")
    event("in", "3", statecode=1, cs_contactid="c0001")
    table = {"table": "cs_consentlog", "contact": "cs_contactid", "lead": "cs_leadid", "opt_in": "cs_consent"}
    words = {"kind": "cs_what", "granted": ["in"], "withdrawn": ["out"], "at": "cs_on"}
    settings = dataverse_settings(url, {PRESS: {}}, consents={**table, **words})
    with open_crm(settings=settings).snapshot() as snapshot:
        assert [key for key, _, _ in consenting(snapshot, PRESS)] == ["contact:c0000"]


def test_a_last_page_without_its_rows_is_noticed(dataverse: Dataverse, open_crm: OpenCrm) -> None:
    add_people(dataverse, SEVERAL_PAGES)
    fetch = dataverse._fetch

    def empty(table: str, text: str) -> Any:
        answer = fetch(table, text)
        return {**answer, "value": []} if table == "contact" and 'page="3"' in text else answer

    dataverse._fetch = empty  # type: ignore[method-assign]
    for contact in dataverse.rows["contact"].values():
        contact["createdon"] = "2999-01-01T00:00:00Z"  # too new for the count
    assert "without all of its rows" in problem(open_crm())


def test_dynamic_lists_views_and_queries_yield_whom_they_find(dataverse: Dataverse, open_crm: OpenCrm) -> None:
    dataverse.add("contact", "c1", address1_city="Bonn")
    dataverse.add("contact", "c2", address1_city="Köln")
    dataverse.add("contact", "c3", address1_city="Bonn", statecode=1)
    query = QUERY.format(IN_BONN)
    dataverse.add("list", listname="Dynamic", type=True, createdfromcode=2, query=query)
    dataverse.add("savedquery", name="System", returnedtypecode="contact", fetchxml=query)
    dataverse.add("userquery", name="Personal", returnedtypecode="contact", fetchxml=query)
    dynamic, system = Pick("marketing_list", "Dynamic"), Pick("report", "System")
    personal, own = Pick("report", "Personal"), Pick("query", query, EntityType.CONTACT)
    crm = open_crm(dynamic, system, personal, own)
    crm.check()
    assert members(crm, dynamic) == ["c1"]
    for pick in (system, personal, own):
        assert members(crm, pick) == ["c1", "c3"]


def test_a_query_too_long_for_a_url_goes_in_a_batch(dataverse: Dataverse, open_crm: OpenCrm) -> None:
    values = "".join(f"<value>c{number:060}</value>" for number in range(400))
    listed = f'<filter><condition attribute="contactid" operator="in">{values}<value>c1</value></condition></filter>'
    dataverse.add("contact", "c1", address1_city="Ärger")
    pick = Pick("query", QUERY.format(listed), EntityType.CONTACT)
    assert members(open_crm(pick), pick) == ["c1"]
    assert any("$batch" in call for call in dataverse.calls)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ('<fetch top="9"><entity name="contact"/></fetch>', "limits the number"),
        ('<fetch aggregate="true"><entity name="contact"/></fetch>', "aggregate"),
        ('<fetch><entity name="task"/></fetch>', "the table task"),
        ("<fetch>", "no FetchXML"),
        (
            QUERY.format('<filter><condition attribute="ownerid" operator="eq-userid"/></filter>'),
            "others for each user",
        ),
    ],
)
def test_a_query_that_cannot_be_read_completely_is_refused(open_crm: OpenCrm, query: str, message: str) -> None:
    pick = Pick("query", query, EntityType.CONTACT)
    assert message in problem(open_crm(pick), pick)


def test_two_lists_of_a_name_are_refused_with_their_ids(dataverse: Dataverse, open_crm: OpenCrm) -> None:
    first = add_people(dataverse, 1)
    second = dataverse.add("list", listname=LIST.name, createdfromcode=2)
    message = problem(open_crm())
    assert first in message
    assert second in message
    by_id = Pick("marketing_list", first)
    assert members(open_crm(by_id), by_id) == ["c0000"]
    dataverse.rows["list"][second]["statecode"] = 1
    assert members(open_crm()) == ["c0000"]


def test_inactive_members_are_left_out_of_lists(dataverse: Dataverse, open_crm: OpenCrm) -> None:
    add_people(dataverse, 2)
    dataverse.rows["contact"]["c0001"]["statecode"] = 1
    assert members(open_crm()) == ["c0000"]


def test_who_wants_no_mail_is_withdrawn_from_everything(dataverse: Dataverse, open_crm: OpenCrm, url: str) -> None:
    add_people(dataverse, 3)
    for number, column in enumerate(("donotbulkemail", "donotemail")):
        dataverse.rows["contact"][f"c000{number}"].update({column: True, "cs_news": True, "cs_newson": "2999-01-01"})
    with open_crm().snapshot() as snapshot:
        frame = snapshot.suppression("nord")
        assert consenting(snapshot, NEWS) == []
    assert set(frame["entity_id"]) == {"c0000", "c0001"}
    assert set(frame["opt_in_id"]) == {NEWS, OFFERS}


def test_who_opted_out_of_a_purpose_is_out_of_its_topics(dataverse: Dataverse, open_crm: OpenCrm, url: str) -> None:
    add_people(dataverse, 4)
    purpose = dataverse.add("msdynmkt_purpose", msdynmkt_name="Commercial")
    topic = dataverse.add("msdynmkt_topic", msdynmkt_name="News", msdynmkt_purposeid=purpose)

    def consent(number: int, value: int, topic_id: str | None = None, statecode: int = 0) -> None:
        values: dict[str, Any] = {
            "msdynmkt_contactpointvalue": f"p{number}@example.org",
            "msdynmkt_contactpointtype": 534120000,
            "msdynmkt_value": value,
            "msdynmkt_contactpointconsenttype": 534120001 if topic_id else 534120000,
            "msdynmkt_purposeid": purpose,
            "msdynmkt_topicid": topic_id,
        }
        dataverse.add("msdynmkt_contactpointconsent4", **values, statecode=statecode)

    for number in range(4):
        consent(number, 534120001, topic, statecode=int(number == 2))  # an inactive record grants nothing
    consent(1, 534120002)
    consent(3, 534120002)
    list(dataverse.rows["msdynmkt_contactpointconsent4"].values())[-1]["msdynmkt_contactpointconsenttype"] = None
    settings = dataverse_settings(url, {NEWS: {"purpose": "Commercial", "topic": "News"}})
    with open_crm(settings=settings).snapshot() as snapshot:
        assert [key for key, _, _ in consenting(snapshot, NEWS)] == ["contact:c0000"]


def test_columns_that_are_labels_of_others_yield_their_labels(dataverse: Dataverse, url: str, tmp_path: Path) -> None:
    company = {"parentcustomerid": "a1", "parentcustomeridname": "Müller & Söhne 👷"}
    dataverse.add("contact", "c1", emailaddress1="p1@example.org", industrycode=7, industrycodename="Bau", **company)
    dataverse.add("contact", "c2", emailaddress1="p2@example.org")
    names = {"industry": "industrycodename", "number": "industrycode", "company": "parentcustomeridname"}
    settings = field_settings(url, contact=names)
    dataverse.secured = {"contact.industrycode": False}
    needs = CrmNeeds(frozenset(), frozenset(names))
    source = DataverseSource(settings, needs, tmp_path)
    with source.read(needs) as reader:
        rows = reader.people(EntityType.CONTACT)
        assert rows.columns == ("id", "email", "company", "industry", "number")
        people = [tuple(row) for chunk in rows.chunks for row in chunk]
    assert people == [
        ("c1", "p1@example.org", "Müller & Söhne 👷", "Bau", 7),
        ("c2", "p2@example.org", None, None, None),
    ]
    with pytest.raises(CrmSetupError, match=r"hides contact\.industrycode from"):
        source.check(exports=False)


def test_the_calls_that_are_left_and_needed_are_said_before_a_read(
    dataverse: Dataverse, open_crm: OpenCrm, caplog: pytest.LogCaptureFixture
) -> None:
    add_people(dataverse, 3)
    dataverse.rows["contact"].update((f"old{number}", {}) for number in range(60_000))
    crm = open_crm()
    left = "Dynamics 365 takes 5,990 more API calls and 1,180 s of processing from the user within five minutes"
    takes = "reading all people and consents once takes about 84, and a list one for each 5,000 members"
    assert crm.limits_left() == f"{left}; {takes}"
    dataverse.rows["contact"] = {}
    with caplog.at_level("INFO"), crm.snapshot():
        assert left in caplog.text


def test_limits_that_dynamics_doesnt_show_are_left_out(dataverse: Dataverse, open_crm: OpenCrm) -> None:
    refusal = RefusalError(403, "0x80040220", "missing prvX")
    with patch.object(dataverse, "answer", side_effect=refusal):
        assert open_crm().limits_left() is None


def test_check_names_all_flaws_at_once(dataverse: Dataverse, open_crm: OpenCrm, url: str) -> None:
    dataverse.shallow = {"contact"}
    dataverse.lacks = {"prvWritecontact"}
    settings = field_settings(url, contact={"city": "no_such_column"})
    with pytest.raises(CrmSetupError) as caught:
        open_crm(settings=settings).check()
    message = str(caught.value)
    lacking = "lacks Read on contact (prvReadcontact), Write on contact (prvWritecontact) for the whole organization"
    for part in ("no_such_column", lacking, "Security roles"):
        assert part in message


def test_a_column_that_no_table_has_is_named_with_those_that_may_be_meant(
    dataverse: Dataverse, open_crm: OpenCrm, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    add_people(dataverse, 1)
    crm = open_crm(settings=field_settings(url, contact={}))
    crm.check()
    assert "name the column city" in caplog.text
    assert "(there are address1_city)" in caplog.text


def test_a_list_that_is_gone_from_the_crm_stops_no_other(dataverse: Dataverse, open_crm: OpenCrm) -> None:
    add_people(dataverse, 1)
    gone = Pick("marketing_list", "Gone")
    crm = open_crm(LIST, gone)
    crm.check()
    assert len(members(crm)) == 1
    assert "no marketing list 'Gone'" in problem(crm, gone)


def test_check_names_the_rights_to_write_purposes(dataverse: Dataverse, open_crm: OpenCrm, url: str) -> None:
    list_id = add_people(dataverse, 1)
    purpose = dataverse.add("msdynmkt_purpose", msdynmkt_name="Commercial")
    dataverse.add("msdynmkt_topic", msdynmkt_name="News", msdynmkt_purposeid=purpose)
    names = ("prvCreatemsdynmkt_contactpointconsent4", "prvAppendTomsdynmkt_purpose")
    dataverse.lacks, dataverse.secured = set(names), {"msdynmkt_contactpointconsent4.msdynmkt_reason": True}
    dataverse.unwritable = set(dataverse.secured)
    settings = dataverse_settings(url, {NEWS: {"purpose": "Commercial", "topic": "News"}})
    with pytest.raises(CrmSetupError) as caught:
        open_crm(Pick("marketing_list", list_id), settings=settings).check()
    message = str(caught.value)
    for part in (*names, "Append To on msdynmkt_purpose", "contactpointconsent4.msdynmkt_reason be written", "Update"):
        assert part in message


def test_rights_that_dynamics_doesnt_show_are_not_passed_over_in_silence(
    dataverse: Dataverse, open_crm: OpenCrm, caplog: pytest.LogCaptureFixture
) -> None:
    missing = calls_meet(dataverse, answering(404, None), lambda call: "UserPrivileges" in call.path, times=ALWAYS)
    with missing:
        open_crm().check()
    assert "which rights the application user has" in caplog.text


def test_rights_that_the_user_has_by_a_team_are_enough(dataverse: Dataverse, open_crm: OpenCrm) -> None:
    add_people(dataverse, 1)
    dataverse.of_team = {"prvReadcontact", "prvWritecontact"}
    open_crm().check()


@pytest.mark.parametrize(("status", "message"), [(503, "status 503"), (429, "refuses too many requests; try again")])
def test_rights_that_cannot_be_read_now_are_no_flaw_and_are_not_taken_for_granted(
    dataverse: Dataverse, open_crm: OpenCrm, status: int, message: str
) -> None:
    def reads_rights(call: Call) -> bool:
        return "Privileges" in call.query.get("$select", "")

    dataverse.add("list", listname=LIST.name, createdfromcode=2)
    dataverse.shallow = {"contact"}
    fault = calls_meet(dataverse, answering(status, None), reads_rights, times=ALWAYS)
    with fault, pytest.raises(CrmError, match=message) as caught:
        open_crm().check()
    assert caught.value.retryable


def test_check_names_columns_that_are_hidden_and_times_without_a_zone(dataverse: Dataverse, open_crm: OpenCrm) -> None:
    query = QUERY.format(IN_BONN)
    dataverse.add("list", listname=LIST.name, type=True, createdfromcode=2, query=query)
    dataverse.secured = dict.fromkeys(("contact.emailaddress1", "contact.address1_city", "contact.firstname"), False)
    dataverse.secured["contact.cs_newson"] = True
    dataverse.behavior = "TimeZoneIndependent"
    with pytest.raises(CrmSetupError) as caught:
        open_crm().check()
    message = str(caught.value)
    for part in ("hides contact.emailaddress1", "hides contact.address1_city", "contact.cs_newson must be a column"):
        assert part in message
    assert "hides contact.cs_newson" not in message


def test_check_lists_tables_that_may_hold_consents(dataverse: Dataverse, open_crm: OpenCrm, url: str) -> None:
    add_people(dataverse, 1)
    names = {"contact": "x", "opt_in": "x", "kind": "x", "granted": ["1"], "withdrawn": ["2"], "at": "x"}
    settings = dataverse_settings(url, {PRESS: {}}, consents={"table": "no_such_table", **names})
    with pytest.raises(CrmSetupError, match=r"no_such_table.*cs_consentlog"):
        open_crm(settings=settings).check()


def test_a_refused_login_names_the_setting_and_no_secret(open_crm: OpenCrm, url: str) -> None:
    settings = field_settings(url, client_secret=SecretStr("mistaken"))
    with pytest.raises(CrmSetupError, match=r"crm\.client_secret") as caught:
        open_crm(settings=settings).check()
    assert "mistaken" not in "".join(traceback.format_exception(caught.value))


def test_microsofts_own_client_understands_the_stand_in(dataverse: Dataverse, monkeypatch: pytest.MonkeyPatch) -> None:
    class Credential:
        def get_token(self, *_: str, **__: object) -> AccessToken:
            return AccessToken("sdk", 2**40)

    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    dataverse.tokens.add("sdk")
    add_people(dataverse, SEVERAL_PAGES)
    query = f'<fetch count="{PAGE_ROWS}"><entity name="contact"><attribute name="contactid"/>'
    query += '<attribute name="emailaddress1"/><order attribute="contactid"/></entity></fetch>'
    with authority.cert_pem.tempfile() as file, serving(dataverse, context) as url:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", file)
        client = DataverseClient(url, Credential())
        rows = [row for page in client.query.fetchxml(query).execute_pages() for row in page]
        client.records.update("contact", "c0001", {"address1_city": "Bonn"})
    assert [row["contactid"] for row in rows] == sorted(dataverse.rows["contact"])
    assert dataverse.rows["contact"]["c0001"]["address1_city"] == "Bonn"


def test_an_answer_that_is_no_json_is_named_without_what_it_holds() -> None:
    portal = Answer(200, {}, b"<p>anna@example.org</p>")
    with pytest.raises(CrmError, match="the marketing list with something else than JSON") as caught:
        content(portal, "the marketing list")
    assert "anna@example.org" not in str(caught.value)
    assert caught.value.__context__ is None
