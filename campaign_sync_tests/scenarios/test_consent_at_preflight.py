"""What changes in the CRM after a snapshot was made, and while it is being sent."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from campaign_sync.cli.run import problems
from campaign_sync.optimizely.session import Session
from campaign_sync.orchestration.retry_policy import NO_RETRIES
from campaign_sync_tests.installation import ADDRESSES, LONG_AGO, NEWSLETTER, Installation, running_installation
from campaign_sync_tests.scenarios.daily_run import CHAIN, FEEDBACK, PICK, REPLACE, rejections
from campaign_sync_tests.scenarios.test_strategies import differential

pytestmark = pytest.mark.sample(1)  # each test on one of the databases

KEEPERS = [f"keeper{number}@example.org" for number in range(1, 4)]
REASONS = {
    ("gate", "gone_from_crm"): 1,
    ("gate", "no_consent"): 1,
    ("gate", "consent_unclear"): 1,
    ("gate", "address_changed"): 1,
    ("gate", "consent_withdrawn"): 1,
}
send = Session.send


@pytest.fixture(params=["sqlite", "postgresql"])
def installation(request: pytest.FixtureRequest, tmp_path: Path, two_lists: bool) -> Iterator[Installation]:
    """Yield an installation with three more people, on either database."""
    urls = {"crm_url": request.getfixturevalue("postgres_url")} if request.param == "postgresql" else {}
    with running_installation(tmp_path, two_lists=two_lists, **urls) as built:
        for number, address in enumerate(KEEPERS, start=1):
            built.add_contact(f"k{number}", address)
        built.list_settings()["limits"] = {"max_shrink": 0.7}
        yield built


def change_all_consents(installation: Installation) -> None:
    """Let c1 be erased, c2 lose the consent events, c3 get an unknown event, c4 move and c5 withdraw."""
    with installation.crm() as crm:
        crm.exec_driver_sql("DELETE FROM contact WHERE id = 'c1'")
        crm.exec_driver_sql("DELETE FROM consent_event WHERE entity_id = 'c2'")
        crm.exec_driver_sql("UPDATE contact SET email = 'moved@example.org' WHERE id = 'c4'")
        crm.exec_driver_sql("UPDATE contact SET email = ' KEEPER1@Example.ORG ' WHERE id = 'k1'")
    installation.consent("c3", "newsletter-nord", "revoked", datetime.now(UTC) - timedelta(minutes=1))
    installation.consent("c5", "newsletter-nord", "withdrawn", datetime.now(UTC) - timedelta(minutes=1))


def test_only_people_with_a_consent_in_the_crm_at_that_moment_are_sent(
    installation: Installation, instance: dg.DagsterInstance
) -> None:
    installation.run("nord", instance, assets=FEEDBACK + PICK)
    change_all_consents(installation)

    result = installation.run("nord", instance, assets=REPLACE)

    assert result.success, problems(result)
    assert installation.addresses() == KEEPERS
    assert rejections(installation, result.run_id) == REASONS


def test_the_differential_strategy_sends_only_people_with_a_consent_at_that_moment(
    installation: Installation, instance: dg.DagsterInstance
) -> None:
    differential(installation)
    installation.run("nord", instance, assets=CHAIN)
    assert len(installation.addresses()) == 8
    change_all_consents(installation)

    result = installation.run("nord", instance, assets=REPLACE)

    assert result.success, problems(result)
    assert installation.addresses() == KEEPERS
    assert rejections(installation, result.run_id) == REASONS


def test_a_resumed_replacement_sends_only_people_with_a_consent_at_that_moment(
    installation: Installation, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation.retry_policy = NO_RETRIES
    installation.settings["optimizely"] |= {"batch_size": 1, "parallel_calls": 1}
    installation.vendor.fault("addAll3", "fault", skip=6, times=99, arg="WebserviceImplException: unheard of")
    assert not installation.run("nord", instance, assets=CHAIN).success
    with installation.vendor.transaction() as database:
        database.execute("DELETE FROM fault")
    change_all_consents(installation)

    result = installation.run("nord", instance, assets=REPLACE)

    assert result.success, problems(result)
    assert installation.addresses() == KEEPERS


def test_a_crm_without_consent_events_leaves_the_list_as_it_was(
    installation: Installation, instance: dg.DagsterInstance
) -> None:
    installation.run("nord", instance, assets=CHAIN)
    with installation.crm() as crm:
        crm.exec_driver_sql("DELETE FROM consent_event")

    result = installation.run("nord", instance, assets=REPLACE)

    assert "no recipient is left to be sent" in problems(result)[0]
    assert len(installation.addresses()) == 8


def act_at_second_batch(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    sent: list[str] = []

    def act_and_send(this: Session, service: str, operation: str, *rest: Any, **options: Any) -> Any:
        sent.append(operation)
        if sent.count("addAll3") == 2 and operation == "addAll3":
            act()
        return send(this, service, operation, *rest, **options)

    monkeypatch.setattr(Session, "send", act_and_send)


@pytest.mark.two_lists
def test_people_who_withdraw_in_the_crm_between_two_batches_are_removed_and_recorded_as_rejections(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation.settings["optimizely"] |= {"batch_size": 1, "parallel_calls": 1}
    installation.add_contact("d1", " KEEPER2@example.org", consent=None)
    installation.consent("d1", "newsletter-nord", "granted", LONG_AGO - timedelta(days=9))

    def withdraw() -> None:
        now = datetime.now(UTC)
        installation.consent("c1", "newsletter-nord", "withdrawn", now)
        installation.consent("c2", "products-nord", "withdrawn", now)
        installation.consent("d1", "newsletter-nord", "withdrawn", now)  # the same mailbox as k2
        with installation.crm() as crm:
            crm.exec_driver_sql(
                "INSERT INTO address_state (address, bounce_kind, bounced_at) "
                "VALUES ('keeper3@example.org', 'hard', '2026-11-01 12:00:00')"
            )

    act_at_second_batch(monkeypatch, withdraw)

    result = installation.run("nord", assets=CHAIN)

    assert result.success, problems(result)
    assert installation.addresses() == [KEEPERS[0], *ADDRESSES[1:]]
    assert rejections(installation, result.run_id) == {
        ("snapshot", "duplicate_address"): 1,
        ("sweep", "consent_withdrawn"): 2,
        ("sweep", "suppressed_meanwhile"): 1,
    }
    with installation.crm() as crm:
        events = crm.exec_driver_sql("SELECT entity_id FROM consent_event WHERE source LIKE 'optimizely:%%'").all()
    assert events == [], "the CRM knows of its own withdrawals"


@pytest.mark.parametrize(
    "installation", ["sqlite"], indirect=True
)  # elsewhere the run itself keeps its tables from changing
def test_a_crm_that_fails_after_the_fill_leaves_the_list_unproven(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation.retry_policy = NO_RETRIES
    installation.settings["optimizely"] |= {"batch_size": 1, "parallel_calls": 1}

    def lose_a_table() -> None:
        with installation.crm() as crm:
            crm.exec_driver_sql("ALTER TABLE address_state RENAME TO lost")

    act_at_second_batch(monkeypatch, lose_a_table)

    result = installation.run("nord", assets=CHAIN)

    assert "INCOMPLETE" in problems(result)[0]
    assert "address_state" in problems(result)[0]
    with installation.crm() as crm:
        crm.exec_driver_sql("ALTER TABLE lost RENAME TO address_state")
    monkeypatch.setattr(Session, "send", send)
    assert installation.run("nord", assets=CHAIN).success
    assert len(installation.addresses(NEWSLETTER)) == 8
