"""The client against the sandbox, with both ways of naming parameters."""

import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone

import pytest

from campaign_sync.optimizely.client import Optimizely, connect
from campaign_sync.optimizely.errors import (
    CredentialsError,
    ForeignListError,
    RefusedError,
    SessionExpiredError,
    TransientError,
    UnsendableError,
)
from campaign_sync.optimizely.services import EVERY_LIST, Batch, ClosedLoopReader
from campaign_sync.sandbox.server import serve
from campaign_sync.sandbox.vendor_state import FaultKind
from campaign_sync_tests.optimizely.conftest import FOREIGN_LIST, LIST, NORD, PASSWORD, USERNAME, Vendor

ATTRIBUTES = ["Vorname", "entity-id"]


def batch_of(optimizely: Optimizely, *ids: str, first_name: str = "Änne") -> Batch:
    columns = [[first_name] * len(ids), [str(number) for number, _ in enumerate(ids)]]
    return optimizely.recipients.prepare(LIST, ids, ids, ATTRIBUTES, columns)


def text_of(error: BaseException | None) -> str:
    """Return the texts of an error and of its causes."""
    return f"{error} {error!r} {text_of(error.__cause__)} {text_of(error.__context__)}" if error else ""


def test_a_list_has_a_name_attributes_and_a_kind(optimizely: Optimizely) -> None:
    lists = optimizely.recipient_lists
    assert lists.all_ids() == {LIST}
    assert lists.name(LIST) == "Müller & Söhne"
    assert lists.attribute_names(LIST)[:2] == ("Vorname", "entity-id")
    assert not lists.is_test_list(LIST)


def test_each_row_of_a_batch_gets_its_own_code_in_order(vendor: Vendor, optimizely: Optimizely) -> None:
    vendor.state.unsubscribe(NORD, "weg@example.org")
    vendor.state.block(NORD, "*@blocked.example.org")
    vendor.state.bounce(NORD, "zurueck@example.org")
    ids = ["weg@example.org", "neu@example.org", "x@blocked.example.org", "kaputt", "zurueck@example.org"]
    recipients = optimizely.recipients
    assert recipients.add_all(LIST, batch_of(optimizely, *ids, "neu@example.org")) == [2, 0, 3, 1, 4, 5]
    assert recipients.count(LIST) == 1
    assert recipients.contains(LIST, "neu@example.org")
    assert not recipients.contains(LIST, "weg@example.org")


@pytest.mark.parametrize("text", ["Jörg <&> \"'", "Ä😀𝒳", "zwei\r\nZeilen", "", "]]>"])
def test_texts_come_back_from_the_vendor_as_they_went(optimizely: Optimizely, text: str) -> None:
    recipients = optimizely.recipients
    recipients.add_all(LIST, batch_of(optimizely, "a@example.org", first_name=text))
    assert recipients.page(LIST, ["Vorname"], None, 0, 10) == [[text]]


def test_a_list_is_read_page_by_page_without_gaps(optimizely: Optimizely) -> None:
    recipients = optimizely.recipients
    recipients.add_all(LIST, batch_of(optimizely, *(f"p{n}@example.org" for n in range(7))))
    pages = [recipients.page(LIST, ["entity-id"], "entity-id", start, 3) for start in (0, 3, 6, 9)]
    assert [len(page) for page in pages] == [3, 3, 1, 0]
    assert [row for page in pages for row in page] == [[str(n)] for n in range(7)]


def test_attributes_are_found_however_the_list_spells_their_names(vendor: Vendor, optimizely: Optimizely) -> None:
    odd = LIST + 1
    vendor.state.add_list(NORD, odd, "Umlaute", ["Gro\u0308\u00dfe", "Ort "])
    recipients, named = optimizely.recipients, ["Größe", "Ort"]
    assert recipients.add_all(
        odd, recipients.prepare(odd, ["a@example.org"], ["a@example.org"], named, [["XL"], ["Köln"]])
    ) == [0]
    recipients.set_attributes(odd, "a@example.org", named, ["M", "Bonn"])
    assert recipients.page(odd, named, "Größe", 0, 10) == [["M", "Bonn"]]


def test_clearing_leaves_an_empty_list(optimizely: Optimizely) -> None:
    optimizely.recipients.add_all(LIST, batch_of(optimizely, "a@example.org"))
    optimizely.recipients.clear(LIST)
    assert optimizely.recipients.count(LIST) == 0


def test_sweeping_removes_unsubscribed_bounced_and_blocked_recipients(vendor: Vendor, optimizely: Optimizely) -> None:
    people = [f"{name}@example.org" for name in ("bleibt", "weg", "zurueck", "gesperrt")]
    optimizely.recipients.add_all(LIST, batch_of(optimizely, *people))
    vendor.state.unsubscribe(NORD, "weg@example.org")
    vendor.state.bounce(NORD, "zurueck@example.org")
    vendor.state.block(NORD, "gesperrt@*")
    recipients = optimizely.recipients
    swept = (
        recipients.remove_unsubscribed(LIST),
        recipients.remove_bounced(LIST),
        recipients.remove_blacklisted(LIST),
    )
    assert swept == (1, 1, 1)
    assert recipients.count(LIST) == 1


def test_thousands_of_ids_are_answered_in_order(vendor: Vendor, optimizely: Optimizely) -> None:
    vendor.state.unsubscribe(NORD, "p1500@example.org")
    vendor.state.block(NORD, "p2?00@example.org")
    ids = [f"p{n}@example.org" for n in range(2500)]
    assert [n for n, gone in enumerate(optimizely.unsubscribes.contains_all(ids)) if gone] == [1500]
    blocked = optimizely.blacklist.are_blacklisted(ids)
    assert [n for n, hit in enumerate(blocked) if hit] == [2000, 2100, 2200, 2300, 2400]
    assert (optimizely.unsubscribes.count(), optimizely.blacklist.count()) == (1, 1)
    assert optimizely.unsubscribes.contains_all([]) == []


def test_feedback_is_read_by_file_time_and_page(vendor: Vendor, optimizely: Optimizely) -> None:
    now = optimizely.closed_loop.current_time()
    assert abs(now - datetime.now(UTC)) < timedelta(minutes=5)
    rows = [[f"p{n}@example.org", "1700000000000"] for n in range(1200)]
    vendor.state.publish(NORD, "getOutBounces", rows, now - timedelta(hours=1))
    vendor.state.publish(NORD, "getOutBounces", [["frueher@example.org", "1"]], now - timedelta(days=3))

    def read(start: int) -> list[list[str | None]]:
        return optimizely.closed_loop.read(ClosedLoopReader.OUT_BOUNCES, now - timedelta(days=1), now, start, 1000)

    assert [*read(0), *read(1000)] == rows
    assert optimizely.closed_loop.read(ClosedLoopReader.UNSUBSCRIBES, now - timedelta(days=1), now, 0, 1000) == []


def test_many_threads_share_one_session(vendor: Vendor, optimizely: Optimizely) -> None:
    batches = [batch_of(optimizely, *(f"b{b}-{n}@example.org" for n in range(20))) for b in range(12)]
    with ThreadPoolExecutor(4) as pool:
        codes = list(pool.map(lambda batch: optimizely.recipients.add_all(LIST, batch), batches))
    assert codes == [[0] * 20] * 12
    assert len(vendor.state.calls("login")) == 1


def test_the_session_is_always_logged_out(vendor: Vendor) -> None:
    with pytest.raises(ZeroDivisionError), vendor.connect():
        _ = 1 / 0
    assert len(vendor.state.calls("logout")) == 1


def test_a_failing_logout_does_not_hide_the_real_error(vendor: Vendor) -> None:
    vendor.state.fault("logout", "fault")
    with pytest.raises(ZeroDivisionError), vendor.connect():
        _ = 1 / 0


def test_a_wrong_password_is_reported_first_with_what_to_check(vendor: Vendor) -> None:
    with pytest.raises(CredentialsError, match=r"mandator 8100.*username and password") as error:  # noqa: SIM117
        with connect(vendor.url, NORD, USERNAME, "falsches-wort"):
            pass
    assert "falsches-wort" not in text_of(error.value)


def test_an_expired_session_is_renewed_within_a_call(vendor: Vendor, optimizely: Optimizely) -> None:
    vendor.state.fault("addAll3", "expire")
    assert optimizely.recipients.add_all(LIST, batch_of(optimizely, "a@example.org")) == [0]
    assert len(vendor.state.calls("login")) == 2


def test_a_session_that_expires_again_after_the_renewal_is_an_error(vendor: Vendor, optimizely: Optimizely) -> None:
    vendor.state.fault("getCount", "expire", times=2)
    with pytest.raises(SessionExpiredError, match=r"Recipient\.getCount"):
        optimizely.recipients.count(LIST)


def test_another_mandators_list_is_refused_before_any_call(vendor: Vendor, optimizely: Optimizely) -> None:
    recipients, lists = optimizely.recipients, optimizely.recipient_lists
    batch = Batch.of(FOREIGN_LIST, 1, b"")
    for forbidden in (
        lambda: recipients.prepare(FOREIGN_LIST, ["a@example.org"], ["a@example.org"], ["Vorname"], [["Anna"]]),
        lambda: recipients.clear(FOREIGN_LIST),
        lambda: recipients.add_all(FOREIGN_LIST, batch),
        lambda: recipients.count(FOREIGN_LIST),
        lambda: recipients.remove_bounced(FOREIGN_LIST),
        lambda: recipients.page(FOREIGN_LIST, ["Vorname"], None, 0, 1),
        lambda: lists.attribute_names(FOREIGN_LIST),
        lambda: recipients.remove_all(FOREIGN_LIST, ["a@example.org"]),
        lambda: recipients.set_attributes(FOREIGN_LIST, "a@example.org", ["Vorname"], ["Anna"]),
        lambda: optimizely.unsubscribes.add_all(FOREIGN_LIST, ["a@example.org"]),
    ):
        with pytest.raises(ForeignListError, match=f"{FOREIGN_LIST}.*mandator {NORD}"):
            forbidden()
    assert {call.operation for call in vendor.state.calls()} == {"login", "getAllIds"}


def test_a_read_is_repeated_after_a_lost_answer_and_a_clear_is_not(vendor: Vendor, optimizely: Optimizely) -> None:
    vendor.state.fault("getCount", "drop")
    vendor.state.fault("clear", "drop")
    with pytest.raises(TransientError) as error:
        optimizely.recipients.clear(LIST)
    assert error.value.outcome_unknown
    assert optimizely.recipients.count(LIST) == 0
    assert len(vendor.state.calls("clear")) == 1


@pytest.mark.parametrize("way", ["drop", "truncate"])
def test_a_lost_answer_to_a_batch_is_not_repeated_but_reported_as_unknown(
    vendor: Vendor, optimizely: Optimizely, way: FaultKind
) -> None:
    vendor.state.fault("addAll3", way)
    batch = batch_of(optimizely, "a@example.org")
    with pytest.raises(TransientError, match=r"was lost before the answer") as error:
        optimizely.recipients.add_all(LIST, batch)
    assert error.value.outcome_unknown
    assert len(vendor.state.calls("addAll3")) == 1
    assert optimizely.recipients.add_all(LIST, batch) == [5]


def test_a_fault_shows_no_data_of_the_call(
    vendor: Vendor, optimizely: Optimizely, caplog: pytest.LogCaptureFixture
) -> None:
    vendor.state.fault("addAll3", "fault", arg="anna.geheim@example.org")
    with caplog.at_level(logging.DEBUG), pytest.raises(TransientError) as error:
        optimizely.recipients.add_all(LIST, batch_of(optimizely, "anna.geheim@example.org", first_name="Annabella"))
    texts = text_of(error.value) + caplog.text
    for secret in ("anna.geheim", "Annabella", USERNAME, PASSWORD):
        assert secret not in texts


def test_no_log_shows_envelopes(vendor: Vendor, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), vendor.connect() as optimizely:
        optimizely.recipients.add_all(LIST, batch_of(optimizely, "berta@example.org"))
        optimizely.recipients.contains(LIST, "berta@example.org")
    assert "RpcRecipient" in caplog.text
    for secret in ("berta", USERNAME, PASSWORD, "<in0", "Envelope"):
        assert secret not in caplog.text


def test_an_unknown_attribute_is_refused(optimizely: Optimizely) -> None:
    batch = optimizely.recipients.prepare(LIST, ["a@example.org"], ["a@example.org"], ["Nix"], [["v"]])
    with pytest.raises(RefusedError) as error:
        optimizely.recipients.add_all(LIST, batch)
    assert not error.value.outcome_unknown


def test_invalid_batches_are_refused_before_anything_is_sent(optimizely: Optimizely) -> None:
    prepare = optimizely.recipients.prepare
    many = [f"p{n}@example.org" for n in range(1001)]
    with pytest.raises(UnsendableError, match="at most 1000"):
        prepare(LIST, many, many, ["Vorname"], [["A"] * 1001])
    with pytest.raises(UnsendableError, match="of 1, 2 rows don't match"):
        prepare(LIST, many[:2], many[:1], ["Vorname"], [["A", "B"]])
    with pytest.raises(UnsendableError, match="of 1, 2 rows don't match"):
        prepare(LIST, many[:2], many[:2], ["Vorname"], [["A"]])
    with pytest.raises(UnsendableError, match="2 columns for 1 attributes"):
        prepare(LIST, many[:1], many[:1], ["Vorname"], [["A"], ["B"]])
    with pytest.raises(ValueError, match="value 0 of row 0 holds a character"):
        prepare(LIST, many[:1], many[:1], ["Vorname"], [["A\x0b"]])


def test_the_repr_of_a_batch_shows_no_recipients(optimizely: Optimizely) -> None:
    assert "anna" not in repr(batch_of(optimizely, "anna@example.org"))


def test_an_empty_batch_is_not_sent(vendor: Vendor, optimizely: Optimizely) -> None:
    assert optimizely.recipients.add_all(LIST, batch_of(optimizely)) == []
    assert vendor.state.calls("addAll3") == []


def test_a_batch_goes_only_to_the_list_it_was_encoded_for(optimizely: Optimizely) -> None:
    with pytest.raises(UnsendableError, match=f"{LIST} can't go to list 12"):
        optimizely.recipients.add_all(12, batch_of(optimizely, "a@example.org"))


def test_thousands_are_removed_from_a_list_and_each_answer_says_whether_the_id_was_in_it(
    vendor: Vendor, optimizely: Optimizely
) -> None:
    vendor.state.put(LIST, [{"id": f"p{n}@example.org"} for n in (3, 1700, 5000)])
    removed = optimizely.recipients.remove_all(LIST, [f"p{n}@example.org" for n in range(2500)])
    assert [n for n, was_in_list in enumerate(removed) if was_in_list] == [3, 1700]
    assert len(removed) == 2500
    assert [call.rows for call in vendor.state.calls("Recipient.removeAll")] == [1000, 1000, 500]
    assert [row["id"] for row in vendor.state.recipients(LIST)] == ["p5000@example.org"]
    assert optimizely.recipients.remove_all(LIST, []) == []


def test_removing_a_recipient_from_a_list_keeps_the_unsubscribe(vendor: Vendor, optimizely: Optimizely) -> None:
    vendor.state.put(LIST, [{"id": "weg@example.org"}])
    vendor.state.unsubscribe(NORD, "weg@example.org")
    assert optimizely.recipients.remove_all(LIST, ["weg@example.org"]) == [True]
    assert vendor.state.unsubscribed(NORD) == ["weg@example.org"]


def test_a_removal_is_repeated_after_a_lost_answer(vendor: Vendor, optimizely: Optimizely) -> None:
    vendor.state.put(LIST, [{"id": "a@example.org"}])
    vendor.state.fault("removeAll", "truncate")
    assert optimizely.recipients.remove_all(LIST, ["a@example.org"]) == [False]
    assert vendor.state.recipients(LIST) == []


@pytest.mark.parametrize("text", ["Jörg <&> \"'", "Ä😀𝒳", "zwei\r\nZeilen", ""])
def test_attributes_of_one_recipient_are_overwritten(optimizely: Optimizely, text: str) -> None:
    recipients = optimizely.recipients
    recipients.add_all(LIST, batch_of(optimizely, "a@example.org", "b@example.org"))
    recipients.set_attributes(LIST, "b@example.org", ["Vorname"], [text])
    assert recipients.page(LIST, ATTRIBUTES, "entity-id", 0, 10) == [["Änne", "0"], [text, "1"]]


def test_attributes_of_an_unknown_recipient_are_refused_without_naming_the_recipient(
    optimizely: Optimizely, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG), pytest.raises(RefusedError, match=r"setAttributes.*does not exists") as error:
        optimizely.recipients.set_attributes(LIST, "anna.geheim@example.org", ["Vorname"], ["Annabella"])
    assert not error.value.outcome_unknown
    for secret in ("anna.geheim", "Annabella", USERNAME):
        assert secret not in text_of(error.value) + caplog.text


def test_unknown_and_read_only_attributes_are_refused(optimizely: Optimizely) -> None:
    optimizely.recipients.add_all(LIST, batch_of(optimizely, "a@example.org"))
    for name in ("Nix", "Erstellt am"):
        with pytest.raises(RefusedError):
            optimizely.recipients.set_attributes(LIST, "a@example.org", [name], ["v"])
    with pytest.raises(UnsendableError, match="1 values for 2 attributes"):
        optimizely.recipients.set_attributes(LIST, "a@example.org", ATTRIBUTES, ["v"])


@pytest.mark.parametrize("list_id", [EVERY_LIST, LIST])
def test_people_are_put_on_the_unsubscribe_list_and_stay_in_their_lists(
    vendor: Vendor, optimizely: Optimizely, list_id: int
) -> None:
    optimizely.recipients.add_all(LIST, batch_of(optimizely, "p7@example.org"))
    vendor.state.fault("addAll", "drop")
    people = [f"p{n}@example.org" for n in range(1200)]
    optimizely.unsubscribes.add_all(list_id, people)
    optimizely.unsubscribes.add_all(list_id, ["P7@example.org"])
    assert optimizely.unsubscribes.count() == 1200
    assert [call.rows for call in vendor.state.calls("Unsubscribe.addAll")] == [1000, 1000, 200, 1]
    assert optimizely.recipients.contains(LIST, "p7@example.org")


def test_mailings_have_names_lists_and_a_status(vendor: Vendor, optimizely: Optimizely) -> None:
    mailings = optimizely.mailings
    assert mailings.ids_in_status("regular", "SENDING") == []
    vendor.state.add_mailing(NORD, 71, "Müller & Söhne", status="SENDING", list_ids=[LIST, FOREIGN_LIST])
    vendor.state.add_mailing(NORD, 72, "Juni", status="SENDING", list_ids=[])
    assert mailings.ids_in_status("regular", "SENDING") == [71, 72]
    assert mailings.name(71) == "Müller & Söhne"
    assert mailings.recipient_list_ids(71) == {LIST, FOREIGN_LIST}
    assert mailings.recipient_list_ids(72) == frozenset()
    vendor.state.set_mailing_status(71, "DONE")
    assert mailings.ids_in_status("regular", "SENDING") == [72]
    assert mailings.ids_in_status("event", "SENDING") == []


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2026, 11, 24, 4, 30, tzinfo=UTC),
        datetime(2026, 11, 24, 4, 30, 0, 123000, UTC),
        datetime(2026, 7, 1, 0, 15, tzinfo=timezone(timedelta(hours=2))),
        None,
    ],
)
def test_the_date_of_a_mailing_arrives_as_the_same_moment_in_utc(
    vendor: Vendor, optimizely: Optimizely, moment: datetime | None
) -> None:
    vendor.state.add_mailing(NORD, 71, "Mai", status="NEW", list_ids=[LIST], scheduled_at=moment)
    date = optimizely.mailings.schedule_date(71)
    assert date == moment
    assert date is None or date.tzinfo is UTC


def test_an_unknown_mailing_is_refused(optimizely: Optimizely) -> None:
    mailings = optimizely.mailings
    for query in (mailings.name, mailings.recipient_list_ids, mailings.schedule_date):
        with pytest.raises(RefusedError, match="Mailing does not exist"):
            query(4711)


def test_no_service_has_an_operation_that_ends_an_opt_out(optimizely: Optimizely) -> None:
    for service in (optimizely.unsubscribes, optimizely.blacklist):
        assert not [name for name in dir(service) if "remove" in name or "delete" in name]


def test_gzipped_answers_are_read_and_requests_stay_plain(vendor: Vendor) -> None:
    with (
        serve(vendor.state, gzips_answers=True) as url,  # refuses gzipped requests
        connect(url, NORD, USERNAME, PASSWORD) as optimizely,
    ):
        people = [f"p{number}@example.org" for number in range(1000)]
        assert optimizely.recipients.add_all(LIST, batch_of(optimizely, *people)) == [0] * len(people)
        assert len(optimizely.recipients.page(LIST, ["Vorname"], None, 0, 1000)) == 1000
