"""Recipients on the unsubscribe lists of single recipient lists, on both databases."""

from datetime import UTC, datetime, timedelta

from campaign_sync.storage.state import State

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
LATER = NOON + timedelta(hours=1)
A, B = 100000000011, 100000000012


def test_recipients_of_one_list_are_not_those_of_another(database_url: str) -> None:
    with State(database_url) as state:
        lists = state.list_unsubscribes
        lists.mark_known("nord", A, ["anna@example.org", "bo@example.org"], NOON)

        assert lists.known("nord", A) == {"anna@example.org", "bo@example.org"}
        assert lists.known("nord", B) == lists.known("sued", A) == set()
        lists.remove("nord", B, ["anna@example.org"])
        lists.remove("nord", A, ["bo@example.org"])
        assert lists.known("nord", A) == {"anna@example.org"}


def test_the_moment_a_recipient_was_first_seen_stays_until_the_crm_knows(database_url: str) -> None:
    with State(database_url) as state:
        lists = state.list_unsubscribes
        assert lists.record_pending("nord", A, ["anna@example.org"], NOON) == {"anna@example.org": NOON}
        assert lists.record_pending("nord", A, ["anna@example.org"], LATER) == {"anna@example.org": NOON}
        assert lists.known("nord", A) == set()
        lists.mark_known("nord", A, ["anna@example.org"], LATER)
        assert lists.known("nord", A) == {"anna@example.org"}


def test_recipients_known_for_the_mandator_are_known_for_its_lists(database_url: str) -> None:
    with State(database_url) as state:
        state.unsubscribed_recipients.mark_known("nord", ["anna@example.org"], NOON)
        state.list_unsubscribes.mark_known("nord", A, ["bo@example.org"], NOON)

        assert state.list_unsubscribes.known("nord", A) == {"anna@example.org", "bo@example.org"}
        assert state.list_unsubscribes.known("nord", B) == {"anna@example.org"}
        assert state.unsubscribed_recipients.known("nord") == {"anna@example.org", "bo@example.org"}
