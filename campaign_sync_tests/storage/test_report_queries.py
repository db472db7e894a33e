"""Counts for reports, on both databases."""

from datetime import timedelta

from sqlalchemy import create_engine, insert

from campaign_sync.storage.state import State
from campaign_sync.storage.tables import replace_step
from campaign_sync_tests.storage.test_replacement_history import DAY, HOUR, MINUTE, NOON, attempt, reject


def test_whoever_was_turned_away_shortly_before_is_not_newly_turned_away(database_url: str) -> None:
    with State(database_url) as state:
        reject(database_url, "c1", "gate", NOON, NOON)
        reject(database_url, "c1", "selection", NOON + DAY, NOON + 2 * DAY)  # the same, under another name
        reject(database_url, "c2", "selection", NOON - 60 * DAY, NOON - 50 * DAY)
        reject(database_url, "c2", "vendor", NOON + DAY, NOON + DAY)  # came back meanwhile
        reject(database_url, "c3", "selection", NOON + DAY, NOON + DAY)
        reject(database_url, "c4", "selection", NOON - DAY, NOON + DAY)

        assert state.report_queries.new_rejections("nord", "newsletter", NOON - HOUR) == {
            (NOON, "bounced"): 1,
            (NOON + DAY, "bounced"): 2,
        }


def test_who_was_kept_out_is_told_as_long_as_no_later_run_has_written_over_it(database_url: str) -> None:
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
    details = ["code 0: 998, code 2: 2", "code 0: 998, code 2: 2", "code 7: 1"]
    steps: list[tuple[str, str, str | None]] = [("addAll3", "done", detail) for detail in details]
    steps += [("addAll3", "unknown", "code 1: 5"), ("shadow: addAll3", "done", "code 1: 5"), ("clear", "done", None)]
    with State(database_url) as state:
        attempt(database_url, NOON, "run")
        attempt(database_url, NOON - timedelta(days=40), "old")
        (entry,) = state.report_queries.replacements("nord", "newsletter", NOON - HOUR)
        with create_engine(database_url).begin() as connection:
            for number, (step, outcome, detail) in enumerate(steps):
                values = {"replace_id": entry.id, "number": number, "step": step, "outcome": outcome, "detail": detail}
                connection.execute(insert(replace_step), {**values, "begun_at": NOON, "ended_at": NOON + MINUTE})

        assert state.report_queries.answers([entry.id, "none"]) == {entry.id: {0: 1996, 2: 4, 7: 1}, "none": {}}
