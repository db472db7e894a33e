from datetime import UTC, datetime

import pytest

from campaign_sync.sandbox.vendor_state import VendorState
from campaign_sync.sandbox.web_services import HANDLERS
from campaign_sync.sandbox.wsdl import SERVICES
from campaign_sync_tests.sandbox.client import Client, FaultError
from campaign_sync_tests.sandbox.conftest import FOREIGN, NEWSLETTER, NORD, OPT_IN_LIST, SUED, Clock


def test_every_operation_of_the_wsdls_is_served() -> None:
    published = {(service, operation) for service, operations in SERVICES.items() for operation in operations}
    without_session = {("Session", "login")} | {(service, "getVersion") for service in SERVICES}

    assert published == set(HANDLERS) | without_session


@pytest.mark.parametrize(
    ("mandator_id", "username", "password"),
    [(NORD, "nord-api", "wrong"), (NORD, "sued-api", "s3cret"), (1, "nord-api", "s3cret")],
)
def test_wrong_credentials_open_no_session(anonymous: Client, mandator_id: int, username: str, password: str) -> None:
    with pytest.raises(FaultError, match="WebserviceImplException: Invalid credentials"):
        anonymous.login(mandator_id, username, password)


def test_a_session_ends_20_minutes_after_login_despite_calls(nord: Client, clock: Clock) -> None:
    for _ in range(2):
        clock.now += 599
        nord.call("RecipientList", "getAllIds")
    clock.now += 3

    with pytest.raises(FaultError, match=f"InvalidWebserviceSessionException: Invalid sessionId: {nord.session_id}"):
        nord.call("RecipientList", "getAllIds")


def test_a_logout_ends_only_its_session(nord: Client) -> None:
    other = nord.login(NORD, "nord-api", "s3cret")
    nord.call("Session", "logout")

    with pytest.raises(FaultError, match="Invalid sessionId"):
        nord.call("RecipientList", "getAllIds")
    assert other.call("RecipientList", "getAllIds") == [NEWSLETTER, OPT_IN_LIST]


def test_lists_are_described_in_the_language_of_the_session(nord: Client) -> None:
    assert nord.call("Session", "getLocale") == "de"
    assert nord.call("RecipientList", "getColumnNames")[2] == "Beschreibung"
    nord.call("Session", "setLocale", "en")
    assert nord.call("RecipientList", "getDataSet") == [
        ["ID", "Name", "Description", "Test list", "Attributes"],
        [str(NEWSLETTER), "Newsletter Nord", "", "false", "2"],
        [str(OPT_IN_LIST), "Anmeldungen", "", "true", "1"],
    ]
    assert nord.call("RecipientList", "getCount", False) == 1
    assert nord.call("RecipientList", "isTestRecipientList", OPT_IN_LIST) is True


def test_system_attributes_come_last_in_the_requested_language(nord: Client) -> None:
    def names(locale: str) -> list[str]:
        attributes: list[str] = nord.call("RecipientList", "getAttributeNames", NEWSLETTER, locale)
        return attributes

    german = ["Vorname", "Ort", "Erstellt am", "Geändert am", "Opt-in-Quelle", "Opt-in-Datum"]
    assert names("de") == names("xx") == german
    assert names("en") == ["Vorname", "Ort", "Created on", "Modified on", "Opt-in source", "Opt-in date"]


def test_mailings_are_found_by_type_and_status(state: VendorState, nord: Client) -> None:
    state.add_mailing(NORD, 71, "Mai", status="SENDING", list_ids=[NEWSLETTER, OPT_IN_LIST])
    state.add_mailing(NORD, 72, "Juni", status="NEW", list_ids=[NEWSLETTER])
    state.add_mailing(NORD, 73, "Willkommen", mailing_type="event", status="SENDING", list_ids=[OPT_IN_LIST])
    state.add_mailing(SUED, 74, "Süd", status="SENDING", list_ids=[FOREIGN])

    assert nord.call("Mailing", "getIdsInStatus", "regular", "SENDING") == [71]
    assert nord.call("Mailing", "getName", 71) == "Mai"
    assert nord.call("Mailing", "getRecipientListIds", 71) == [NEWSLETTER, OPT_IN_LIST]
    state.set_mailing_status(71, "DONE")
    assert nord.call("Mailing", "getIdsInStatus", "regular", "SENDING") == []
    assert nord.call("Mailing", "getStatus", 71) == "DONE"
    assert state.calls("Mailing.getName") == [("Mailing", "getName", NORD, None, 0)]


@pytest.mark.parametrize("operation", ["getStatus", "getName", "getRecipientListIds", "getScheduleDate"])
@pytest.mark.parametrize("mailing_id", [71, 74])
def test_an_unknown_mailing_is_refused_and_so_is_another_mandators(
    state: VendorState, nord: Client, operation: str, mailing_id: int
) -> None:
    state.add_mailing(SUED, 74, "Süd", status="SENDING", list_ids=[FOREIGN])

    with pytest.raises(FaultError, match=f"Mailing does not exist for call: mailingId='{mailing_id}'"):
        nord.call("Mailing", operation, mailing_id)


def test_unsubscribing_over_the_api(state: VendorState, nord: Client) -> None:
    nord.call("Unsubscribe", "add", 0, "a@example.org")
    nord.call("Unsubscribe", "addAll", 0, ["b@example.org", "c@example.org"])
    nord.call("Unsubscribe", "remove", "c@example.org")

    assert nord.call("Unsubscribe", "containsAll", ["A@example.org", "c@example.org"]) == [True, False]
    assert nord.call("Unsubscribe", "getCount") == 2
    assert state.unsubscribed(SUED) == []
    with pytest.raises(FaultError, match="No unsubscribe found"):
        nord.call("Unsubscribe", "remove", "c@example.org")
    nord.call("Unsubscribe", "removeAll", ["B@example.org", "c@example.org"])
    assert state.unsubscribed(NORD) == ["a@example.org"]


def test_unsubscribing_from_a_list_that_has_an_unsubscribe_list_of_its_own(state: VendorState, nord: Client) -> None:
    state.unsubscribe_from_list(NEWSLETTER, "a@example.org")
    nord.call("Unsubscribe", "addAll", NEWSLETTER, ["b@example.org"])
    nord.call("Unsubscribe", "addAll", OPT_IN_LIST, ["client@example.org"])
    asked = ["A@example.org", "b@example.org", "client@example.org", "c@example.org"]

    assert nord.call("Unsubscribe", "containsAll", asked) == [True, True, True, False]
    assert nord.call("Unsubscribe", "containsAllByRecipientList", NEWSLETTER, asked) == [True, True, True, False]
    assert nord.call("Unsubscribe", "containsAllByRecipientList", OPT_IN_LIST, asked) == [False, False, True, False]
    assert nord.call("Unsubscribe", "containsByRecipientList", OPT_IN_LIST, "a@example.org") is False
    assert nord.call("Unsubscribe", "getCount") == 1
    assert nord.add_all(NEWSLETTER, ["a@example.org", "c@example.org"]) == [2, 0]
    nord.call("Unsubscribe", "addAll", NEWSLETTER, ["c@example.org"])
    assert nord.call("Recipient", "removeUnsubscribed", NEWSLETTER) == 1
    with pytest.raises(FaultError, match="Recipient list does not exist"):
        nord.call("Unsubscribe", "containsAllByRecipientList", FOREIGN, asked)


def test_the_blocklist_over_the_api(nord: Client) -> None:
    nord.call("Blacklist", "add", "*@example.org", "test")
    nord.call("Blacklist", "addAll", ["a@example.net", "b@example.net"], ["", None])

    assert nord.call("Blacklist", "getCount") == 3
    assert nord.call("Blacklist", "contains", "*@example.org") is True
    assert nord.call("Blacklist", "contains", "x@example.org") is False
    assert nord.call("Blacklist", "isBlacklisted", "x@example.org") is True


def test_responses_include_the_agreed_list_fields(state: VendorState, nord: Client) -> None:
    state.put(NEWSLETTER, [{"id": "Anna@example.org", "attributes": {"opt-in-id": "news", "entity-id": "C1"}}])
    state.respond(NORD, "getUnsubscribes", NEWSLETTER, ["anna@example.org", "0"])
    state.agree_on_response_fields(NORD, ["entity-id", "opt-in-id", "entity-type"])
    for who in ("anna@example.org", "ben@example.org"):
        state.respond(NORD, "getUnsubscribes", NEWSLETTER, [who, "1"])

    now = nord.call("ClosedLoop", "getCurrentTime")
    assert nord.call("ClosedLoop", "getUnsubscribes", 0, now + 1, 0, 1000) == [
        ["anna@example.org", "0"],
        ["anna@example.org", "1", "C1", "news", ""],
        ["ben@example.org", "1", "", "", ""],
    ]


def test_feedback_is_selected_by_the_time_of_its_file(state: VendorState, nord: Client, clock: Clock) -> None:
    published = datetime(2026, 5, 1, tzinfo=UTC)
    milliseconds = int(published.timestamp() * 1000)
    state.publish(NORD, "getUnsubscribes", [["a@example.org", "0"]], published)
    state.publish(NORD, "getUnsubscribes", [["b@example.org", "0"]])

    def read(since: int, until: int) -> list[str]:
        return [row[0] for row in nord.call("ClosedLoop", "getUnsubscribes", since, until, 0, 1000)]

    now = nord.call("ClosedLoop", "getCurrentTime")
    assert now == int(clock.now * 1000)
    assert read(milliseconds, milliseconds + 1) == ["a@example.org"]
    assert read(0, milliseconds) == []
    assert read(milliseconds + 1, now + 1) == ["b@example.org"]
    assert nord.call("ClosedLoop", "getOutBounces", 0, now + 1, 0, 1000) == []


def test_feedback_comes_in_pages_of_at_most_1000_rows(state: VendorState, nord: Client) -> None:
    rows = [[f"{i}@example.org", str(i)] for i in range(2500)]
    state.publish(NORD, "getOutBounces", rows[:1200])
    state.publish(NORD, "getOutBounces", rows[1200:])
    state.publish(SUED, "getOutBounces", [["other@example.org", "0"]])
    until = nord.call("ClosedLoop", "getCurrentTime") + 1

    pages = [nord.call("ClosedLoop", "getOutBounces", 0, until, start, 1000) for start in (0, 1000, 2000, 3000)]
    assert [len(page) for page in pages] == [1000, 1000, 500, 0]
    assert [row for page in pages for row in page] == rows
    with pytest.raises(FaultError, match="At most 1000 rows"):
        nord.call("ClosedLoop", "getOutBounces", 0, until, 0, 1001)


def test_calls_are_recorded_with_counts_and_without_personal_data(state: VendorState, nord: Client) -> None:
    nord.add_all(NEWSLETTER, ["a@example.org", "b@example.org"])
    with pytest.raises(FaultError):
        nord.call("Recipient", "clear", FOREIGN)
    nord.call("Unsubscribe", "getCount")

    assert state.calls("addAll3") == [("Recipient", "addAll3", NORD, NEWSLETTER, 2)]
    assert state.calls("clear") == [("Recipient", "clear", NORD, FOREIGN, 0)]
    assert state.calls("Recipient.getCount") == []
    assert [call.operation for call in state.calls()] == ["login", "addAll3", "clear", "getCount"]
    assert "example.org" not in str(state.calls())
