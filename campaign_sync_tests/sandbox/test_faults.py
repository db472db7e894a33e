import pytest
import requests

from campaign_sync.sandbox.vendor_state import VendorState
from campaign_sync_tests.sandbox.client import Client, FaultError, element, envelope
from campaign_sync_tests.sandbox.conftest import NEWSLETTER
from campaign_sync_tests.waiting import PATIENCE


def test_a_call_can_be_made_to_fail_after_some_that_pass(state: VendorState, nord: Client) -> None:
    state.fault("clear", "fault", times=2, skip=1, arg="disk full")

    nord.call("Recipient", "clear", NEWSLETTER)
    for _ in range(2):
        with pytest.raises(FaultError, match="Internal error for call: disk full"):
            nord.call("Recipient", "clear", NEWSLETTER)
    nord.call("Recipient", "clear", NEWSLETTER)


def test_a_fault_can_name_one_service_of_several_with_an_operation(state: VendorState, nord: Client) -> None:
    state.fault("Unsubscribe.getCount", "fault")

    assert nord.call("Recipient", "getCount", NEWSLETTER, 0) == 0
    with pytest.raises(FaultError):
        nord.call("Unsubscribe", "getCount")


def test_an_expired_session_stays_expired_and_its_call_has_no_effect(state: VendorState, nord: Client) -> None:
    state.fault("addAll3", "expire")

    for _ in range(2):
        with pytest.raises(FaultError, match="Invalid sessionId"):
            nord.add_all(NEWSLETTER, ["a@example.org"])
    assert state.recipients(NEWSLETTER) == []


def test_a_dropped_call_is_carried_out_without_an_answer(state: VendorState, nord: Client) -> None:
    state.fault("addAll3", "drop")

    with pytest.raises(requests.ConnectionError):
        nord.add_all(NEWSLETTER, ["a@example.org"])
    assert nord.add_all(NEWSLETTER, ["a@example.org"]) == [5]


def test_a_call_with_a_truncated_answer_is_carried_out(state: VendorState, nord: Client) -> None:
    state.fault("addAll3", "truncate")

    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="IncompleteRead"):
        nord.add_all(NEWSLETTER, ["a@example.org"])
    assert nord.add_all(NEWSLETTER, ["a@example.org"]) == [5]


def test_a_delayed_call_outlasts_the_timeout_of_its_client(state: VendorState, nord: Client) -> None:
    state.fault("getAllIds", "delay", arg=0.3)
    url = f"{nord.url}/RpcRecipientList"

    with pytest.raises(requests.Timeout):
        requests.post(url, data=_get_all_ids(nord), timeout=0.05)
    assert requests.post(url, data=_get_all_ids(nord), timeout=PATIENCE).status_code == 200


def _get_all_ids(client: Client) -> bytes:
    return envelope("RecipientList", "getAllIds", element("in0", "string", client.session_id)).encode()
