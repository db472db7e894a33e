"""Recipient lists with their own unsubscribe lists: people who leave one keep the consent for the others."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest

from campaign_sync.cli.run import problems
from campaign_sync.optimizely.services import Unsubscribes
from campaign_sync.sandbox import web_services
from campaign_sync_tests.installation import (
    ADDRESSES,
    ATTRIBUTES,
    LONG_AGO,
    NEWSLETTER,
    NORD,
    PRODUCTS,
    Installation,
    epoch_ms,
)
from campaign_sync_tests.scenarios.daily_run import (
    CANARY,
    CHAIN,
    FEEDBACK,
    REPLACE,
    Assets,
    addresses_without,
    audit,
    check,
    gate,
    rejections,
    withdrawals_with_source,
)

FIELDS = ["opt-in-id", "entity-type", "entity-id"]
COLUMNS = {"opt_in_id": 2, "entity_type": 3, "entity_id": 4}
REPLACE_BOTH = [*REPLACE, ("nord", "products_recipient_list")]
YESTERDAY = datetime.now(UTC) - timedelta(days=1)
OTHER = 100000000077


@pytest.fixture
def installation(installation: Installation) -> Installation:
    """Return an installation whose lists of `nord` have their own unsubscribe lists."""
    installation.settings["mandators"]["nord"]["unsubscribe_lists"] = "per_list"
    for list_id in (NEWSLETTER, PRODUCTS):
        installation.vendor.unsubscribe_from_list(list_id)
    return installation


@pytest.fixture
def without_permission_for_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the user have no permission to query the unsubscribe lists of recipient lists."""

    def refuse(caller: Any, *_: object) -> Any:
        raise caller.fault("Operation not allowed for user")

    monkeypatch.setitem(web_services.HANDLERS, ("Unsubscribe", "containsAllByRecipientList"), refuse)


def publish(installation: Installation, address: str, at: datetime) -> None:
    installation.vendor.publish(NORD, "getUnsubscribes", [[address, epoch_ms(at)]])


def forget_list_opt_outs(installation: Installation, address: str) -> None:
    """Remove an address from the unsubscribe lists of all recipient lists."""
    with installation.vendor.transaction() as database:
        database.execute("DELETE FROM list_unsubscribed WHERE key = ?", [address])


def between_snapshot_and_sending(installation: Installation, leave: Callable[[], None]) -> dg.ExecuteInProcessResult:
    """Run a day of both lists, and call `leave` after their snapshots."""
    with dg.DagsterInstance.ephemeral() as instance:
        pick: Assets = [
            ("nord", f"{name}_{asset}") for asset in ("selection", "snapshot") for name in ("newsletter", "products")
        ]
        installation.run("nord", instance, assets=FEEDBACK + pick)
        leave()
        return installation.run("nord", instance, assets=REPLACE_BOTH)


@pytest.mark.two_lists
def test_a_person_who_leaves_one_list_stays_in_the_other_with_its_consent(installation: Installation) -> None:
    result = between_snapshot_and_sending(
        installation, lambda: installation.vendor.unsubscribe_from_list(PRODUCTS, "person2@example.org")
    )

    assert result.success, problems(result)
    assert installation.addresses(PRODUCTS) == addresses_without("person2@example.org")
    assert installation.addresses(NEWSLETTER) == ADDRESSES
    assert withdrawals_with_source(installation) == [("c2", "products-nord", "optimizely:live_look")]
    assert rejections(installation, result.run_id) == {}


@pytest.mark.long
@pytest.mark.two_lists
def test_a_person_who_leaves_both_lists_in_turn_is_withdrawn_from_both(installation: Installation) -> None:
    installation.first_day()
    installation.vendor.unsubscribe_from_list(PRODUCTS, "person2@example.org")
    installation.day()
    installation.vendor.unsubscribe_from_list(NEWSLETTER, "person2@example.org")
    installation.day()

    assert (
        installation.addresses(NEWSLETTER)
        == installation.addresses(PRODUCTS)
        == addresses_without("person2@example.org")
    )
    assert [opt_in_id for _, opt_in_id, _ in withdrawals_with_source(installation)] == [
        "newsletter-nord",
        "products-nord",
    ]


def test_a_person_who_leaves_a_list_while_it_is_filled_is_removed_from_it(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
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
    result = installation.run(assets=CHAIN)

    assert result.success, problems(result)
    assert installation.addresses() == addresses_without("person3@example.org")
    assert rejections(installation, result.run_id) == {("sweep", "unsubscribed"): 1}
    assert withdrawals_with_source(installation) == [("c3", "newsletter-nord", "optimizely:live_look")]


@pytest.mark.two_lists
@pytest.mark.parametrize(
    "first_day", [True, pytest.param(False, marks=pytest.mark.long)], ids=["first day", "second day"]
)
def test_a_feedback_row_withdraws_only_the_list_that_the_vendor_says_was_left(
    installation: Installation, first_day: bool
) -> None:
    if not first_day:
        installation.day()
    installation.vendor.unsubscribe_from_list(PRODUCTS, "person2@example.org")
    publish(installation, "person2@example.org", datetime.now(UTC) - timedelta(minutes=5))

    installation.day()

    assert withdrawals_with_source(installation) == [("c2", "products-nord", "optimizely:unsubscribes")]
    assert installation.addresses(NEWSLETTER) == ADDRESSES
    assert installation.addresses(PRODUCTS) == addresses_without("person2@example.org")


@pytest.mark.two_lists
def test_a_feedback_row_of_a_person_on_the_clients_list_withdraws_all_consents(installation: Installation) -> None:
    installation.first_day()
    installation.leave("person2@example.org")

    installation.day()

    assert [opt_in_id for _, opt_in_id, _ in withdrawals_with_source(installation)] == [
        "newsletter-nord",
        "products-nord",
    ]
    assert (
        installation.addresses(NEWSLETTER)
        == installation.addresses(PRODUCTS)
        == addresses_without("person2@example.org")
    )


def test_a_person_who_left_an_unknown_list_is_withdrawn_from_nothing(installation: Installation) -> None:
    installation.vendor.add_list(NORD, OTHER, "Gewinnspiel", ATTRIBUTES)
    installation.day()
    installation.vendor.unsubscribe_from_list(OTHER, "person2@example.org")
    publish(installation, "person2@example.org", datetime.now(UTC) - timedelta(minutes=5))

    installation.day()

    assert withdrawals_with_source(installation) == []
    assert installation.addresses() == ADDRESSES


@pytest.mark.long
@pytest.mark.two_lists
def test_an_unsubscribe_from_an_unknown_list_still_withdraws_nothing_after_the_vendor_forgot_it(
    installation: Installation,
) -> None:
    installation.vendor.add_list(NORD, OTHER, "Gewinnspiel", ATTRIBUTES)
    installation.day()
    installation.vendor.unsubscribe_from_list(OTHER, "person2@example.org")
    publish(installation, "person2@example.org", datetime.now(UTC) - timedelta(minutes=5))
    installation.day()
    forget_list_opt_outs(installation, "person2@example.org")

    result = installation.day()

    assert result.success, problems(result)
    assert withdrawals_with_source(installation) == []
    assert installation.addresses(NEWSLETTER) == installation.addresses(PRODUCTS) == ADDRESSES
    with installation.state() as state:
        assert state.write_backs.unsubscribes("nord", YESTERDAY) == [], "no opt-out was written to the CRM"


@pytest.mark.long
@pytest.mark.two_lists
@pytest.mark.parametrize("read_again", [True, False], ids=["read again", "not read again"])
def test_a_person_who_is_added_to_the_crm_later_is_withdrawn_from_the_list_they_left(
    installation: Installation, read_again: bool
) -> None:
    installation.first_day()
    installation.vendor.unsubscribe_from_list(PRODUCTS, "new@example.org")
    publish(installation, "new@example.org", datetime.now(UTC) - timedelta(minutes=5))
    installation.day()
    assert withdrawals_with_source(installation) == []
    installation.add_contact("c9", "new@example.org")
    installation.consent("c9", "products-nord", "granted", LONG_AGO)
    forget_list_opt_outs(installation, "new@example.org")
    if not read_again:
        with installation.vendor.transaction() as database:
            database.execute("DELETE FROM export_row")

    installation.day()

    assert withdrawals_with_source(installation) == [("c9", "products-nord", "optimizely:unsubscribes")]
    installation.day()
    assert "new@example.org" in installation.addresses(NEWSLETTER)
    assert "new@example.org" not in installation.addresses(PRODUCTS)


@pytest.mark.sample(2)
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
def test_every_row_of_a_person_who_is_added_to_the_crm_later_counts(
    installation: Installation, lists: tuple[int | None, int], ended: set[str], read_again: bool
) -> None:
    installation.first_day()
    for list_id in lists:
        if list_id:
            installation.vendor.unsubscribe_from_list(list_id, "new@example.org")
        publish(installation, "new@example.org", datetime.now(UTC) - timedelta(minutes=5))
        installation.run(assets=FEEDBACK)
        forget_list_opt_outs(installation, "new@example.org")
    installation.add_contact("c9", "new@example.org")
    installation.consent("c9", "products-nord", "granted", LONG_AGO)
    if not read_again:
        with installation.vendor.transaction() as database:
            database.execute("DELETE FROM export_row")

    installation.run(assets=FEEDBACK)

    assert {opt_in_id for _, opt_in_id, _ in withdrawals_with_source(installation)} == ended


@pytest.mark.two_lists
def test_rows_with_and_without_an_opt_in_of_one_address_each_count(installation: Installation) -> None:
    installation.vendor.agree_on_response_fields(NORD, FIELDS)
    installation.settings["mandators"]["nord"]["feedback"] = {
        "readers": {"getOutBounces": {}, "getUnsubscribes": COLUMNS}
    }
    installation.vendor.add_list(NORD, OTHER, "Gewinnspiel", ATTRIBUTES)
    installation.day()
    for list_id in (NEWSLETTER, PRODUCTS):
        installation.vendor.unsubscribe_from_list(list_id, "person2@example.org")
    now = datetime.now(UTC)
    first, second = (epoch_ms(now - timedelta(minutes=minutes)) for minutes in (9, 5))
    rows = [["person2@example.org", first], ["person2@example.org", second, "newsletter-nord", "contact", "c2"]]
    installation.vendor.publish(NORD, "getUnsubscribes", rows)

    installation.day()

    assert [opt_in_id for _, opt_in_id, _ in withdrawals_with_source(installation)] == [
        "newsletter-nord",
        "newsletter-nord",
        "products-nord",
    ]


@pytest.mark.long
def test_a_consent_given_again_stays_although_the_person_is_still_on_the_lists_unsubscribe_list(
    installation: Installation,
) -> None:
    installation.first_day()
    installation.vendor.unsubscribe_from_list(NEWSLETTER, "person2@example.org")
    publish(installation, "person2@example.org", datetime.now(UTC) - timedelta(minutes=5))
    installation.day()
    installation.consent("c2", "newsletter-nord", "granted", datetime.now(UTC))

    result = installation.day()

    assert installation.addresses() == addresses_without("person2@example.org"), (
        "the vendor still has them on this list's unsubscribe list"
    )
    assert rejections(installation, result.run_id) == {("gate", "unsubscribed"): 1}
    assert [source for _, _, source in withdrawals_with_source(installation)] == ["optimizely:unsubscribes"]


@pytest.mark.two_lists
def test_opt_outs_are_right_even_if_a_lists_answer_lacks_the_clients_list(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of_the_lists_own_alone(caller: Any, recipient_list: Any, ids: Sequence[str]) -> list[bool]:
        query = "SELECT key FROM list_unsubscribed WHERE list_id = ?"
        own = {key for (key,) in caller.database.execute(query, [recipient_list.list_id])}
        return [recipient_id.lower() in own for recipient_id in ids]

    monkeypatch.setitem(web_services.HANDLERS, ("Unsubscribe", "containsAllByRecipientList"), of_the_lists_own_alone)

    def leave() -> None:
        installation.vendor.unsubscribe(NORD, "person1@example.org")
        installation.vendor.unsubscribe_from_list(PRODUCTS, "person2@example.org")

    result = between_snapshot_and_sending(installation, leave)

    assert result.success, problems(result)
    assert installation.addresses(NEWSLETTER) == addresses_without("person1@example.org")
    assert installation.addresses(PRODUCTS) == addresses_without("person1@example.org", "person2@example.org")
    assert rejections(installation, result.run_id) == {("gate", "on_unsubscribe_list"): 1}
    assert withdrawals_with_source(installation) == [("c2", "products-nord", "optimizely:live_look")]


@pytest.mark.sample(1)
@pytest.mark.two_lists
@pytest.mark.parametrize("seen_first_by", ["its row", "the preflight"])
def test_people_on_the_clients_list_lose_only_the_consent_that_their_row_names(
    installation: Installation, seen_first_by: str
) -> None:
    installation.vendor.agree_on_response_fields(NORD, FIELDS)
    installation.settings["mandators"]["nord"]["feedback"] = {
        "readers": {"getOutBounces": {}, "getUnsubscribes": COLUMNS}
    }
    installation.first_day()

    def leave() -> None:
        installation.leave_through(NEWSLETTER, "person2@example.org")

    if seen_first_by == "the preflight":
        assert between_snapshot_and_sending(installation, leave).success
        assert withdrawals_with_source(installation) == []
    else:
        leave()
    result = installation.day()

    assert (
        installation.addresses(NEWSLETTER)
        == installation.addresses(PRODUCTS)
        == addresses_without("person2@example.org")
    )
    assert withdrawals_with_source(installation) == [("c2", "newsletter-nord", "optimizely:unsubscribes")]
    with installation.state() as state:
        assert state.rejections.counts(result.run_id, "nord", "products") == {("gate", "on_unsubscribe_list"): 1}


def leave_and_consent_again(installation: Installation) -> None:
    """Let person2 leave by a row that names the newsletter, consent to it again, and be off the client's list."""
    installation.vendor.agree_on_response_fields(NORD, FIELDS)
    installation.settings["mandators"]["nord"]["feedback"] = {
        "readers": {"getOutBounces": {}, "getUnsubscribes": COLUMNS}
    }
    installation.first_day()
    installation.leave_through(NEWSLETTER, "person2@example.org")
    installation.day()
    with installation.vendor.transaction() as database:
        database.execute("DELETE FROM unsubscribed")
    installation.consent("c2", "newsletter-nord", "granted", datetime.now(UTC))


@pytest.mark.long
@pytest.mark.sample(2)
@pytest.mark.two_lists
@pytest.mark.parametrize("seen_off_by", ["a day", "the audit"])
@pytest.mark.parametrize("seen_on_by", ["a day", "the audit"])
def test_a_person_who_is_off_the_clients_list_and_then_leaves_one_list_is_withdrawn_from_it(
    installation: Installation, seen_off_by: str, seen_on_by: str
) -> None:
    runs = {"a day": installation.day, "the audit": lambda: audit(installation)}
    leave_and_consent_again(installation)
    assert runs[seen_off_by]().success
    installation.vendor.unsubscribe_from_list(PRODUCTS, "person2@example.org")
    assert runs[seen_on_by]().success
    forget_list_opt_outs(installation, "person2@example.org")

    installation.day()

    assert [opt_in_id for _, opt_in_id, _ in withdrawals_with_source(installation)] == [
        "newsletter-nord",
        "products-nord",
    ]
    assert "person2@example.org" in installation.addresses(NEWSLETTER)
    assert "person2@example.org" not in installation.addresses(PRODUCTS)


@pytest.mark.two_lists
def test_an_audit_remembers_people_who_are_on_the_clients_list_and_on_a_lists_own(installation: Installation) -> None:
    installation.vendor.agree_on_response_fields(NORD, FIELDS)
    installation.settings["mandators"]["nord"]["feedback"] = {
        "readers": {"getOutBounces": {}, "getUnsubscribes": COLUMNS}
    }
    installation.first_day()
    installation.vendor.unsubscribe_from_list(PRODUCTS, "person2@example.org")
    installation.day()
    installation.consent("c2", "products-nord", "granted", datetime.now(UTC))
    installation.vendor.unsubscribe(NORD, "person2@example.org")
    audit(installation)
    with installation.vendor.transaction() as database:
        database.execute("DELETE FROM unsubscribed")

    installation.day()

    assert [opt_in_id for _, opt_in_id, _ in withdrawals_with_source(installation)] == ["products-nord"], (
        "given again since"
    )


@pytest.mark.two_lists
@pytest.mark.usefixtures("without_permission_for_lists")
def test_without_permission_for_lists_people_on_any_list_stay_out_and_keep_their_consents(
    installation: Installation,
) -> None:
    result = between_snapshot_and_sending(
        installation, lambda: installation.vendor.unsubscribe_from_list(PRODUCTS, "person2@example.org")
    )

    assert result.success, problems(result)
    assert (
        installation.addresses(NEWSLETTER)
        == installation.addresses(PRODUCTS)
        == addresses_without("person2@example.org")
    )
    assert withdrawals_with_source(installation) == []
    assert rejections(installation, result.run_id) == {("gate", "on_unsubscribe_list"): 1}
    assert (gate(result).passed, gate(result).severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "containsAllByRecipientList" in (gate(result).description or "")
    assert len(installation.vendor.calls("containsAllByRecipientList")) == 1, (
        "a user without permission asks once a session"
    )


@pytest.mark.two_lists
def test_a_mandator_with_one_unsubscribe_list_keeps_a_person_on_it_out_of_every_list(
    installation: Installation,
) -> None:
    installation.settings["mandators"]["nord"]["unsubscribe_lists"] = "client"

    result = between_snapshot_and_sending(
        installation, lambda: installation.vendor.unsubscribe_from_list(PRODUCTS, "person2@example.org")
    )

    assert result.success, problems(result)
    assert installation.addresses(NEWSLETTER) == addresses_without("person2@example.org")
    assert installation.vendor.calls("containsAllByRecipientList") == []


# The canary


@pytest.mark.two_lists
@pytest.mark.parametrize("opt_in_list", [False, True])
def test_a_canary_shows_the_kind_of_a_list_that_has_its_own_unsubscribe_list(
    installation: Installation, opt_in_list: bool
) -> None:
    installation.settings["mandators"]["nord"]["canary_address"] = CANARY
    installation.vendor.unsubscribe_from_list(PRODUCTS, CANARY)  # and from no other
    installation.vendor.unsubscribe_from_list(NEWSLETTER, "person1@example.org")
    installation.vendor.add_list(NORD, NEWSLETTER, "Newsletter", ATTRIBUTES, opt_in_list=opt_in_list)

    result = installation.run(assets=CHAIN)

    assert result.success != opt_in_list
    if opt_in_list:
        assert "a canary has shown it to be an opt-in list" in problems(result)[0]
    assert sorted(installation.vendor.unsubscribed_from_list(NEWSLETTER)) == [CANARY, "person1@example.org"]
    assert installation.addresses() == ([] if opt_in_list else addresses_without("person1@example.org"))


@pytest.mark.two_lists
@pytest.mark.usefixtures("without_permission_for_lists")
def test_a_canary_does_not_prove_a_list_regular_without_permission_for_lists(
    installation: Installation,
) -> None:
    installation.settings["mandators"]["nord"]["canary_address"] = CANARY
    installation.vendor.unsubscribe_from_list(PRODUCTS, CANARY)

    result = installation.run(assets=CHAIN)

    assert result.success, problems(result)
    assert "doesn't say from which lists it is unsubscribed" in str(gate(result).metadata)
    with installation.state() as state:
        assert state.recipient_lists.kind(NEWSLETTER) is None


# The audit


@pytest.mark.two_lists
def test_the_audit_withdraws_the_consent_of_the_list_that_was_left_and_no_other(installation: Installation) -> None:
    installation.first_day()
    installation.vendor.unsubscribe_from_list(PRODUCTS, "person2@example.org")
    installation.vendor.unsubscribe(NORD, "person4@example.org")

    result = audit(installation)

    assert check(result, "complete").metadata["missing"].value == 2
    assert withdrawals_with_source(installation) == [
        ("c2", "products-nord", "optimizely:audit"),
        ("c4", "newsletter-nord", "optimizely:audit"),
        ("c4", "products-nord", "optimizely:audit"),
    ]
    again = audit(installation)
    assert check(again, "complete").passed
    assert check(again, "agreed").passed


@pytest.mark.two_lists
@pytest.mark.usefixtures("without_permission_for_lists")
def test_an_audit_without_permission_for_lists_withdraws_nothing_and_reports_the_disagreement(
    installation: Installation,
) -> None:
    installation.vendor.unsubscribe_from_list(PRODUCTS, "person2@example.org")

    result = audit(installation)

    assert withdrawals_with_source(installation) == []
    assert check(result, "agreed").metadata["consenting here"].value == 1


def test_an_audit_does_not_believe_that_most_people_have_left_a_list(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(6, 16):
        installation.add_contact(f"c{number}", f"person{number}@example.org")
    monkeypatch.setattr(Unsubscribes, "contains_all_of_list", lambda _, list_id, ids: [True] * len(ids))

    result = audit(installation)

    assert "so no consent was withdrawn from it" in problems(result)[0]
    assert "newsletter-nord" not in {opt_in_id for _, opt_in_id, _ in withdrawals_with_source(installation)}
