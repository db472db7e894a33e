import pytest
import requests

from campaign_sync.sandbox.vendor_state import VendorState
from campaign_sync_tests.sandbox.client import Client, FaultError, element, envelope
from campaign_sync_tests.sandbox.conftest import NEWSLETTER
from campaign_sync_tests.waiting import PATIENCE


def test_a_call_can_be_made_to_fail_after_some_that_pass(world: VendorState, nord: Client) -> None:
    world.fault("clear", "fault", times=2, skip=1, arg="disk full")

    nord.call("Recipient", "clear", NEWSLETTER)
    for _ in range(2):
        with pytest.raises(FaultError, match="Internal error for call: disk full"):
            nord.call("Recipient", "clear", NEWSLETTER)
    nord.call("Recipient", "clear", NEWSLETTER)


def test_a_fault_can_name_one_service_of_several_with_an_operation(world: VendorState, nord: Client) -> None:
    world.fault("Unsubscribe.getCount", "fault")

    assert nord.call("Recipient", "getCount", NEWSLETTER, 0) == 0
    with pytest.raises(FaultError):
        nord.call("Unsubscribe", "getCount")


def test_an_expired_session_is_gone_for_good_and_its_call_undone(world: VendorState, nord: Client) -> None:
    world.fault("addAll3", "expire")

    for _ in range(2):
        with pytest.raises(FaultError, match="Invalid sessionId"):
            nord.add_all(NEWSLETTER, ["a@example.org"])
    assert world.recipients(NEWSLETTER) == []


def test_a_dropped_call_has_done_its_work_and_is_not_answered(world: VendorState, nord: Client) -> None:
    world.fault("addAll3", "drop")

    with pytest.raises(requests.ConnectionError):
        nord.add_all(NEWSLETTER, ["a@example.org"])
    assert nord.add_all(NEWSLETTER, ["a@example.org"]) == [5]


def test_a_truncated_answer_is_shorter_than_it_says_and_its_work_is_done(world: VendorState, nord: Client) -> None:
    world.fault("addAll3", "truncate")

    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="IncompleteRead"):
        nord.add_all(NEWSLETTER, ["a@example.org"])
    assert nord.add_all(NEWSLETTER, ["a@example.org"]) == [5]


def test_a_delayed_call_outlasts_an_impatient_client(world: VendorState, nord: Client) -> None:
    world.fault("getAllIds", "delay", arg=0.3)
    url = f"{nord.url}/RpcRecipientList"

    with pytest.raises(requests.Timeout):
        requests.post(url, data=_get_all_ids(nord), timeout=0.05)
    assert requests.post(url, data=_get_all_ids(nord), timeout=PATIENCE).status_code == 200


def _get_all_ids(client: Client) -> bytes:
    return envelope("RecipientList", "getAllIds", element("in0", "string", client.session_id)).encode()
