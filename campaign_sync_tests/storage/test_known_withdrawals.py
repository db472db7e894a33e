"""Withdrawals that the CRM has shown, on both databases."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import create_engine

from campaign_sync.domain.vanished_withdrawals import KnownWithdrawal
from campaign_sync.storage.known_withdrawals import WithdrawalAcceptance
from campaign_sync.storage.state import State

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
ANNA, BEN = KnownWithdrawal("p_anna", "p_address", NOON), KnownWithdrawal("p_ben", None, NOON - HOUR)
ACCEPTANCE = WithdrawalAcceptance("run-1", "nord", "newsletter", "anna", "a wrong import", NOON + 2 * HOUR)


@pytest.fixture
def state(database_url: str) -> Iterator[State]:
    with State(database_url) as opened:
        yield opened


def test_the_newest_withdrawal_of_each_entity_is_kept_by_mandator_and_opt_in(state: State) -> None:
    state.known_withdrawals.remember("nord", "news", [BEN, ANNA])
    later = ANNA._replace(address=None, withdrawn_at=NOON + HOUR)
    state.known_withdrawals.remember("nord", "news", [later])

    assert state.known_withdrawals.all("nord", "news") == {"p_anna": later, "p_ben": BEN}
    assert state.known_withdrawals.count("nord", "news") == 2
    assert state.known_withdrawals.all("nord", "offers") == state.known_withdrawals.all("sued", "news") == {}


def test_an_entity_that_consented_again_is_forgotten(state: State) -> None:
    state.known_withdrawals.remember("nord", "news", [BEN, ANNA])
    state.known_withdrawals.forget("nord", "news", {"p_anna": NOON})
    assert state.known_withdrawals.all("nord", "news") == {"p_ben": BEN}


def test_a_newer_withdrawal_that_another_run_has_seen_since_stays(state: State) -> None:
    newer = ANNA._replace(withdrawn_at=NOON + HOUR)
    state.known_withdrawals.remember("nord", "news", [newer])
    state.known_withdrawals.remember("nord", "news", [ANNA])
    state.known_withdrawals.forget("nord", "news", {"p_anna": NOON})
    assert state.known_withdrawals.all("nord", "news") == {"p_anna": newer}


def test_the_moment_a_withdrawal_vanished_stays_until_it_is_back(state: State) -> None:
    state.known_withdrawals.remember("nord", "news", [BEN, ANNA])
    state.known_withdrawals.mark_missing("nord", "news", {"p_anna"}, NOON)
    state.known_withdrawals.mark_missing("nord", "news", {"p_anna", "p_ben"}, NOON + HOUR)
    assert [withdrawal.missing_since for withdrawal in state.known_withdrawals.all("nord", "news").values()] == [
        NOON,
        NOON + HOUR,
    ]
    state.known_withdrawals.mark_missing("nord", "news", {"p_ben"}, NOON + 2 * HOUR)
    assert state.known_withdrawals.all("nord", "news")["p_anna"] == ANNA


def test_a_review_of_a_list_adds_to_what_has_vanished_and_takes_nothing_back(state: State) -> None:
    state.known_withdrawals.remember("nord", "news", [BEN, ANNA])
    state.known_withdrawals.mark_missing("nord", "news", {"p_anna"}, NOON)
    state.known_withdrawals.mark_missing("nord", "news", {"p_ben"}, NOON + HOUR, exactly=False)
    assert [withdrawal.missing_since for withdrawal in state.known_withdrawals.all("nord", "news").values()] == [
        NOON,
        NOON + HOUR,
    ]


def test_exactly_the_absent_withdrawals_are_remembered_as_compared_until_they_are_shown_again(state: State) -> None:
    state.known_withdrawals.remember("nord", "news", [BEN, ANNA])
    state.known_withdrawals.mark_absent("nord", "news", {"p_anna", "p_ben"}, NOON)
    state.known_withdrawals.mark_absent("nord", "news", {"p_ben"}, NOON + HOUR)
    known = state.known_withdrawals.all("nord", "news")
    assert (known["p_anna"].absent_since, known["p_ben"].absent_since) == (None, NOON)


def test_only_withdrawals_reported_before_the_acceptance_are_forgotten_and_counted(
    state: State, database_url: str
) -> None:
    state.known_withdrawals.remember("nord", "news", [BEN, ANNA])
    state.known_withdrawals.mark_missing("nord", "news", {"p_anna"}, NOON)
    state.known_withdrawals.mark_missing("nord", "news", {"p_anna", "p_ben"}, NOON + 3 * HOUR)
    state.known_withdrawals.accept(ACCEPTANCE)
    state.known_withdrawals.accept(ACCEPTANCE)

    assert state.known_withdrawals.acceptances("run-1", "nord") == [ACCEPTANCE]
    assert (
        state.known_withdrawals.acceptances("run-2", "nord")
        == state.known_withdrawals.acceptances("run-1", "sued")
        == []
    )
    assert state.known_withdrawals.forget_accepted(ACCEPTANCE, "news") == 1
    assert state.known_withdrawals.forget_accepted(ACCEPTANCE, "news") == 0
    assert set(state.known_withdrawals.all("nord", "news")) == {"p_ben"}
    with create_engine(database_url).connect() as connection:
        stored = connection.exec_driver_sql("SELECT reason, withdrawals FROM withdrawal_acceptance").all()
    assert [tuple(row) for row in stored] == [("a wrong import", 1)]


def test_an_acceptance_of_one_mandator_does_not_change_another(state: State) -> None:
    for mandator in ("nord", "sued"):
        state.known_withdrawals.remember(mandator, "news", [ANNA])
        state.known_withdrawals.mark_missing(mandator, "news", {"p_anna"}, NOON)
    assert state.known_withdrawals.forget_accepted(replace(ACCEPTANCE, mandator="sued"), "news") == 1
    assert state.known_withdrawals.count("nord", "news") == 1


def test_several_runs_may_store_the_same_withdrawals_at_once(state: State) -> None:
    seen = [KnownWithdrawal(f"p_{number}", f"p_a{number}", NOON) for number in range(1_500)]

    with ThreadPoolExecutor(4) as pool:
        for run in range(4):
            pool.submit(state.known_withdrawals.remember, "nord", "news", seen[run * 100 :] + seen[: run * 100])

    assert state.known_withdrawals.all("nord", "news") == {withdrawal.entity: withdrawal for withdrawal in seen}
