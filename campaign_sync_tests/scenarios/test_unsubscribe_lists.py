"""Recipient lists with unsubscribe lists of their own: who leaves one keeps the consent for the others."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest

from campaign_sync.cli.run import problems
from campaign_sync.optimizely.services import Unsubscribes
from campaign_sync.sandbox import web_services
from campaign_sync_tests.installation import ATTRIBUTES, LONG_AGO, NEWSLETTER, NORD, PRODUCTS, Installation
from campaign_sync_tests.scenarios.test_gate import (
    CANARY,
    EVERYBODY,
    FEEDBACK,
    PICK,
    REPLACE,
    Assets,
    ledger,
    withdrawals,
)

FIELDS = ["opt-in-id", "entity-type", "entity-id"]
COLUMNS = {"opt_in_id": 2, "entity_type": 3, "entity_id": 4}
CHAIN = [*FEEDBACK, *PICK, *REPLACE]
REPLACE_BOTH = [*REPLACE, ("nord", "products_recipient_list")]
YESTERDAY = datetime.now(UTC) - timedelta(days=1)
OTHER = 100000000077


@pytest.fixture
def shop(shop: Installation) -> Installation:
    """An installation whose lists of `nord` have unsubscribe lists of their own."""
    shop.settings["mandators"]["nord"]["unsubscribe_lists"] = "per_list"
    for list_id in (NEWSLETTER, PRODUCTS):
        shop.world.unsubscribe_from_list(list_id)
    return shop


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user who may not ask about single recipient lists."""

    def refuse(caller: Any, *_: object) -> Any:
        raise caller.fault("Operation not allowed for user")

    monkeypatch.setitem(web_services.HANDLERS, ("Unsubscribe", "containsAllByRecipientList"), refuse)


def without(*addresses: str) -> list[str]:
    return [one for one in EVERYBODY if one not in addresses]


def publish(shop: Installation, address: str, at: datetime) -> None:
    shop.world.publish(NORD, "getUnsubscribes", [[address, str(int(at.timestamp() * 1000))]])


def forget(shop: Installation, address: str) -> None:
    """Let somebody be on no recipient list's own unsubscribe list any more."""
    with shop.world.transaction() as database:
        database.execute("DELETE FROM list_unsubscribed WHERE key = ?", [address])


def check(result: dg.ExecuteInProcessResult, name: str) -> dg.AssetCheckEvaluation:
    (found,) = [one for one in result.get_asset_check_evaluations() if one.check_name == name]
    return found


def gate(result: dg.ExecuteInProcessResult) -> dg.AssetCheckEvaluation:
    (found,) = [
        one
        for one in result.get_asset_check_evaluations()
        if one.check_name == "gate" and one.asset_key.path[-1] == "newsletter_recipient_list"
    ]
    return found


def between_snapshot_and_sending(shop: Installation, leave: Callable[[], None]) -> dg.ExecuteInProcessResult:
    """A day of both lists, with something that happens after their snapshots."""
    with dg.DagsterInstance.ephemeral() as instance:
        pick: Assets = [
            ("nord", f"{name}_{asset}") for asset in ("selection", "snapshot") for name in ("newsletter", "products")
        ]
        shop.run("nord", instance, assets=FEEDBACK + pick)
        leave()
        return shop.run("nord", instance, assets=REPLACE_BOTH)


@pytest.mark.two_lists
def test_who_leaves_one_list_is_out_of_it_and_keeps_place_and_consent_in_the_other(shop: Installation) -> None:
    result = between_snapshot_and_sending(
        shop, lambda: shop.world.unsubscribe_from_list(PRODUCTS, "person2@example.org")
    )

    assert result.success, problems(result)
    assert shop.addresses(PRODUCTS) == without("person2@example.org")
    assert shop.addresses(NEWSLETTER) == EVERYBODY
    assert withdrawals(shop) == [("c2", "products-nord", "optimizely:live_look")]
    assert ledger(shop, result.run_id) == {}


@pytest.mark.two_lists
def test_who_leaves_both_lists_one_after_the_other_is_withdrawn_from_both(shop: Installation) -> None:
    shop.day()
    shop.world.unsubscribe_from_list(PRODUCTS, "person2@example.org")
    shop.day()
    shop.world.unsubscribe_from_list(NEWSLETTER, "person2@example.org")
    shop.day()

    assert shop.addresses(NEWSLETTER) == shop.addresses(PRODUCTS) == without("person2@example.org")
    assert [opt_in_id for _, opt_in_id, _ in withdrawals(shop)] == ["newsletter-nord", "products-nord"]


def test_who_leaves_a_list_while_it_is_filled_is_taken_out_of_it(
    shop: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    clear = web_services.HANDLERS["Recipient", "clear"]
    left: list[tuple[int, str]] = []

    def clear_and_leave(caller: Any, recipient_list: Any) -> Any:
        left.append((recipient_list.list_id, "person3@example.org"))
        return clear(caller, recipient_list)

    def remove_unsubscribed(caller: Any, recipient_list: Any) -> int:
        for list_id, address in left:
            caller.database.execute(
                "INSERT OR IGNORE INTO list_unsubscribed VALUES (?, ?, ?)", [list_id, address, address]
            )
        return 0  # a vendor whose sweep goes by the client's list alone

    monkeypatch.setitem(web_services.HANDLERS, ("Recipient", "clear"), clear_and_leave)
    monkeypatch.setitem(web_services.HANDLERS, ("Recipient", "removeUnsubscribed"), remove_unsubscribed)
    result = shop.run(assets=CHAIN)

    assert result.success, problems(result)
    assert shop.addresses() == without("person3@example.org")
    assert ledger(shop, result.run_id) == {("sweep", "unsubscribed"): 1}
    assert withdrawals(shop) == [("c3", "newsletter-nord", "optimizely:live_look")]


@pytest.mark.two_lists
@pytest.mark.parametrize("first_day", [True, False], ids=["first day", "second day"])
def test_a_feedback_row_withdraws_only_the_list_that_the_vendor_says_was_left(
    shop: Installation, first_day: bool
) -> None:
    if not first_day:
        shop.day()
    shop.world.unsubscribe_from_list(PRODUCTS, "person2@example.org")
    publish(shop, "person2@example.org", datetime.now(UTC) - timedelta(minutes=5))

    shop.day()

    assert withdrawals(shop) == [("c2", "products-nord", "optimizely:unsubscribes")]
    assert shop.addresses(NEWSLETTER) == EVERYBODY
    assert shop.addresses(PRODUCTS) == without("person2@example.org")


@pytest.mark.two_lists
def test_a_feedback_row_of_somebody_on_the_clients_list_withdraws_everything(shop: Installation) -> None:
    shop.day()
    shop.leave("person2@example.org")

    shop.day()

    assert [opt_in_id for _, opt_in_id, _ in withdrawals(shop)] == ["newsletter-nord", "products-nord"]
    assert shop.addresses(NEWSLETTER) == shop.addresses(PRODUCTS) == without("person2@example.org")


def test_who_left_a_list_that_is_not_ours_is_withdrawn_from_nothing(shop: Installation) -> None:
    shop.world.add_list(NORD, OTHER, "Gewinnspiel", ATTRIBUTES)
    shop.day()
    shop.world.unsubscribe_from_list(OTHER, "person2@example.org")
    publish(shop, "person2@example.org", datetime.now(UTC) - timedelta(minutes=5))

    shop.day()

    assert withdrawals(shop) == []
    assert shop.addresses() == EVERYBODY


@pytest.mark.two_lists
def test_what_was_about_a_list_that_is_not_ours_stays_so_though_the_vendor_has_forgotten_it(shop: Installation) -> None:
    shop.world.add_list(NORD, OTHER, "Gewinnspiel", ATTRIBUTES)
    shop.day()
    shop.world.unsubscribe_from_list(OTHER, "person2@example.org")
    publish(shop, "person2@example.org", datetime.now(UTC) - timedelta(minutes=5))
    shop.day()
    forget(shop, "person2@example.org")

    result = shop.day()

    assert result.success, problems(result)
    assert withdrawals(shop) == []
    assert shop.addresses(NEWSLETTER) == shop.addresses(PRODUCTS) == EVERYBODY
    with shop.state() as state:
        assert state.write_backs.unsubscribes("nord", YESTERDAY) == [], "the CRM was told of no opt-out"


@pytest.mark.two_lists
@pytest.mark.parametrize("read_again", [True, False], ids=["read again", "not read again"])
def test_who_is_known_to_the_crm_only_later_is_withdrawn_from_the_list_that_they_had_left(
    shop: Installation, read_again: bool
) -> None:
    shop.day()
    shop.world.unsubscribe_from_list(PRODUCTS, "new@example.org")
    publish(shop, "new@example.org", datetime.now(UTC) - timedelta(minutes=5))
    shop.day()
    assert withdrawals(shop) == []
    shop.add_contact("c9", "new@example.org")
    shop.consent("c9", "products-nord", "granted", LONG_AGO)
    forget(shop, "new@example.org")
    if not read_again:
        with shop.world.transaction() as database:
            database.execute("DELETE FROM export_row")

    shop.day()

    assert withdrawals(shop) == [("c9", "products-nord", "optimizely:unsubscribes")]
    shop.day()
    assert "new@example.org" in shop.addresses(NEWSLETTER)
    assert "new@example.org" not in shop.addresses(PRODUCTS)


@pytest.mark.two_lists
@pytest.mark.parametrize("read_again", [True, False], ids=["read again", "not read again"])
@pytest.mark.parametrize(
    ("lists", "ended"),
    [
        ((PRODUCTS, NEWSLETTER), {"newsletter-nord", "products-nord"}),
        ((None, PRODUCTS), {"newsletter-nord", "products-nord"}),
        ((PRODUCTS, PRODUCTS), {"products-nord"}),
    ],
)
def test_of_whom_the_crm_does_not_know_every_row_counts(
    shop: Installation, lists: tuple[int | None, int], ended: set[str], read_again: bool
) -> None:
    shop.day()
    for list_id in lists:
        if list_id:
            shop.world.unsubscribe_from_list(list_id, "new@example.org")
        publish(shop, "new@example.org", datetime.now(UTC) - timedelta(minutes=5))
        shop.run(assets=FEEDBACK)
        forget(shop, "new@example.org")
    shop.add_contact("c9", "new@example.org")
    shop.consent("c9", "products-nord", "granted", LONG_AGO)
    if not read_again:
        with shop.world.transaction() as database:
            database.execute("DELETE FROM export_row")

    shop.run(assets=FEEDBACK)

    assert {opt_in_id for _, opt_in_id, _ in withdrawals(shop)} == ended


@pytest.mark.two_lists
def test_two_rows_about_one_address_are_each_about_what_they_name(shop: Installation) -> None:
    shop.world.agree_on_response_fields(NORD, FIELDS)
    shop.settings["mandators"]["nord"]["feedback"] = {"readers": {"getOutBounces": {}, "getUnsubscribes": COLUMNS}}
    shop.world.add_list(NORD, OTHER, "Gewinnspiel", ATTRIBUTES)
    shop.day()
    for list_id in (NEWSLETTER, PRODUCTS):
        shop.world.unsubscribe_from_list(list_id, "person2@example.org")
    now = datetime.now(UTC)
    first, second = (str(int((now - timedelta(minutes=each)).timestamp() * 1000)) for each in (9, 5))
    rows = [["person2@example.org", first], ["person2@example.org", second, "newsletter-nord", "contact", "c2"]]
    shop.world.publish(NORD, "getUnsubscribes", rows)

    shop.day()

    assert [opt_in_id for _, opt_in_id, _ in withdrawals(shop)] == [
        "newsletter-nord",
        "newsletter-nord",
        "products-nord",
    ]


def test_a_consent_given_again_stays_though_the_list_still_knows_that_they_left(shop: Installation) -> None:
    shop.day()
    shop.world.unsubscribe_from_list(NEWSLETTER, "person2@example.org")
    publish(shop, "person2@example.org", datetime.now(UTC) - timedelta(minutes=5))
    shop.day()
    shop.consent("c2", "newsletter-nord", "granted", datetime.now(UTC))

    result = shop.day()

    assert shop.addresses() == without("person2@example.org"), "the vendor still has them on this list's own"
    assert ledger(shop, result.run_id) == {("gate", "unsubscribed"): 1}
    assert [source for _, _, source in withdrawals(shop)] == ["optimizely:unsubscribes"]


@pytest.mark.two_lists
def test_whether_the_lists_answer_includes_the_clients_list_does_not_matter(
    shop: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of_the_lists_own_alone(caller: Any, recipient_list: Any, ids: Sequence[str]) -> list[bool]:
        query = "SELECT key FROM list_unsubscribed WHERE list_id = ?"
        own = {key for (key,) in caller.database.execute(query, [recipient_list.list_id])}
        return [recipient_id.lower() in own for recipient_id in ids]

    monkeypatch.setitem(web_services.HANDLERS, ("Unsubscribe", "containsAllByRecipientList"), of_the_lists_own_alone)

    def leave() -> None:
        shop.world.unsubscribe(NORD, "person1@example.org")
        shop.world.unsubscribe_from_list(PRODUCTS, "person2@example.org")

    result = between_snapshot_and_sending(shop, leave)

    assert result.success, problems(result)
    assert shop.addresses(NEWSLETTER) == without("person1@example.org")
    assert shop.addresses(PRODUCTS) == without("person1@example.org", "person2@example.org")
    assert ledger(shop, result.run_id) == {("gate", "on_unsubscribe_list"): 1}
    assert withdrawals(shop) == [("c2", "products-nord", "optimizely:live_look")]


@pytest.mark.two_lists
@pytest.mark.parametrize("seen_first_by", ["its row", "a look"])
def test_where_rows_name_the_opt_in_nobody_on_the_clients_list_loses_another_consent(
    shop: Installation, seen_first_by: str
) -> None:
    shop.world.agree_on_response_fields(NORD, FIELDS)
    shop.settings["mandators"]["nord"]["feedback"] = {"readers": {"getOutBounces": {}, "getUnsubscribes": COLUMNS}}
    shop.day()

    def leave() -> None:
        shop.leave_through(NEWSLETTER, "person2@example.org")

    if seen_first_by == "a look":
        assert between_snapshot_and_sending(shop, leave).success
        assert withdrawals(shop) == []
    else:
        leave()
    result = shop.day()

    assert shop.addresses(NEWSLETTER) == shop.addresses(PRODUCTS) == without("person2@example.org")
    assert withdrawals(shop) == [("c2", "newsletter-nord", "optimizely:unsubscribes")]
    with shop.state() as state:
        assert state.rejections.counts(result.run_id, "nord", "products") == {("gate", "on_unsubscribe_list"): 1}


def back_from_the_clients_list(shop: Installation) -> None:
    """Let person2 leave everything by a row that names the newsletter, consent to that again, and be off the list."""
    shop.world.agree_on_response_fields(NORD, FIELDS)
    shop.settings["mandators"]["nord"]["feedback"] = {"readers": {"getOutBounces": {}, "getUnsubscribes": COLUMNS}}
    shop.day()
    shop.leave_through(NEWSLETTER, "person2@example.org")
    shop.day()
    with shop.world.transaction() as database:
        database.execute("DELETE FROM unsubscribed")
    shop.consent("c2", "newsletter-nord", "granted", datetime.now(UTC))


@pytest.mark.two_lists
@pytest.mark.parametrize("seen_off_by", ["a look", "the audit"])
@pytest.mark.parametrize("seen_on_by", ["a look", "the audit"])
def test_who_was_seen_off_the_clients_list_and_then_leaves_one_list_is_withdrawn_from_it(
    shop: Installation, seen_off_by: str, seen_on_by: str
) -> None:
    see = {"a look": shop.day, "the audit": lambda: audited(shop)}
    back_from_the_clients_list(shop)
    assert see[seen_off_by]().success
    shop.world.unsubscribe_from_list(PRODUCTS, "person2@example.org")
    assert see[seen_on_by]().success
    forget(shop, "person2@example.org")

    shop.day()

    assert [opt_in_id for _, opt_in_id, _ in withdrawals(shop)] == ["newsletter-nord", "products-nord"]
    assert "person2@example.org" in shop.addresses(NEWSLETTER)
    assert "person2@example.org" not in shop.addresses(PRODUCTS)


@pytest.mark.two_lists
def test_an_audit_forgets_nobody_who_is_on_the_clients_list_and_on_a_lists_own(shop: Installation) -> None:
    shop.world.agree_on_response_fields(NORD, FIELDS)
    shop.settings["mandators"]["nord"]["feedback"] = {"readers": {"getOutBounces": {}, "getUnsubscribes": COLUMNS}}
    shop.day()
    shop.world.unsubscribe_from_list(PRODUCTS, "person2@example.org")
    shop.day()
    shop.consent("c2", "products-nord", "granted", datetime.now(UTC))
    shop.world.unsubscribe(NORD, "person2@example.org")
    audited(shop)
    with shop.world.transaction() as database:
        database.execute("DELETE FROM unsubscribed")

    shop.day()

    assert [opt_in_id for _, opt_in_id, _ in withdrawals(shop)] == ["products-nord"], "given again since"


@pytest.mark.two_lists
@pytest.mark.usefixtures("refused")
def test_where_lists_may_not_be_asked_whoever_is_on_any_stays_out_and_keeps_their_consents(shop: Installation) -> None:
    result = between_snapshot_and_sending(
        shop, lambda: shop.world.unsubscribe_from_list(PRODUCTS, "person2@example.org")
    )

    assert result.success, problems(result)
    assert shop.addresses(NEWSLETTER) == shop.addresses(PRODUCTS) == without("person2@example.org")
    assert withdrawals(shop) == []
    assert ledger(shop, result.run_id) == {("gate", "on_unsubscribe_list"): 1}
    assert (gate(result).passed, gate(result).severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "containsAllByRecipientList" in (gate(result).description or "")
    assert len(shop.world.calls("containsAllByRecipientList")) == 1, "a user who may not is told so once a session"


@pytest.mark.two_lists
def test_a_mandator_of_one_unsubscribe_list_keeps_them_out_of_every_list(shop: Installation) -> None:
    shop.settings["mandators"]["nord"]["unsubscribe_lists"] = "client"

    result = between_snapshot_and_sending(
        shop, lambda: shop.world.unsubscribe_from_list(PRODUCTS, "person2@example.org")
    )

    assert result.success, problems(result)
    assert shop.addresses(NEWSLETTER) == without("person2@example.org")
    assert shop.world.calls("containsAllByRecipientList") == []


# The canary


@pytest.mark.two_lists
@pytest.mark.parametrize("opt_in_list", [False, True])
def test_a_canary_shows_the_kind_of_a_list_by_the_lists_own_unsubscribe_list(
    shop: Installation, opt_in_list: bool
) -> None:
    shop.settings["mandators"]["nord"]["canary_address"] = CANARY
    shop.world.unsubscribe_from_list(PRODUCTS, CANARY)  # and from no other
    shop.world.unsubscribe_from_list(NEWSLETTER, "person1@example.org")
    shop.world.add_list(NORD, NEWSLETTER, "Newsletter", ATTRIBUTES, opt_in_list=opt_in_list)

    result = shop.run(assets=CHAIN)

    assert result.success != opt_in_list
    if opt_in_list:
        assert "a canary has shown it to be an opt-in list" in problems(result)[0]
    assert sorted(shop.world.unsubscribed_from_list(NEWSLETTER)) == [CANARY, "person1@example.org"]
    assert shop.addresses() == ([] if opt_in_list else without("person1@example.org"))


@pytest.mark.two_lists
@pytest.mark.usefixtures("refused")
def test_a_canary_proves_no_list_regular_where_the_vendor_does_not_say_from_which_it_is_unsubscribed(
    shop: Installation,
) -> None:
    shop.settings["mandators"]["nord"]["canary_address"] = CANARY
    shop.world.unsubscribe_from_list(PRODUCTS, CANARY)

    result = shop.run(assets=CHAIN)

    assert result.success, problems(result)
    assert "doesn't say from which lists it is unsubscribed" in str(gate(result).metadata)
    with shop.state() as state:
        assert state.recipient_lists.kind(NEWSLETTER) is None


# The audit


def audited(shop: Installation) -> dg.ExecuteInProcessResult:
    return shop.definitions.resolve_job_def("nord_audit").execute_in_process(raise_on_error=False)


@pytest.mark.two_lists
def test_the_audit_withdraws_from_the_list_that_was_left_and_from_no_other(shop: Installation) -> None:
    shop.day()
    shop.world.unsubscribe_from_list(PRODUCTS, "person2@example.org")
    shop.world.unsubscribe(NORD, "person4@example.org")

    result = audited(shop)

    assert check(result, "complete").metadata["missing"].value == 2
    assert withdrawals(shop) == [
        ("c2", "products-nord", "optimizely:audit"),
        ("c4", "newsletter-nord", "optimizely:audit"),
        ("c4", "products-nord", "optimizely:audit"),
    ]
    again = audited(shop)
    assert check(again, "complete").passed
    assert check(again, "agreed").passed


@pytest.mark.two_lists
@pytest.mark.usefixtures("refused")
def test_an_audit_that_may_not_ask_about_lists_withdraws_nothing_and_says_whom_the_vendor_writes_nothing(
    shop: Installation,
) -> None:
    shop.world.unsubscribe_from_list(PRODUCTS, "person2@example.org")

    result = audited(shop)

    assert withdrawals(shop) == []
    assert check(result, "agreed").metadata["consenting here"].value == 1


def test_an_audit_does_not_believe_that_most_people_have_left_a_list(
    shop: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(6, 16):
        shop.add_contact(f"c{number}", f"person{number}@example.org")
    monkeypatch.setattr(Unsubscribes, "contains_all_of_list", lambda _, list_id, ids: [True] * len(ids))

    result = audited(shop)

    assert "so nobody was withdrawn from it" in problems(result)[0]
    assert [each for each in withdrawals(shop) if each[1] == "newsletter-nord"] == []
