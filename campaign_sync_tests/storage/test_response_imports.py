"""Imports of responses, on both databases."""

from datetime import UTC, datetime, timedelta

from campaign_sync.domain.windows import Window
from campaign_sync.storage.database import upgrade_database
from campaign_sync.storage.feedback_imports import RowCounts, new_import
from campaign_sync.storage.import_windows import ImportWindow
from campaign_sync.storage.state import State
from campaign_sync.storage.unmatched_feedback import UnmatchedFeedback
from campaign_sync_tests.time_travel import make_tables

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def fetched(begin: int, end: int, reader: str = "getOpens", mandator: str = "nord") -> ImportWindow:
    """Return a window of some hours after noon."""
    span = (NOON + begin * HOUR, NOON + end * HOUR)
    return ImportWindow(
        mandator, reader, *span, 3, f"{begin}.csv", "digest", "run", span[1], f"{mandator}-{reader}-{begin}"
    )


def test_the_watermark_moves_only_when_the_rows_are_stored(database_url: str) -> None:
    first, second = fetched(0, 1), fetched(1, 2)
    with State(database_url) as state:
        imports = state.response_imports
        for window in (second, first, fetched(0, 5, "getClicks"), fetched(0, 5, mandator="sued")):
            imports.add(window)
        assert imports.pending("nord", "getOpens", "layout") == [first, second]
        assert imports.committed_until("nord") == {}
        assert imports.fetched_until("nord", "getOpens", lambda _: True) == NOON + 2 * HOUR

        imports.commit(first.id, 0, "layout", NOON)
        assert imports.pending("nord", "getOpens", "layout") == [second]
        assert imports.committed_until("nord") == {"getOpens": NOON + HOUR}


def test_a_file_lost_before_its_rows_were_stored_is_fetched_again(database_url: str) -> None:
    with State(database_url) as state:
        for hour in range(3):
            state.response_imports.add(fetched(hour, hour + 1))
        state.response_imports.commit(fetched(0, 1).id, 0, "layout", NOON)

        assert (
            state.response_imports.fetched_until("nord", "getOpens", lambda window: window.file != "1.csv")
            == NOON + HOUR
        )
        assert state.response_imports.pending("nord", "getOpens", "layout") == []


def test_rows_that_did_not_fit_wait_for_another_layout_and_are_counted(database_url: str) -> None:
    first, second = fetched(0, 1), fetched(1, 2)
    with State(database_url) as state:
        imports = state.response_imports
        assert imports.unparsed("nord", "getOpens") == 0
        imports.add(first)
        imports.commit(first.id, 2, "wrong", NOON)
        assert imports.pending("nord", "getOpens", "wrong") == []
        imports.add(second)
        assert imports.pending("nord", "getOpens", "right") == [second, first]
        assert (imports.unparsed("nord", "getOpens"), imports.unparsed("nord", "getClicks")) == (2, 0)
        assert imports.expired("nord", NOON + 9 * HOUR) == []

        imports.commit(first.id, 0, "right", NOON)
        assert imports.unparsed("nord", "getOpens") == 0
        assert imports.expired("nord", NOON + 9 * HOUR) == [first]
        imports.mark_removed(first.id, NOON)
        assert imports.expired("nord", NOON + 9 * HOUR) == []
        assert imports.committed_until("nord") == {"getOpens": NOON + HOUR}


def test_feedback_and_responses_of_one_reader_have_separate_watermarks(database_url: str) -> None:
    of_feedback = new_import(
        "nord", "getResponses", Window(NOON, NOON + HOUR), 1, ("f.csv", "digest"), "run", NOON + HOUR
    )
    of_responses = fetched(0, 5, "getResponses")
    no_feedback = UnmatchedFeedback([], [])
    with State(database_url) as state:
        state.response_imports.add(of_responses)
        assert (state.feedback_imports.pending("nord"), state.feedback_imports.uncommitted_count("nord")) == ([], 0)
        state.response_imports.commit(of_responses.id, 1, "layout", NOON)
        assert state.feedback_imports.committed_until("nord") == {}
        assert state.feedback_imports.first_import("nord") is None

        state.feedback_imports.add(of_feedback)
        state.feedback_imports.commit("nord", {of_feedback.id: RowCounts(1, 0)}, no_feedback, no_feedback, NOON)
        assert state.feedback_imports.committed_until("nord") == {"getResponses": NOON + HOUR}
        assert state.response_imports.committed_until("nord") == {"getResponses": NOON + 5 * HOUR}


def test_an_upgrade_creates_the_table(database_url: str) -> None:
    make_tables(database_url, "0003")
    upgrade_database(database_url)

    with State(database_url) as state:
        state.response_imports.add(fetched(0, 1))
        assert state.response_imports.fetched_until("nord", "getOpens", lambda _: True) == NOON + HOUR
