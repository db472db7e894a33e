"""Imports of feedback, unmatched feedback and write-backs, on both databases."""

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import create_engine

from campaign_sync.domain.entity import Entity, EntityType
from campaign_sync.domain.feedback import Attribution, Bounce, BounceKind, ConsentRef, CrmEntry, RawRow, Unsubscribe
from campaign_sync.domain.windows import Window
from campaign_sync.storage.crm_write_backs import WrittenConsent
from campaign_sync.storage.database import upgrade_database
from campaign_sync.storage.feedback_imports import Delivery, FeedbackImport, RowCounts, new_import
from campaign_sync.storage.state import State
from campaign_sync.storage.unmatched_feedback import UnmatchedFeedback
from campaign_sync.storage.vendor_unsubscribes import PendingOptOut
from campaign_sync_tests.time_travel import make_tables

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
NO_FEEDBACK = UnmatchedFeedback([], [])
UNKNOWN_RECIPIENT = Unsubscribe("unknown@example.com", NOON, "nord", "optimizely:unsubscribes")
DEAD_END = Bounce("gone@example.com", NOON, "nord", "optimizely:bounces", BounceKind.LIMIT)


def fetched(begin: int, end: int, rows: int = 3, reader: str = "getOutBounces") -> FeedbackImport:
    """Return an import of some hours after noon."""
    window = Window(NOON + begin * HOUR, NOON + end * HOUR)
    imported_at = NOON if end > 24 else window.until
    return new_import("nord", reader, window, rows, (f"{begin}.csv", "digest"), "run", imported_at)


def intact(_: FeedbackImport) -> bool:
    return True


def test_the_watermark_moves_only_when_the_crm_has_the_rows(database_url: str) -> None:
    with State(database_url) as state:
        imports = state.feedback_imports
        first = imports.add(fetched(0, 1))
        assert imports.pending("nord") == [first]
        assert (imports.committed_until("nord"), imports.uncommitted_count("nord")) == ({}, 1)

        imports.commit("nord", {first.id: RowCounts(3, 0)}, NO_FEEDBACK, NO_FEEDBACK, NOON)
        assert imports.pending("nord") == []
        assert imports.committed_until("nord") == {"getOutBounces": NOON + HOUR}
        assert (imports.uncommitted_count("nord"), imports.committed_until("sued")) == (0, {})


def test_fetching_continues_after_windows_that_the_crm_has_not_taken_yet(database_url: str) -> None:
    with State(database_url) as state:
        assert state.feedback_imports.fetched_until("nord", "getOutBounces", intact) is None
        for hour in range(3):
            state.feedback_imports.add(fetched(hour - 1, hour + 1))
        assert state.feedback_imports.fetched_until("nord", "getOutBounces", intact) == NOON + 3 * HOUR
        assert state.feedback_imports.fetched_until("nord", "getUnsubscribes", intact) is None


def test_a_file_lost_before_the_crm_took_it_is_fetched_again_with_all_after_it(database_url: str) -> None:
    with State(database_url) as state:
        imports = state.feedback_imports
        kept = [imports.add(fetched(hour - 1, hour + 1)) for hour in range(3)]
        imports.commit("nord", {kept[0].id: RowCounts(3, 0)}, NO_FEEDBACK, NO_FEEDBACK, NOON)
        lost = kept[1].id

        assert imports.fetched_until("nord", "getOutBounces", lambda entry: entry.id != lost) == NOON + HOUR
        assert imports.pending("nord") == []


def test_an_import_with_rows_that_did_not_fit_stays_pending_though_the_watermark_moved(database_url: str) -> None:
    with State(database_url) as state:
        entry = state.feedback_imports.add(fetched(0, 1))
        state.feedback_imports.commit("nord", {entry.id: RowCounts(1, 2)}, NO_FEEDBACK, NO_FEEDBACK, NOON)

        (again,) = state.feedback_imports.pending("nord")
        assert (again.id, again.committed_at, again.understood_rows, again.misfit_rows) == (entry.id, NOON, 1, 2)
        assert state.feedback_imports.uncommitted_count("nord") == 0
        assert state.feedback_imports.expired("nord", NOON + 9 * HOUR) == []


def test_a_file_expires_once_the_crm_has_taken_all_its_rows(database_url: str) -> None:
    with State(database_url) as state:
        entry = state.feedback_imports.add(fetched(0, 1))
        state.feedback_imports.commit("nord", {entry.id: RowCounts(3, 0)}, NO_FEEDBACK, NO_FEEDBACK, NOON)
        assert state.feedback_imports.expired("nord", NOON) == []
        assert [entry.id for entry in state.feedback_imports.expired("nord", NOON + 2 * HOUR)] == [entry.id]

        state.feedback_imports.mark_removed(entry.id, NOON)
        assert state.feedback_imports.expired("nord", NOON + 2 * HOUR) == []
        assert state.feedback_imports.committed_until("nord") == {"getOutBounces": NOON + HOUR}


def test_a_delivered_file_is_forgotten_when_our_copy_is_lost(database_url: str) -> None:
    delivery = Delivery("u.csv", NOON, 2**33)
    with State(database_url) as state:
        state.feedback_imports.add(fetched(0, 0, reader="getUnsubscribes"), delivery)
        assert [file for _, file in state.feedback_imports.deliveries("nord", "getUnsubscribes")] == [delivery]
        assert state.feedback_imports.deliveries("nord", "getOutBounces") == []

        state.feedback_imports.fetched_until("nord", "getUnsubscribes", lambda _: False)
        assert state.feedback_imports.deliveries("nord", "getUnsubscribes") == [], "our copy was lost"


def test_the_freshness_that_a_delivered_file_shows_stays_when_it_is_read_again(database_url: str) -> None:
    with State(database_url) as state:
        imports = state.feedback_imports
        shown, stale, unseen = (imports.add(fetched(hour, hour)) for hour in (5, 6, 7))
        imports.commit("nord", {stale.id: RowCounts(1, 0, NOON, stale=True)}, NO_FEEDBACK, NO_FEEDBACK, NOON)
        assert imports.committed_until("nord") == {}

        rows = RowCounts(1, 2, NOON + HOUR, fresh_until=NOON + 4 * HOUR)
        imports.commit("nord", {shown.id: rows}, NO_FEEDBACK, NO_FEEDBACK, NOON)
        imports.commit("nord", {shown.id: RowCounts(1, 2, NOON + HOUR, stale=True)}, NO_FEEDBACK, NO_FEEDBACK, NOON)

        assert imports.committed_until("nord") == {"getOutBounces": NOON + 4 * HOUR}
        assert imports.newest_events("nord", "getOutBounces") == {stale.id: NOON, shown.id: NOON + HOUR}
        assert [window.until for window in imports.with_rows("nord", "getOutBounces")] == [
            NOON,
            NOON + HOUR,
            unseen.until,
        ]


def test_the_same_content_is_recorded_under_every_name_and_kept_once(database_url: str) -> None:
    first, again = Delivery("u.csv", NOON, 9, "digest"), Delivery("copy.csv", NOON + HOUR, 9, "digest")
    with State(database_url) as state:
        kept = state.feedback_imports.add(fetched(0, 0), first)
        state.feedback_imports.add_repeated("nord", "getOutBounces", again, kept.id)

        assert state.feedback_imports.deliveries("nord", "getOutBounces") == [(kept.id, first), (kept.id, again)]
        assert [file.digest for _, file in state.feedback_imports.deliveries("nord", "getOutBounces")] == [
            "digest",
            "digest",
        ]
        state.feedback_imports.forget([kept.id])
        assert state.feedback_imports.deliveries("nord", "getOutBounces") == []


def test_rows_that_are_dismissed_or_delivered_again_are_not_pending_and_expire(
    database_url: str,
) -> None:
    with State(database_url) as state:
        imports = state.feedback_imports
        first, second, new = (imports.add(fetched(hour, hour + 1)) for hour in range(3))
        again = RowCounts(1, 2, delivered_again="corrected.csv")
        imports.commit("nord", {first.id: RowCounts(1, 2), second.id: again}, NO_FEEDBACK, NO_FEEDBACK, NOON)
        assert [entry.id for entry in imports.pending("nord")] == [first.id, new.id]
        assert imports.has_understood_rows("nord", "getOutBounces")

        for dismissed in (first, new):
            imports.dismiss(dismissed.id, "anna@host", "a footer", NOON)

        assert [entry.id for entry in imports.pending("nord")] == [new.id], "its other rows aren't taken yet"
        assert [entry.id for entry in imports.expired("nord", NOON + 9 * HOUR)] == [first.id, second.id]


def test_unmatched_feedback_is_kept_until_the_crm_matches_it(database_url: str) -> None:
    soft = Bounce("full@example.com", NOON, "nord", "optimizely:bounces", BounceKind.SOFT, dated=False)
    with State(database_url) as state:
        state.feedback_imports.commit(
            "nord", {}, NO_FEEDBACK, UnmatchedFeedback([soft, DEAD_END], [UNKNOWN_RECIPIENT, UNKNOWN_RECIPIENT]), NOON
        )
        assert state.feedback_imports.unmatched("nord") == UnmatchedFeedback([soft, DEAD_END], [UNKNOWN_RECIPIENT])
        assert state.feedback_imports.unmatched("sued") == NO_FEEDBACK
        assert state.feedback_imports.unmatched_bounces() == [soft, DEAD_END]

        state.feedback_imports.commit("sued", {}, NO_FEEDBACK, NO_FEEDBACK, NOON)
        assert state.feedback_imports.unmatched("nord") == UnmatchedFeedback([soft, DEAD_END], [UNKNOWN_RECIPIENT])
        state.feedback_imports.commit("nord", {}, state.feedback_imports.unmatched("nord"), NO_FEEDBACK, NOON)
        assert state.feedback_imports.unmatched("nord") == NO_FEEDBACK


def test_two_simultaneous_imports_keep_each_others_unmatched_feedback(database_url: str) -> None:
    with State(database_url) as state:
        before = state.feedback_imports.unmatched("nord")
        state.feedback_imports.commit("nord", {}, before, UnmatchedFeedback([], [UNKNOWN_RECIPIENT]), NOON)
        state.feedback_imports.commit("nord", {}, before, UnmatchedFeedback([DEAD_END], []), NOON)

        assert state.feedback_imports.unmatched("nord") == UnmatchedFeedback([DEAD_END], [UNKNOWN_RECIPIENT])


def test_a_newer_unmatched_opt_out_stays_when_the_older_one_is_matched(database_url: str) -> None:
    newer = dataclasses.replace(UNKNOWN_RECIPIENT, occurred_at=NOON + HOUR)
    with State(database_url) as state:
        state.feedback_imports.commit("nord", {}, NO_FEEDBACK, UnmatchedFeedback([], [UNKNOWN_RECIPIENT]), NOON)
        before = state.feedback_imports.unmatched("nord")
        state.feedback_imports.commit("nord", {}, NO_FEEDBACK, UnmatchedFeedback([], [newer]), NOON)
        state.feedback_imports.commit("nord", {}, before, NO_FEEDBACK, NOON)

        assert state.feedback_imports.unmatched("nord") == UnmatchedFeedback([], [newer])


def test_of_two_simultaneous_imports_the_weightier_unmatched_feedback_stays(database_url: str) -> None:
    newer = dataclasses.replace(UNKNOWN_RECIPIENT, occurred_at=NOON + HOUR)
    soft = dataclasses.replace(DEAD_END, occurred_at=NOON + HOUR, kind=BounceKind.SOFT)
    with State(database_url) as state:
        state.feedback_imports.commit("nord", {}, NO_FEEDBACK, UnmatchedFeedback([DEAD_END], [newer]), NOON)
        state.feedback_imports.commit("nord", {}, NO_FEEDBACK, UnmatchedFeedback([soft], [UNKNOWN_RECIPIENT]), NOON)

        assert state.feedback_imports.unmatched("nord") == UnmatchedFeedback([DEAD_END], [newer])


def test_a_vendor_clock_that_was_ahead_once_leaves_no_gap(database_url: str) -> None:
    with State(database_url) as state:
        entry = state.feedback_imports.add(fetched(0, 72))  # imported at noon
        assert state.feedback_imports.fetched_until("nord", "getOutBounces", intact) == NOON
        state.feedback_imports.commit("nord", {entry.id: RowCounts(3, 0)}, NO_FEEDBACK, NO_FEEDBACK, NOON)
        assert state.feedback_imports.committed_until("nord") == {"getOutBounces": NOON}


def test_a_recipient_on_the_vendors_unsubscribe_list_is_known_until_seen_off_it(database_url: str) -> None:
    anna, ben = "a@example.org", "b@example.org"
    with State(database_url) as state:
        assert state.unsubscribed_recipients.record_pending("nord", {anna}, NOON) == {anna: NOON}
        assert state.unsubscribed_recipients.known("nord") == set()
        assert state.unsubscribed_recipients.record_pending("nord", {anna, ben}, NOON + HOUR) == {
            anna: NOON,
            ben: NOON + HOUR,
        }

        state.unsubscribed_recipients.mark_known("nord", {anna, "c@example.org"}, NOON + HOUR)
        assert state.unsubscribed_recipients.known("nord") == {anna, "c@example.org"}
        assert state.unsubscribed_recipients.known("sued") == set()
        state.unsubscribed_recipients.remove("nord", {anna})
        assert state.unsubscribed_recipients.known("nord") == {"c@example.org"}


def test_an_opt_out_is_pending_since_it_was_first_seen_until_the_crm_knows(database_url: str) -> None:
    anna = "a@example.org"
    with State(database_url) as state:
        state.unsubscribed_recipients.record_pending("nord", {anna}, NOON, "optimizely:live_look")
        state.unsubscribed_recipients.record_pending("nord", {anna}, NOON + HOUR, "optimizely:audit")
        assert state.unsubscribed_recipients.pending("nord") == [PendingOptOut(anna, NOON, "optimizely:live_look")]
        assert state.unsubscribed_recipients.pending("sued") == []

        state.unsubscribed_recipients.mark_known("nord", {anna}, NOON)
        assert state.unsubscribed_recipients.pending("nord") == []


def test_unmatched_feedback_is_kept_for_each_opt_in_that_it_names(database_url: str) -> None:
    contact = Entity(EntityType.CONTACT, "c1")
    news = dataclasses.replace(UNKNOWN_RECIPIENT, opt_in_id="news", entity=contact)
    press = dataclasses.replace(UNKNOWN_RECIPIENT, opt_in_id="press", occurred_at=NOON + HOUR)
    with State(database_url) as state:
        state.feedback_imports.commit(
            "nord", {}, NO_FEEDBACK, UnmatchedFeedback([], [news, press, UNKNOWN_RECIPIENT]), NOON
        )
        assert state.feedback_imports.unmatched("nord") == UnmatchedFeedback([], [UNKNOWN_RECIPIENT, news, press])

        state.feedback_imports.commit("nord", {}, UnmatchedFeedback([], [news]), NO_FEEDBACK, NOON)
        assert state.feedback_imports.unmatched("nord") == UnmatchedFeedback([], [UNKNOWN_RECIPIENT, press])


def test_the_last_runs_of_a_reader_count_once_whatever_their_number_of_windows(database_url: str) -> None:
    with State(database_url) as state:
        for run, hours in (("first", (1, 2)), ("second", (5, 4)), ("third", (6,))):
            for hour in hours:
                entry = dataclasses.replace(fetched(hour - 1, hour), run_id=run)
                state.feedback_imports.add(entry)
                if run != "third":
                    state.feedback_imports.commit("nord", {entry.id: RowCounts(1, 0)}, NO_FEEDBACK, NO_FEEDBACK, NOON)
        assert state.feedback_imports.last_ends("nord", "getOutBounces", 2) == [NOON + 5 * HOUR, NOON + 2 * HOUR]
        assert state.feedback_imports.last_ends("nord", "getOutBounces", 1) == [NOON + 5 * HOUR]
        assert state.feedback_imports.last_ends("nord", "getUnsubscribes", 2) == []


def test_every_entry_in_the_crm_is_recorded_once_with_the_row_it_came_from(database_url: str) -> None:
    anna = Entity(EntityType.CONTACT, "4711")
    left = dataclasses.replace(UNKNOWN_RECIPIENT, raw=RawRow("import", 17), attribution=Attribution.MAILING)
    with State(database_url) as state:
        for new in (True, False):
            state.write_backs.record([CrmEntry(left, new, anna, "news", "event-1")], NOON)

        (record,) = state.write_backs.find(anna, None)
        assert (record.entity, record.opt_in_id, record.event_id) == (anna, "news", "event-1")
        assert (record.raw, record.written_at) == (RawRow("import", 17), NOON)
        written = WrittenConsent(ConsentRef(anna, "news"), Attribution.MAILING, "import")
        assert state.write_backs.consents([left]) == {(left.address, NOON): [written]}
        assert record.attribution is Attribution.MAILING
        assert state.write_backs.unsubscribes("nord", NOON) == [record]
        assert state.write_backs.unsubscribes("nord", NOON + HOUR) == []
    with create_engine(database_url).connect() as connection:
        rows = connection.exec_driver_sql("SELECT * FROM write_back").fetchall()
    assert "unknown@example.com" not in str(rows)


def test_a_written_bounce_is_known_to_be_written(database_url: str) -> None:
    another = dataclasses.replace(DEAD_END, occurred_at=NOON + HOUR)
    with State(database_url) as state:
        state.write_backs.record([CrmEntry(DEAD_END, True)], NOON)

        assert state.write_backs.already_written([DEAD_END, another]) == {DEAD_END}
        (record,) = state.write_backs.find(Entity(EntityType.LEAD, "1"), "gone@example.com")
        assert record.entity is None


def test_blocked_addresses_are_kept_until_the_vendor_releases_them(database_url: str) -> None:
    with State(database_url) as state:
        state.blocked_addresses.record("nord", ["a@example.org", "b@example.org"], "optimizely:addAll3", NOON)
        state.blocked_addresses.record("nord", ["a@example.org"], "optimizely:live_look", NOON + HOUR)
        assert state.blocked_addresses.all("nord") == [
            ("a@example.org", NOON, "optimizely:addAll3"),
            ("b@example.org", NOON, "optimizely:addAll3"),
        ]
        assert state.blocked_addresses.all("sued") == []

        state.blocked_addresses.remove("nord", ["a@example.org"])
        assert [address for address, _, _ in state.blocked_addresses.all("nord")] == ["b@example.org"]


@pytest.fixture
def as_before(database_url: str) -> str:
    """A database of an earlier version, with an import of each kind."""
    make_tables(database_url, "0002")
    with create_engine(database_url).begin() as connection:
        for kind in ("bounces", "unsubscribes"):
            connection.exec_driver_sql(
                "INSERT INTO feedback_import (id, mandator, kind, since, until, rows, file, digest, run_id, "
                "imported_at, misfit_rows, committed_at) VALUES "
                f"('{kind}', 'nord', '{kind}', '2026-11-22 12:00:00', '2026-11-23 12:00:00', 1, 'f', 'd', 'r', "
                "'2026-11-23 12:00:00', 0, '2026-11-23 12:00:00')"
            )
    return database_url


def test_watermarks_of_an_earlier_version_belong_to_its_readers(as_before: str) -> None:
    upgrade_database(as_before)
    with State(as_before) as state:
        assert state.feedback_imports.committed_until("nord") == {"getOutBounces": NOON, "getUnsubscribes": NOON}
