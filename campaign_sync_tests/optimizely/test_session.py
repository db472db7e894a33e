import pytest

from campaign_sync.optimizely.concurrency import ConcurrencyLimiter
from campaign_sync.optimizely.errors import CredentialsError, RefusedError, TransientError
from campaign_sync.optimizely.session import LIFETIME_SECONDS, Session
from campaign_sync.optimizely.transport import Transport
from campaign_sync_tests.optimizely.conftest import LIST, NORD, PASSWORD, USERNAME, Vendor
from campaign_sync_tests.waiting import PATIENCE


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def session_at(vendor: Vendor, clock: Clock) -> Session:
    transport = Transport(vendor.url, parallel_calls=2, timeout_seconds=PATIENCE)
    return Session(transport, NORD, USERNAME, PASSWORD, ConcurrencyLimiter(4, 60), clock=clock)


def logins_and_logouts(vendor: Vendor) -> list[str]:
    return [call.operation for call in vendor.state.calls() if call.service == "Session"]


def test_a_session_is_renewed_before_it_expires_and_the_old_one_logged_out(vendor: Vendor) -> None:
    clock = Clock()
    session = session_at(vendor, clock)
    session.open()
    clock.now = LIFETIME_SECONDS - 1
    session.call("Recipient", "getCount", LIST, 0)
    assert logins_and_logouts(vendor) == ["login"]
    clock.now = LIFETIME_SECONDS
    session.call("Recipient", "getCount", LIST, 0)
    assert sorted(logins_and_logouts(vendor)) == ["login", "login", "logout"]
    session.close()
    assert sorted(logins_and_logouts(vendor)) == ["login", "login", "logout", "logout"]


def test_a_session_in_use_is_logged_out_after_its_last_call(vendor: Vendor) -> None:
    clock = Clock()
    session = session_at(vendor, clock)
    with session._lease():
        clock.now = LIFETIME_SECONDS
        session.call("Recipient", "getCount", LIST, 0)
        assert logins_and_logouts(vendor) == ["login", "login"]
    assert logins_and_logouts(vendor) == ["login", "login", "logout"]
    session.close()


def test_the_mandators_lists_are_fetched_once_a_session(vendor: Vendor) -> None:
    clock = Clock()
    session = session_at(vendor, clock)
    session.check_list_ownership(LIST)
    session.check_list_ownership(LIST)
    assert len(vendor.state.calls("getAllIds")) == 1
    clock.now = LIFETIME_SECONDS
    session.call("Recipient", "getCount", LIST, 0)
    session.check_list_ownership(LIST)
    assert len(vendor.state.calls("getAllIds")) == 2
    session.close()


def test_operations_are_found_in_any_case(vendor: Vendor) -> None:
    session = session_at(vendor, Clock())
    assert session.call("ClosedLoop", "getOutbounces", 0, 1, 0, 10) == []
    with pytest.raises(RefusedError, match="RpcClosedLoop has no operation getNothing"):
        session.call("ClosedLoop", "getNothing")
    session.close()


def test_a_closed_session_stays_closed(vendor: Vendor) -> None:
    session = session_at(vendor, Clock())
    session.open()
    session.close()
    with pytest.raises(RuntimeError, match="is closed"):
        session.call("Recipient", "getCount", LIST, 0)


def test_credentials_that_stop_working_are_reported_at_the_renewal(vendor: Vendor) -> None:
    clock = Clock()
    session = session_at(vendor, clock)
    session.open()
    vendor.state.add_mandator(NORD, USERNAME, "gewechselt")
    clock.now = LIFETIME_SECONDS
    with pytest.raises(CredentialsError):
        session.call("Recipient", "getCount", LIST, 0)
    session.close()


def test_a_session_with_a_lost_answer_is_ended_so_that_a_late_call_is_refused(vendor: Vendor) -> None:
    session = session_at(vendor, Clock())
    session.open()
    vendor.state.fault("clear", "drop")
    with pytest.raises(TransientError):
        session.call("Recipient", "clear", LIST, repeatable=False)
    assert logins_and_logouts(vendor) == ["login", "logout"]

    session.call("Recipient", "getCount", LIST, 0)
    session.close()
    assert logins_and_logouts(vendor) == ["login", "logout", "login", "logout"]
