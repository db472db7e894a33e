"""A CRM that keeps the state of each consent in a box without a date, from the CRM to the recipient list."""

import io
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest
from rich.console import Console

from campaign_sync.cli.prove import print_proof
from campaign_sync.cli.run import problems
from campaign_sync.cli.why import print_why
from campaign_sync.storage.known_withdrawals import WithdrawalAcceptance
from campaign_sync_tests.installation import ADDRESSES, Installation, running_installation
from campaign_sync_tests.scenarios.daily_run import CHAIN, RUN_ID, check, rejections
from campaign_sync_tests.test_plan import plan

WITHDRAW = (
    "UPDATE consent_state SET kind = 'withdrawn' "
    "WHERE entity_type = :entity_type AND entity_id = :entity_id AND opt_in_id = :opt_in_id"
)


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    """Yield an installation whose five contacts have granted the newsletter by a box without a date."""
    with running_installation(tmp_path) as built:
        built.settings["crm"] |= {
            "preset": "contract",
            "tables": {"consent_event": None},
            "write_back": {"withdrawal": [WITHDRAW]},
        }
        built.list_settings()["limits"] = {"max_shrink": 0.9, "max_growth": 9}
        with built.crm() as crm:
            crm.exec_driver_sql(
                "CREATE TABLE consent_state "
                "(entity_type TEXT, entity_id TEXT, opt_in_id TEXT, kind TEXT, changed_at TEXT)"
            )
            crm.exec_driver_sql(
                "INSERT INTO consent_state SELECT entity_type, entity_id, opt_in_id, 'granted', NULL FROM consent_event"
            )
            crm.exec_driver_sql("DELETE FROM consent_event")
        yield built


def show(installation: Installation, kind: str, *entity_ids: str, changed_at: str | None = None) -> None:
    """Set the state of contacts for the newsletter, as a clerk does."""
    with installation.crm() as crm:
        for entity_id in entity_ids:
            crm.exec_driver_sql(
                "UPDATE consent_state SET kind = ?, changed_at = ? "
                "WHERE entity_id = ? AND opt_in_id = 'newsletter-nord'",
                (kind, changed_at, entity_id),
            )


def shown(installation: Installation, entity_id: str) -> str:
    query = "SELECT kind FROM consent_state WHERE entity_id = ? AND opt_in_id = 'newsletter-nord'"
    with installation.crm() as crm:
        return str(crm.exec_driver_sql(query, (entity_id,)).scalar_one())


def run(installation: Installation, run_id: str | None = None) -> dg.ExecuteInProcessResult:
    result = installation.run("nord", assets=CHAIN, run_id=run_id)
    assert result.success, problems(result)
    return result


def accept(installation: Installation) -> None:
    with installation.state() as state:
        state.known_withdrawals.accept(
            WithdrawalAcceptance(RUN_ID, "nord", "newsletter", "anna", "called them", datetime.now(UTC))
        )


def text_of(installation: Installation, print_about: str, who: str) -> str:
    text = io.StringIO()
    console = Console(file=text, width=400)
    if print_about == "why":
        print_why(installation.configuration, who, console)
    else:
        print_proof(installation.configuration, who, {("nord", "newsletter")}, None, console)
    return text.getvalue()


def test_an_undated_opt_out_is_out_and_comes_back_when_it_is_accepted(installation: Installation) -> None:
    run(installation)
    assert installation.addresses() == ADDRESSES
    proof = text_of(installation, "prove", "contact:c1")
    assert "granted without a date" in proof
    assert "shown as granted, without a date; first seen 20" in proof
    assert "1970" not in proof + text_of(installation, "why", "contact:c1")

    show(installation, "withdrawn", "c1")
    run(installation)
    assert installation.addresses() == ADDRESSES[1:]
    for command in ("prove", "why"):
        assert "shown as withdrawn, without a date; first seen 20" in text_of(installation, command, "contact:c1")

    show(installation, "granted", "c1")
    for _ in range(2):
        result = run(installation)
        assert installation.addresses() == ADDRESSES[1:]
        assert rejections(installation, result.run_id)["selection", "undated_regrant"] == 1
        withdrawals = check(result, "withdrawals")
        assert (withdrawals.passed, withdrawals.severity) == (False, dg.AssetCheckSeverity.WARN)
    answer = text_of(installation, "why", "contact:c1")
    assert "the CRM shows it as granted again without a newer date" in answer
    assert "1970" not in answer

    accept(installation)
    result = run(installation, RUN_ID)
    assert installation.addresses() == ADDRESSES
    assert check(result, "withdrawals").passed
    assert "in spite of the withdrawal before" in text_of(installation, "prove", "contact:c1")


@pytest.mark.parametrize("setting", [pytest.param("ask", marks=pytest.mark.long), "accept"])
def test_a_plan_judges_a_grant_as_the_run_after_it_and_remembers_nothing(
    installation: Installation, setting: str
) -> None:
    installation.settings["crm"]["undated_regrant"] = setting
    run(installation)
    show(installation, "withdrawn", "c1")
    run(installation)
    show(installation, "granted", "c1")

    planned = plan(installation)
    result = run(installation)
    assert planned["rows"] == len(installation.addresses()) == {"ask": 4, "accept": 5}[setting]
    assert planned["changes"]["joined"] == planned["rows"] - 4
    foreseen = {entry["summary"] for entry in planned["checks"] if entry["name"] == "withdrawals"}
    assert foreseen == {check(result, "withdrawals").description}


@pytest.mark.long
def test_a_dated_grant_that_is_newer_brings_back_by_itself(installation: Installation) -> None:
    run(installation)
    show(installation, "withdrawn", "c1", changed_at="2026-03-01 12:00:00")  # before the product saw the grant
    run(installation)
    assert installation.addresses() == ADDRESSES[1:]
    show(installation, "granted", "c1", changed_at="2026-02-01 12:00:00")
    run(installation)
    assert installation.addresses() == ADDRESSES[1:]
    show(installation, "granted", "c1", changed_at="2026-03-02 12:00:00")
    run(installation)
    assert installation.addresses() == ADDRESSES


@pytest.mark.long
@pytest.mark.parametrize("setting", ["ask", "accept"])
def test_a_box_beside_the_date_of_the_grant_is_judged_by_the_product_s_own_history(
    installation: Installation, setting: str
) -> None:
    installation.settings["crm"]["undated_regrant"] = setting
    was, other = "2026-02-01 12:00:00", "2026-01-01 12:00:00"
    show(installation, "granted", "c1", "c2", changed_at=was)
    run(installation)
    assert installation.addresses() == ADDRESSES
    show(installation, "withdrawn", "c1", "c2")  # SuiteCRM's opt_out; confirm_opt_in_date stays, and isn't read
    run(installation)
    assert installation.addresses() == ADDRESSES[2:]
    show(installation, "granted", "c1", changed_at=was)
    show(installation, "granted", "c2", changed_at=other)
    result = run(installation)
    back = setting == "accept"
    assert installation.addresses() == [*(ADDRESSES[:1] if back else []), *ADDRESSES[2:]]
    reasons = rejections(installation, result.run_id)
    assert reasons["selection", "withdrawal_vanished"] == 1
    assert reasons.get(("selection", "undated_regrant"), 0) == (0 if back else 1)
    proof = text_of(installation, "prove", "contact:c1")
    assert ("dated 2026-02-01 12:00 UTC as before; first seen 20" in proof) is back


def test_an_unsubscribe_is_written_to_the_box_once_and_destroys_no_later_grant(installation: Installation) -> None:
    run(installation)
    installation.leave(ADDRESSES[0])
    run(installation)
    assert shown(installation, "c1") == "withdrawn"
    assert installation.addresses() == ADDRESSES[1:]
    run(installation)  # the CRM shows it
    show(installation, "granted", "c1")
    run(installation)
    assert shown(installation, "c1") == "granted", "the import repeats the unsubscribe, which is older than the grant"
    assert installation.addresses() == ADDRESSES[1:]


@pytest.mark.parametrize("setting", [pytest.param("ask", marks=pytest.mark.long), "accept"])
def test_a_restored_crm_stops_its_lists_whatever_the_setting(installation: Installation, setting: str) -> None:
    installation.settings["crm"]["undated_regrant"] = setting
    leavers = [f"w{number}" for number in range(24)]
    with installation.crm() as crm:
        for leaver in leavers:
            crm.exec_driver_sql("INSERT INTO contact (id, email) VALUES (?, ?)", (leaver, f"{leaver}@example.org"))
            crm.exec_driver_sql(
                "INSERT INTO consent_state VALUES ('contact', ?, 'newsletter-nord', 'withdrawn', NULL)", (leaver,)
            )
            crm.exec_driver_sql(
                "INSERT INTO marketing_list_member SELECT marketing_list_id, 'contact', ? FROM marketing_list_member "
                "WHERE entity_id = 'c1'",
                (leaver,),
            )
    run(installation)
    clears = installation.clears()
    show(installation, "granted", *leavers)
    for _ in range(2):
        result = installation.run("nord", assets=CHAIN)
        (problem,) = problems(result)
        assert "24 of 29 consents for newsletter-nord were withdrawn" in problem
        assert (installation.addresses(), installation.clears()) == (ADDRESSES, clears)
    show(installation, "withdrawn", *leavers)
    run(installation)
    show(installation, "granted", "w1")
    run(installation)
    back = ["w1@example.org"] if setting == "accept" else []
    assert installation.addresses() == [*ADDRESSES, *back]
