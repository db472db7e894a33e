"""A CRM that loses withdrawals that it had before."""

import io
import shutil
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest
from rich.console import Console

from campaign_sync.cli.run import problems
from campaign_sync.cli.why import print_why
from campaign_sync.crm.sql import schema
from campaign_sync.crm.sql.consents import ConsentReader
from campaign_sync.storage.known_withdrawals import WithdrawalAcceptance
from campaign_sync_tests.databases import fresh_database
from campaign_sync_tests.installation import ADDRESSES, LONG_AGO, Installation, running_installation
from campaign_sync_tests.scenarios.daily_run import CHAIN, REPLACE, RUN_ID, check, erase, rejections

pytestmark = pytest.mark.sample(1)  # each test on one of the databases

LEFT_AT = datetime.now(UTC) - timedelta(days=3)
LEAVERS = [f"w{number}" for number in range(1, 13)]


@pytest.fixture(params=["sqlite", "postgresql"])
def installation(request: pytest.FixtureRequest, tmp_path: Path, two_lists: bool) -> Iterator[Installation]:
    """Yield an installation with twelve people who have withdrawn, with CRM and state on either database."""
    urls = {}
    if request.param == "postgresql":
        urls = {"crm_url": request.getfixturevalue("postgres_url"), "state_url": request.getfixturevalue("other_url")}
    with running_installation(tmp_path, two_lists=two_lists, **urls) as built:
        for entity_id in LEAVERS:
            built.add_contact(entity_id, f"{entity_id}@example.org")
            built.consent(entity_id, "newsletter-nord", "withdrawn", LEFT_AT)
        built.list_settings()["limits"] = {"max_shrink": 0.7, "max_growth": 9}
        yield built


@pytest.fixture
def other_url() -> Iterator[str]:
    with fresh_database() as url:
        yield url


def delete_withdrawals(installation: Installation, entities: Sequence[str]) -> None:
    """Delete the withdrawals of some people from the CRM, as an ETL job does that ends half-way."""
    event = schema.consent_event.c
    with installation.crm() as crm:
        crm.execute(schema.consent_event.delete().where(event.kind == "withdrawn", event.entity_id.in_(entities)))


def why_output(installation: Installation, who: str) -> str:
    text = io.StringIO()
    print_why(installation.configuration, who, Console(file=text, width=400))
    return text.getvalue()


def known_withdrawals(installation: Installation) -> int:
    with installation.state() as state:
        return state.known_withdrawals.count("nord", "newsletter-nord")


def test_a_list_is_refused_after_many_withdrawals_vanished_until_an_operator_accepts_it(
    installation: Installation,
) -> None:
    first = installation.run("nord", assets=CHAIN)
    assert first.success, problems(first)
    assert (check(first, "withdrawals").passed, known_withdrawals(installation)) == (True, 12)
    clears = installation.clears()
    delete_withdrawals(installation, LEAVERS[:11])

    result = installation.run("nord", assets=CHAIN)

    (problem,) = problems(result)
    assert "consent_event shows 11 people as granted for newsletter-nord" in problem
    assert "12 are remembered" in problem
    assert "`campaign-sync run nord --list newsletter --accept-withdrawals REASON`" in problem
    assert (installation.clears(), installation.addresses()) == (clears, ADDRESSES)
    assert rejections(installation, result.run_id)["selection", "withdrawal_vanished"] == 11
    assert "newsletter-nord was withdrawn" in why_output(installation, "contact:w1")
    assert "the CRM doesn't have that withdrawal any more" in why_output(installation, "contact:w1")

    with installation.state() as state:
        now = datetime.now(UTC)
        state.known_withdrawals.accept(
            WithdrawalAcceptance(RUN_ID, "nord", "newsletter", "anna", "a wrong import", now)
        )
    delete_withdrawals(installation, LEAVERS)  # the twelfth vanishes when the others have been accepted
    accepted = installation.run("nord", assets=CHAIN, run_id=RUN_ID)

    assert accepted.success, problems(accepted)
    assert installation.addresses() == sorted([*ADDRESSES, *(f"{leaver}@example.org" for leaver in LEAVERS[:11])])
    assert (check(accepted, "withdrawals").passed, check(accepted, "withdrawals").severity) == (
        False,
        dg.AssetCheckSeverity.WARN,
    )
    assert installation.run("nord", assets=CHAIN).success
    assert known_withdrawals(installation) == 1


def test_a_list_that_is_materialized_alone_is_refused_as_well(installation: Installation) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        installation.run("nord", instance, assets=CHAIN)
        clears = installation.clears()
        delete_withdrawals(installation, LEAVERS)
        result = installation.run("nord", instance, assets=REPLACE)

    assert "withdrawals: consent_event shows 12 people as granted" in problems(result)[0]
    assert installation.clears() == clears


def test_a_withdrawal_that_only_the_preflight_has_seen_is_remembered(installation: Installation) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        installation.run("nord", instance, assets=CHAIN)
        installation.consent("c1", "newsletter-nord", "withdrawn", LEFT_AT)
        installation.run("nord", instance, assets=REPLACE)
        assert installation.addresses() == ADDRESSES[1:]
        delete_withdrawals(installation, ["c1"])
        result = installation.run("nord", instance, assets=REPLACE)

    assert result.success, problems(result)
    assert installation.addresses() == ADDRESSES[1:]
    assert rejections(installation, result.run_id) == {("gate", "withdrawal_vanished"): 1}


def test_a_single_vanished_withdrawal_is_a_warning_and_counts_until_a_newer_consent(
    installation: Installation,
) -> None:
    installation.run("nord", assets=CHAIN)
    delete_withdrawals(installation, ["w1"])

    for _ in range(2):
        result = installation.run("nord", assets=CHAIN)
        assert result.success, problems(result)
        assert installation.addresses() == ADDRESSES
        assert (check(result, "withdrawals").passed, check(result, "withdrawals").severity) == (
            False,
            dg.AssetCheckSeverity.WARN,
        )
    installation.consent("w1", "newsletter-nord", "granted", datetime.now(UTC) - timedelta(minutes=1))

    again = installation.run("nord", assets=CHAIN)
    assert again.success, problems(again)
    assert installation.addresses() == [*ADDRESSES, "w1@example.org"]
    assert (check(again, "withdrawals").passed, known_withdrawals(installation)) == (True, 11)


def test_another_record_with_a_withdrawn_address_is_not_mailed_after_the_first_is_erased(
    installation: Installation,
) -> None:
    installation.add_contact("d1", " W1@example.org", consent=None)
    installation.consent("d1", "newsletter-nord", "granted", LONG_AGO - timedelta(days=90))
    installation.add_contact("d2", "w2@example.org", consent=None)
    installation.consent("d2", "newsletter-nord", "granted", LEFT_AT + timedelta(days=1))
    installation.run("nord", assets=CHAIN)
    assert installation.addresses() == [*ADDRESSES, "w2@example.org"]
    erase(installation, "w1", "w2")

    result = installation.run("nord", assets=CHAIN)

    assert result.success, problems(result)
    assert installation.addresses() == [*ADDRESSES, "w2@example.org"]
    assert rejections(installation, result.run_id)["selection", "withdrawal_vanished"] == 1
    assert "by this record or another one with the address" in why_output(installation, "contact:d1")


def test_people_who_are_erased_or_lose_all_consent_events_are_not_reported(installation: Installation) -> None:
    installation.run("nord", assets=CHAIN)
    with installation.crm() as crm:
        crm.exec_driver_sql("DELETE FROM consent_event WHERE entity_id LIKE 'w%%'")
        crm.exec_driver_sql("DELETE FROM marketing_list_member WHERE entity_id LIKE 'w1%%'")
        crm.exec_driver_sql("DELETE FROM contact WHERE id LIKE 'w1%%'")

    result = installation.run("nord", assets=CHAIN)

    assert result.success, problems(result)
    assert check(result, "withdrawals").passed
    assert known_withdrawals(installation) == 12


@pytest.mark.long
@pytest.mark.two_lists
def test_a_withdrawal_of_another_opt_in_counts_for_that_one_only(installation: Installation) -> None:
    installation.consent("c1", "products-nord", "withdrawn", LEFT_AT)
    installation.run("nord")
    delete_withdrawals(installation, ["c1"])

    result = installation.run("nord")

    assert result.success, problems(result)
    assert ADDRESSES[0] in installation.addresses()
    with installation.state() as state:
        assert state.rejections.counts(result.run_id, "nord", "products")["selection", "withdrawal_vanished"] == 1


@pytest.mark.long
@pytest.mark.thorough
def test_people_who_withdrew_since_the_backup_are_not_mailed_after_the_crm_is_restored(tmp_path: Path) -> None:
    with running_installation(tmp_path) as installation:
        installation.day()
        shutil.copy(tmp_path / "crm.db", tmp_path / "crm.backup")
        installation.consent("c3", "newsletter-nord", "withdrawn", LEFT_AT)
        installation.list_settings()["limits"] = {"max_shrink": 0.5}
        installation.day()
        for leftover in tmp_path.glob("crm.db-*"):
            leftover.unlink()
        shutil.copy(tmp_path / "crm.backup", tmp_path / "crm.db")

        result = installation.day()

        assert ADDRESSES[2] not in installation.addresses()
        assert rejections(installation, result.run_id) == {("selection", "withdrawal_vanished"): 1}


def read_at_gate(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Return, for each reading of consents by the next runs, whether only the people of a list are read."""
    monkeypatch.setattr("campaign_sync.crm.sql.crm_snapshot._COST_BY_ID", 0)
    readings: list[bool] = []
    granted = ConsentReader.granted

    def watched(reader: ConsentReader, opt_in_id: str, among: pd.DataFrame | None) -> Iterator[pd.DataFrame]:
        readings.append(among is not None)
        return granted(reader, opt_in_id, among)

    monkeypatch.setattr(ConsentReader, "granted", watched)
    return readings


def test_the_gate_reads_the_people_of_the_list_once_everybody_was_compared_with_absent_withdrawals(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    readings = read_at_gate(installation, monkeypatch)
    assert installation.run("nord", assets=CHAIN).success
    assert readings == [True], "nothing is absent"
    with installation.crm() as crm:  # as a CRM forgets a person
        crm.execute(schema.consent_event.delete().where(schema.consent_event.c.entity_id == "w1"))
        crm.execute(schema.contact.delete().where(schema.contact.c.id == "w1"))
    for _ in range(2):
        readings.clear()
        assert installation.run("nord", assets=CHAIN).success
        assert readings == [False, True], "the suppressions are compared with everybody, the gate with the list"
    assert known_withdrawals(installation) == 12


def test_a_withdrawal_that_vanishes_after_the_selection_has_everybody_read_and_stops_the_list(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert installation.run("nord", assets=CHAIN).success
    clears = installation.clears()
    readings = read_at_gate(installation, monkeypatch)
    delete_withdrawals(installation, LEAVERS[:11])  # none of them is in the list
    replaced = installation.run("nord", assets=REPLACE)
    (problem,) = problems(replaced)
    assert "consent_event shows 11 people as granted for newsletter-nord" in problem
    assert readings == [False]
    assert installation.clears() == clears


def test_while_withdrawals_have_vanished_the_gate_reads_everybody(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert installation.run("nord", assets=CHAIN).success
    delete_withdrawals(installation, LEAVERS[:1])
    readings = read_at_gate(installation, monkeypatch)
    for _ in range(2):
        readings.clear()
        result = installation.run("nord", assets=CHAIN)
        assert result.success, problems(result)
        assert readings == [False, False]
        assert rejections(installation, result.run_id)["selection", "withdrawal_vanished"] == 1
