"""Counts for reports, on both databases."""

from datetime import timedelta

import pytest
from sqlalchemy import create_engine

from campaign_sync.optimizely.errors import TransientError
from campaign_sync.storage.replacement_steps import ADD_ALL, CLEAR, StepLog
from campaign_sync.storage.state import State
from campaign_sync_tests.storage.test_replacement_history import DAY, HOUR, NOON, attempt, reject


def test_a_person_rejected_shortly_before_is_not_newly_rejected(database_url: str) -> None:
    with State(database_url) as state:
        reject(database_url, "c1", "gate", NOON, NOON)
        reject(database_url, "c1", "selection", NOON + DAY, NOON + 2 * DAY)  # the same person at another stage
        reject(database_url, "c2", "selection", NOON - 60 * DAY, NOON - 50 * DAY)
        reject(database_url, "c2", "vendor", NOON + DAY, NOON + DAY)  # was in the list meanwhile
        reject(database_url, "c3", "selection", NOON + DAY, NOON + DAY)
        reject(database_url, "c4", "selection", NOON - DAY, NOON + DAY)

        assert state.report_queries.new_rejections("nord", "newsletter", NOON - HOUR) == {
            (NOON, "bounced"): 1,
            (NOON + DAY, "bounced"): 2,
        }


def test_rejections_are_counted_until_a_later_run_overwrites_them(database_url: str) -> None:
    with State(database_url) as state:
        attempt(database_url, NOON, "replaced", snapshot_run_id="frozen")
        reject(database_url, "c1", "selection", NOON - HOUR, NOON - HOUR, run_id="frozen")
        reject(database_url, "c2", "vendor", NOON, NOON, run_id="replaced")
        reject(database_url, "c3", "vendor", NOON - DAY, NOON - DAY, run_id="before")
        (entry,) = state.report_queries.replacements("nord", "newsletter", NOON - HOUR)
        assert state.report_queries.rejection_counts(entry) == {
            ("selection", "bounced", 4): 1,
            ("vendor", "bounced", 4): 1,
        }

        reject(database_url, "c4", "selection", NOON - HOUR, NOON + HOUR, run_id="later")
        assert state.report_queries.rejection_counts(entry) is None


def test_answers_are_counted_of_calls_that_got_one(database_url: str) -> None:
    with State(database_url) as state:
        attempt(database_url, NOON, "run")
        attempt(database_url, NOON - timedelta(days=40), "old")
        (entry,) = state.report_queries.replacements("nord", "newsletter", NOON - HOUR)
        log = StepLog(create_engine(database_url), entry.id, lambda: NOON, str)
        with log.step(CLEAR):
            pass
        for codes in ([0] * 998 + [2] * 2, [0] * 998 + [2] * 2, [7]):
            with log.step(ADD_ALL) as notes:
                notes.add_answers(codes)
        with pytest.raises(TransientError):
            lose_the_answer(log)

        assert state.report_queries.answers([entry.id, "none"]) == {entry.id: {0: 1996, 2: 4, 7: 1}, "none": {}}


def lose_the_answer(log: StepLog) -> None:
    with log.step(ADD_ALL) as notes:
        notes.add_answers([1] * 5)
        raise TransientError("lost", outcome_unknown=True)
