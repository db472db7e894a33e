import pytest

from campaign_sync.sandbox.vendor_state import VendorState
from campaign_sync_tests.sandbox.client import Client, FaultError
from campaign_sync_tests.sandbox.conftest import FOREIGN, NEWSLETTER, NORD, OPT_IN_LIST, SUED


def test_each_recipient_gets_a_code(state: VendorState, nord: Client) -> None:
    state.put(NEWSLETTER, [{"id": "there@example.org"}])
    state.unsubscribe(NORD, "left@example.org")
    state.block(NORD, "*@spam.example.org")
    state.bounce(NORD, "dead@example.org")
    state.refuse(NORD, "filtered@example.org", 6)
    state.refuse(NORD, "error@example.org", 7)
    names = ("new", "left", "dead", "there", "filtered", "error", "new")
    ids = [*(f"{name}@example.org" for name in names), "x@spam.example.org", "no address", None]

    assert nord.add_all(NEWSLETTER, ids) == [0, 2, 4, 5, 6, 7, 5, 3, 1, 1]
    assert [row["id"] for row in state.recipients(NEWSLETTER)] == ["there@example.org", "new@example.org"]


def test_ids_are_compared_without_regard_to_case_and_kept_as_sent(state: VendorState, nord: Client) -> None:
    state.unsubscribe(NORD, "Left@Example.org")

    assert nord.add_all(NEWSLETTER, ["LEFT@example.org", "New@example.org", "new@EXAMPLE.org"]) == [2, 0, 5]
    assert nord.call("Recipient", "contains", NEWSLETTER, "NEW@example.org") is True
    assert nord.call("Recipient", "getAll", NEWSLETTER, ["Recipient"]) == [["New@example.org"]]


def test_an_opt_in_list_ends_an_unsubscribe(state: VendorState, nord: Client) -> None:
    state.unsubscribe(NORD, "left@example.org")

    assert nord.add_all(OPT_IN_LIST, ["left@example.org"]) == [0]
    assert state.unsubscribed(NORD) == []


def test_an_unsubscribe_belongs_to_one_mandator(state: VendorState, nord: Client) -> None:
    state.unsubscribe(SUED, "left@example.org")

    assert nord.add_all(NEWSLETTER, ["left@example.org"]) == [0]


@pytest.mark.parametrize(
    ("pattern", "address", "hit"),
    [
        ("*@example.org", "a@example.org", True),
        ("*@example.org", "@example.org", False),
        ("a?@example.org", "ab@example.org", True),
        ("a?@example.org", "a@example.org", False),
        ("a?@example.org", "abc@example.org", False),
        ("a.b@example.org", "axb@example.org", False),
        ("A.B@example.org", "a.b@EXAMPLE.org", True),
        ("a.b@example.org", "xa.b@example.org", False),
    ],
)
def test_a_star_matches_one_or_more_characters_and_a_question_mark_one(
    state: VendorState, nord: Client, pattern: str, address: str, hit: bool
) -> None:
    state.block(NORD, pattern)

    assert nord.call("Blacklist", "isBlacklisted", address) is hit
    assert nord.call("Blacklist", "areBlacklisted", [address, "b@example.net"]) == [hit, False]


@pytest.mark.parametrize(
    ("ids", "names", "rows", "message"),
    [
        ([f"{i}@example.org" for i in range(1001)], [], None, "Too many recipients"),
        (["a@example.org"], ["Schuhgröße"], [["44"]], "Unknown attribute 'Schuhgröße'"),
        (["a@example.org"], ["Erstellt am"], [["x"]], "'Erstellt am' is read-only"),
        (["a@example.org"], ["Opt-in date"], [["x"]], "'Opt-in date' is read-only"),
        (["a@example.org"], ["Vorname", "Ort"], [["Anna"]], "does not match attribute names"),
        (["a@example.org"], ["Vorname"], [["Anna"], ["Bert"]], "Array lengths differ"),
    ],
)
def test_an_invalid_call_adds_no_recipients(
    state: VendorState, nord: Client, ids: list[str], names: list[str], rows: list[list[str]] | None, message: str
) -> None:
    with pytest.raises(FaultError, match=message):
        nord.add_all(NEWSLETTER, ids, names, rows)
    assert state.recipients(NEWSLETTER) == []


def test_1000_recipients_fit_into_one_call(nord: Client) -> None:
    assert set(nord.add_all(NEWSLETTER, [f"{i}@example.org" for i in range(1000)])) == {0}
    assert nord.call("Recipient", "getCount", NEWSLETTER, 0) == 1000


def test_faults_repeat_personal_data_as_the_real_ones_do(nord: Client) -> None:
    with pytest.raises(FaultError, match=rf"\[{nord.session_id},{NORD},nord-api\].*canary@example.org"):
        nord.add_all(NEWSLETTER, ["canary@example.org"], ["nothing"], [["x"]])


@pytest.mark.parametrize("operation", ["clear", "removeUnsubscribed", "removeBounced", "removeBlacklisted"])
def test_another_mandators_list_does_not_exist(state: VendorState, nord: Client, operation: str) -> None:
    state.put(FOREIGN, [{"id": "a@example.org"}])

    with pytest.raises(FaultError, match="Recipient list does not exist"):
        nord.call("Recipient", operation, FOREIGN)
    assert len(state.recipients(FOREIGN)) == 1


def test_clearing_a_list_leaves_other_lists_alone(state: VendorState, nord: Client) -> None:
    for list_id in (NEWSLETTER, OPT_IN_LIST):
        state.put(list_id, [{"id": "a@example.org"}])

    assert nord.call("Recipient", "clear", NEWSLETTER) is None
    assert nord.call("Recipient", "getCount", NEWSLETTER, 0) == 0
    assert nord.call("Recipient", "getCount", OPT_IN_LIST, 0) == 1


def test_sweeping_removes_the_affected_and_counts_them(state: VendorState, nord: Client) -> None:
    state.put(NEWSLETTER, [{"id": f"{i}@example.org"} for i in range(10)])
    for i in range(3):
        state.unsubscribe(NORD, f"{i}@example.org")
    state.bounce(NORD, "3@example.org")
    state.block(NORD, "4@*")
    state.unsubscribe(NORD, "elsewhere@example.org")

    assert nord.call("Recipient", "removeUnsubscribed", NEWSLETTER) == 3
    assert nord.call("Recipient", "removeBounced", NEWSLETTER) == 1
    assert nord.call("Recipient", "removeBlacklisted", NEWSLETTER) == 1
    assert [row["id"] for row in state.recipients(NEWSLETTER)] == [f"{i}@example.org" for i in range(5, 10)]


def test_a_list_is_read_page_by_page_from_a_row_on(state: VendorState, nord: Client) -> None:
    people = [(f"{name}@example.org", name) for name in ("Cem", "Änne", "Bo", "Dörte")]
    state.put(NEWSLETTER, [{"id": key, "attributes": {"Vorname": name}} for key, name in people])
    names = ["Vorname", "email", "Recipient", "no such"]

    def page(order: str | None, ascending: bool, start: int, rows: int) -> list[list[str | None]]:
        table: list[list[str | None]] = nord.call(
            "Recipient", "getAllAdvanced", NEWSLETTER, names, 0, order, ascending, start, rows
        )
        return table

    assert page(None, True, 0, 2) == [[name, key, key, None] for key, name in people[:2]]
    assert page(None, True, 3, 2) == [[people[3][1], people[3][0], people[3][0], None]]
    assert page(None, True, 4, 2) == []
    assert [row[0] for row in page("Recipient", True, 0, 10)] == ["Bo", "Cem", "Dörte", "Änne"]
    assert [row[0] for row in page("Vorname", False, 0, 2)] == ["Änne", "Dörte"]


def test_one_recipient_can_be_looked_up_and_removed(state: VendorState, nord: Client) -> None:
    state.put(NEWSLETTER, [{"id": "a@example.org", "attributes": {"Ort": "Köln"}}])

    assert nord.call("Recipient", "getAttributes", NEWSLETTER, "A@example.org", ["Ort", "Vorname"]) == ["Köln", None]
    assert nord.call("Recipient", "removeAll", NEWSLETTER, ["a@example.org", "b@example.org"]) == [True, False]
    with pytest.raises(FaultError, match="Recipient does not exist for call"):
        nord.call("Recipient", "remove", NEWSLETTER, "a@example.org")
    with pytest.raises(FaultError, match="Recipient does not exists for call"):
        nord.call("Recipient", "getAttributes", NEWSLETTER, "a@example.org", ["Ort"])


def test_attributes_of_a_recipient_are_overwritten_and_the_others_kept(state: VendorState, nord: Client) -> None:
    state.put(NEWSLETTER, [{"id": "a@example.org", "attributes": {"Ort": "Köln", "Vorname": "Anna"}}])

    assert nord.call("Recipient", "setAttributes", NEWSLETTER, "A@example.org", ["Ort"], ["Bonn"]) is None
    assert state.recipients(NEWSLETTER)[0]["attributes"] == {"Ort": "Bonn", "Vorname": "Anna"}


@pytest.mark.parametrize(
    ("recipient_id", "names", "values", "message"),
    [
        ("b@example.org", ["Ort"], ["Bonn"], "Recipient does not exists for call"),
        ("a@example.org", ["Ort", "Schuhgröße"], ["Bonn", "44"], "Unknown attribute 'Schuhgröße'"),
        ("a@example.org", ["Erstellt am"], ["x"], "'Erstellt am' is read-only"),
        ("a@example.org", ["Ort", "Vorname"], ["Bonn"], "does not match attribute names"),
    ],
)
def test_attributes_that_cannot_be_written_change_nothing(
    state: VendorState, nord: Client, recipient_id: str, names: list[str], values: list[str], message: str
) -> None:
    state.put(NEWSLETTER, [{"id": "a@example.org", "attributes": {"Ort": "Köln"}}])

    with pytest.raises(FaultError, match=message):
        nord.call("Recipient", "setAttributes", NEWSLETTER, recipient_id, names, values)
    assert state.recipients(NEWSLETTER)[0]["attributes"] == {"Ort": "Köln"}


def test_recipients_are_stored_as_sent(state: VendorState, nord: Client) -> None:
    nord.add_all(NEWSLETTER, ["a@example.org"], ["Ort", "Vorname"], [['Köln <&"> ]]>', None]])

    assert state.recipients(NEWSLETTER) == [
        {"id": "a@example.org", "address": "a@example.org", "attributes": {"Ort": 'Köln <&"> ]]>', "Vorname": None}}
    ]
    assert nord.call("Recipient", "getAll", NEWSLETTER, ["Ort", "Vorname"]) == [['Köln <&"> ]]>', None]]


def test_both_storage_formats_are_read(state: VendorState, nord: Client) -> None:
    names = ["Ort", "no such", "Vorname", "email", "Erstellt am"]
    state.put(NEWSLETTER, [{"id": "a@example.org", "attributes": {"Vorname": "Anna", "Ort": "Köln"}}])
    nord.add_all(NEWSLETTER, ["b@example.org"], ["Vorname", "Ort"], [["Bert", "Bonn"]])
    nord.add_all(NEWSLETTER, ["c@example.org"], ["Ort", "Vorname"], [["Celle", None]])
    nord.add_all(NEWSLETTER, ["d@example.org"], ["Ort"], [[""]])
    nord.add_all(NEWSLETTER, ["e@example.org"])

    rows = nord.call("Recipient", "getAll", NEWSLETTER, names)
    assert [row[:4] for row in rows] == [
        ["Köln", None, "Anna", "a@example.org"],
        ["Bonn", None, "Bert", "b@example.org"],
        ["Celle", None, None, "c@example.org"],
        ["", None, None, "d@example.org"],
        [None, None, None, "e@example.org"],
    ]
    assert {row[4] for row in rows} == {"2027-01-15T08:00:00+00:00"}
    assert [row.get("attributes") for row in state.recipients(NEWSLETTER)] == [
        {"Vorname": "Anna", "Ort": "Köln"},
        {"Vorname": "Bert", "Ort": "Bonn"},
        {"Ort": "Celle", "Vorname": None},
        {"Ort": ""},
        {},
    ]
