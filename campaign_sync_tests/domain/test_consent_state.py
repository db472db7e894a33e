"""How observed states of consents become events."""

import hashlib
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from campaign_sync.domain.consent import GRANTING, ConsentKind
from campaign_sync.domain.consent_state import (
    ACCEPTED_BY_SETTING,
    UNDATED_GRANT,
    ConsentState,
    ObservedConsent,
    Regrant,
    StateEvent,
    accept_regrant,
    is_undated_regrant,
    may_be_accepted_unasked,
    needs_whole_read,
    observe,
    refuse_regrant,
    regrants_at_once,
    state_event,
)

NOW = datetime(2026, 11, 20, 5, tzinfo=UTC)
EVENTS = UUID("0e2f6f0c-6f0b-5c0e-9a55-3d1b8f0a7c11")
GRANTED, CONFIRMED, WITHDRAWN, UNCLEAR = (
    ConsentKind.GRANTED,
    ConsentKind.CONFIRMED,
    ConsentKind.WITHDRAWN,
    ConsentKind.UNCLEAR,
)


def day(number: int) -> datetime:
    return NOW + timedelta(days=number)


def state(kind: ConsentKind | None, at: datetime | None = None, evidence: str | None = None) -> ConsentState:
    return ConsentState("contact: Ö'Neil 😀", kind, at, "form", evidence, "v1")


class History:
    """One consent, read on several days."""

    def __init__(self) -> None:
        self.observed: ObservedConsent | None = None

    def show(
        self, number: int, kind: ConsentKind | None, at: datetime | None = None, evidence: str | None = None
    ) -> StateEvent | None:
        shown = state(kind, at, evidence)
        self.observed = observe(self.observed, shown, day(number))
        return state_event(shown, "news", self.observed, day(number))

    def time(self, number: int, kind: ConsentKind | None, at: datetime | None = None) -> datetime | None:
        event = self.show(number, kind, at)
        assert event is not None
        return event.occurred_at


def test_a_withdrawal_has_its_own_date() -> None:
    assert History().time(5, WITHDRAWN, day(2)) == day(2)


def test_an_undated_withdrawal_is_as_old_as_its_first_observation_and_stays_so() -> None:
    history = History()
    assert [history.time(number, WITHDRAWN) for number in (1, 2, 9)] == [day(1)] * 3
    history.show(10, GRANTED)
    assert [history.time(number, WITHDRAWN) for number in (11, 12)] == [day(11)] * 2


def test_a_withdrawal_dated_in_the_future_counts_as_undated() -> None:
    history = History()
    event = history.show(1, WITHDRAWN, day(400))
    assert event is not None
    assert event.occurred_at == day(1)
    assert event.evidence == "shown as withdrawn, dated in the future; first seen 2026-11-21 05:00 UTC"


def test_an_undated_grant_is_older_than_every_withdrawal_and_says_when_it_was_seen() -> None:
    history = History()
    first = history.show(0, GRANTED, evidence="double opt-in")
    again = history.show(7, GRANTED, evidence="double opt-in")
    assert first == again
    assert first is not None
    assert (first.kind, first.occurred_at, first.source, first.text_version) == (GRANTED, UNDATED_GRANT, "form", "v1")
    assert first.evidence == "double opt-in; shown as granted, without a date; first seen 2026-11-20 05:00 UTC"


def test_a_dated_grant_keeps_its_date_and_evidence_even_in_the_future() -> None:
    for kind in (GRANTED, CONFIRMED):
        for at in (day(-900), day(30)):
            event = History().show(0, kind, at, "form 7")
            assert event is not None
            assert (event.kind, event.occurred_at, event.evidence) == (kind, at, "form 7")


def test_an_unclear_state_is_unclear_at_its_date_or_without() -> None:
    history = History()
    assert history.time(0, UNCLEAR, day(-1)) == day(-1)
    assert history.time(0, UNCLEAR) is None
    assert history.observed is None


def test_a_new_subscriber_of_a_checkbox_comes_in_and_an_unticked_one_is_withdrawn() -> None:
    history = History()
    assert history.show(0, None) is None
    assert history.time(1, GRANTED) == UNDATED_GRANT
    event = history.show(2, None)
    assert event is not None
    assert (event.kind, event.occurred_at) == (WITHDRAWN, day(2))
    assert event.evidence == "not shown as granted any more; first seen 2026-11-22 05:00 UTC"
    assert history.show(3, None) == event
    assert history.time(4, GRANTED) == UNDATED_GRANT
    assert history.observed is not None
    assert history.observed.refused


def test_a_newer_dated_grant_ends_a_withdrawal_and_an_older_one_does_not() -> None:
    history = History()
    history.show(0, WITHDRAWN, day(-3))
    assert history.time(1, GRANTED, day(-5)) == day(-5)
    assert history.observed is not None
    assert history.observed.refused
    assert history.time(2, GRANTED, day(-2)) == day(-2)
    assert history.observed == ObservedConsent(True, day(1), stated_at=day(-2))


def test_the_date_of_an_earlier_withdrawal_does_not_let_an_older_grant_count_again() -> None:
    history = History()
    history.show(0, GRANTED, day(-100))
    history.show(5, WITHDRAWN, day(-400))
    history.show(6, GRANTED, day(-100))
    assert history.observed is not None
    assert history.observed.refused


def test_an_accepted_regrant_counts_from_its_last_withdrawn_state_until_the_next_withdrawal() -> None:
    history = History()
    history.show(0, WITHDRAWN)
    history.show(1, GRANTED)
    assert history.observed is not None
    history.observed = accept_regrant(history.observed, day(2), "anna")
    event = history.show(3, GRANTED)
    assert event is not None
    assert event.occurred_at == day(0) + timedelta(microseconds=1), "who unsubscribed since then is out"
    assert event.evidence == (
        "shown as granted, without a date; first seen 2026-11-21 05:00 UTC; accepted 2026-11-22 05:00 UTC, in spite of "
        "the withdrawal before"
    )
    assert history.time(4, WITHDRAWN) == day(4)
    assert history.time(5, GRANTED) == UNDATED_GRANT
    assert history.observed.refused


def test_a_refused_regrant_does_not_count_any_more() -> None:
    history = History()
    history.show(0, WITHDRAWN)
    history.show(1, GRANTED)
    assert history.observed is not None
    history.observed = refuse_regrant(accept_regrant(history.observed, day(1), ACCEPTED_BY_SETTING))
    assert history.time(2, GRANTED) == UNDATED_GRANT


def test_events_of_the_same_state_have_the_same_id_and_others_another() -> None:
    ids = {
        event.event_id
        for kind in (GRANTED, WITHDRAWN)
        for at in (day(-1), day(-2))
        for _ in range(2)
        if (event := History().show(0, kind, at))
    }
    assert len(ids) == 4
    assert {UUID(event_id).version for event_id in ids} == {5}


@given(st.text(st.characters()), st.text(), st.sampled_from(list(ConsentKind)), st.none() | st.datetimes())
def test_the_id_of_an_event_is_a_uuid_of_its_name(
    subject: str, opt_in_id: str, kind: ConsentKind, at: datetime | None
) -> None:
    at = at.replace(tzinfo=UTC) if at else None
    name = f"{subject}\n{opt_in_id}\n{kind.value}\n{at.isoformat() if at else ''}"
    digest = hashlib.sha1(EVENTS.bytes + name.encode("utf-8", "surrogatepass"), usedforsecurity=False).digest()
    expected = UUID(bytes=digest[:16], version=5)
    event = state_event(ConsentState(subject, kind, at), opt_in_id, None, at or NOW)
    if event and event.occurred_at == at:
        assert event.event_id == str(expected)


KINDS = st.sampled_from([GRANTED, CONFIRMED, WITHDRAWN, UNCLEAR, None])
OFFSETS = st.none() | st.integers(-40, 60)
SHOWN = st.lists(st.tuples(KINDS, OFFSETS) | st.none(), max_size=12)
"""What each day's read shows; None where the state isn't there."""


def replay(shown: list[tuple[ConsentKind | None, int | None] | None]) -> list[StateEvent | None]:
    history = History()
    return [
        history.show(number, entry[0], None if entry[1] is None else day(entry[1])) if entry else None
        for number, entry in enumerate(shown)
    ]


@given(SHOWN)
@settings(max_examples=1_000)
def test_without_a_newer_date_or_an_acceptance_no_grant_is_newer_than_a_withdrawal_seen_before(
    shown: list[tuple[ConsentKind | None, int | None] | None],
) -> None:
    newest = UNDATED_GRANT
    for number, event in enumerate(replay(shown)):
        if event is None or event.occurred_at is None:
            continue
        if event.kind is WITHDRAWN:
            assert event.occurred_at <= day(number) + timedelta(minutes=15)
            newest = max(newest, event.occurred_at)
        elif event.kind in GRANTING and event.occurred_at > newest:
            assert shown[number] is not None
            assert event.occurred_at != day(number) or shown[number] == (event.kind, number)


@given(SHOWN)
@settings(max_examples=1_000)
def test_a_consent_is_refused_after_a_withdrawal_until_a_newer_date(
    shown: list[tuple[ConsentKind | None, int | None] | None],
) -> None:
    history, withdrawn_at = History(), None
    for number, entry in enumerate(shown):
        if entry is None:
            continue
        at = None if entry[1] is None else day(entry[1])
        event = history.show(number, entry[0], at)
        if event and event.kind is WITHDRAWN and event.occurred_at:
            withdrawn_at = max(event.occurred_at, withdrawn_at or event.occurred_at)
        elif event and event.kind in GRANTING and withdrawn_at and (at is None or at <= withdrawn_at):
            assert history.observed is not None
            assert history.observed.refused
            assert at is not None or event.occurred_at == UNDATED_GRANT
        elif history.observed and history.observed.granted and not history.observed.refused:
            withdrawn_at = None


BOX = st.lists(
    st.tuples(KINDS, st.none() | st.integers(-4, -1)) | st.tuples(st.just(GRANTED), st.integers(0, 9)), max_size=12
)
"""As of a box beside the grant's date: the same few dates again and again."""


@given(BOX)
@settings(max_examples=1_000)
def test_a_refused_grant_is_undated_if_it_has_no_date_or_that_of_the_last_grant_that_counted(
    shown: list[tuple[ConsentKind | None, int | None]],
) -> None:
    history, counted, withdrawn_at = History(), None, None
    for number, (kind, offset) in enumerate(shown):
        at = None if offset is None else day(offset)
        event = history.show(number, kind, at)
        if kind in GRANTING and (at is None or at <= day(number)):
            if withdrawn_at is None or (at and at > withdrawn_at):
                counted, withdrawn_at = at, None
            observed = history.observed
            assert observed is not None
            assert observed.refused is (withdrawn_at is not None)
            assert is_undated_regrant(observed, at) is (observed.refused and at in (None, counted))
        elif event and kind not in GRANTING and history.observed and not history.observed.granted:
            assert history.observed.withdrawn_at is not None
            withdrawn_at = history.observed.withdrawn_at


@given(BOX)
@settings(max_examples=1_000)
def test_what_is_accepted_is_newer_than_the_withdrawal_and_damage_keeps_its_date(
    shown: list[tuple[ConsentKind | None, int | None]],
) -> None:
    history = History()
    for number, (kind, offset) in enumerate(shown):
        at = None if offset is None else day(offset)
        history.show(number, kind, at)
        refused = history.observed
        if kind not in GRANTING or refused is None or not may_be_accepted_unasked(refused):
            continue
        assert refused.withdrawn_at is not None
        accepted = accept_regrant(refused, day(number), "anna")
        event = state_event(state(kind, at), "news", accepted, day(number))
        assert event is not None
        assert event.occurred_at is not None
        if is_undated_regrant(refused, at):
            assert refused.withdrawn_at < event.occurred_at <= day(number) + timedelta(microseconds=1)
        else:
            assert event.occurred_at == at


def test_the_date_of_a_refused_grant_is_not_known_after_the_next_withdrawal() -> None:
    history = History()
    for number, at in enumerate([-90, None, -200, None, -200]):
        history.show(number, WITHDRAWN if at is None else GRANTED, None if at is None else day(at))
    assert history.observed is not None
    assert not is_undated_regrant(history.observed, day(-200))
    assert is_undated_regrant(history.observed, day(-90))


def test_an_accepted_regrant_with_its_old_date_says_so() -> None:
    history = History()
    history.show(0, GRANTED, day(-90))
    history.show(1, WITHDRAWN)
    history.show(2, GRANTED, day(-90))
    assert history.observed is not None
    history.observed = accept_regrant(history.observed, day(2), "anna")
    event = history.show(3, GRANTED, day(-90))
    assert event is not None
    assert event.occurred_at == day(1) + timedelta(microseconds=1)
    assert event.evidence == (
        "shown as granted, dated 2026-08-22 05:00 UTC as before; first seen 2026-11-22 05:00 UTC; accepted "
        "2026-11-22 05:00 UTC, in spite of the withdrawal before"
    )


@given(SHOWN)
@settings(max_examples=1_000)
def test_a_repeated_read_changes_nothing(shown: list[tuple[ConsentKind | None, int | None] | None]) -> None:
    history = History()
    for number, entry in enumerate(shown):
        if entry:
            at = None if entry[1] is None else day(entry[1])
            event, observed = history.show(number, entry[0], at), history.observed
            if entry[1] is None or entry[1] <= number or entry[0] in GRANTING:
                assert (history.show(number, entry[0], at), history.observed) == (event, observed)


def test_what_a_mass_or_a_duplicate_may_change_is_judged_last() -> None:
    withdrawn, granted = ObservedConsent(False, NOW, NOW), ObservedConsent(True, NOW)
    pending = ObservedConsent(True, NOW, NOW)
    by_setting = ObservedConsent(True, NOW, NOW, NOW, ACCEPTED_BY_SETTING)
    by_anna = ObservedConsent(True, NOW, NOW, NOW, "anna")
    judged_last = [
        (before, shown)
        for before in (None, withdrawn, granted, pending, by_setting, by_anna)
        for shown in (GRANTED, WITHDRAWN, UNCLEAR, None)
        if needs_whole_read(before, state(shown), NOW)
    ]
    assert judged_last == [
        (withdrawn, GRANTED),
        (granted, None),
        (pending, GRANTED),
        (pending, None),
        (by_setting, GRANTED),
        (by_setting, None),
        (by_anna, None),
    ]


def regrants(hours: list[int], *, refused: bool = True) -> list[Regrant]:
    return [Regrant(f"{refused}{number}", NOW + timedelta(hours=hour), refused) for number, hour in enumerate(hours)]


@pytest.mark.parametrize(
    ("hours", "states", "at_once"),
    [
        ([0] * 20, 100, 0),
        ([0] * 21, 100, 21),
        ([0] * 21, 21_000, 0),
        ([0] * 21, 20_999, 21),
        ([0] * 10 + [24] * 11, 100, 21),
        ([0] * 10 + [25] * 11, 100, 0),
        (list(range(0, 240, 24)) * 2, 100, 0),
        ([0] * 30 + [100] * 5, 100, 30),
    ],
)
def test_more_than_twenty_and_a_thousandth_within_a_day_are_a_mass(hours: list[int], states: int, at_once: int) -> None:
    assert len(regrants_at_once(regrants(hours), states)) == at_once


def test_what_the_setting_has_accepted_counts_with_those_that_follow_and_alone_is_no_mass() -> None:
    accepted = regrants([0] * 15, refused=False)
    assert len(regrants_at_once([*accepted, *regrants([1] * 10)], 100)) == 25
    assert regrants_at_once(regrants([0] * 50, refused=False), 100) == frozenset()


@given(st.lists(st.tuples(st.integers(0, 100), st.booleans()), max_size=90), st.integers(0, 60_000))
@settings(max_examples=1_000)
def test_a_mass_is_found_in_every_window_of_a_day(drawn: list[tuple[int, bool]], states: int) -> None:
    all_of_them = [
        Regrant(str(number), NOW + timedelta(hours=hour), refused) for number, (hour, refused) in enumerate(drawn)
    ]
    expected: set[str] = set()
    for first in all_of_them:
        window = [entry for entry in all_of_them if timedelta() <= entry.since - first.since <= timedelta(days=1)]
        is_mass = len(window) > 20 and len(window) > states / 1000
        if is_mass and any(entry.refused for entry in window):
            expected.update(entry.subject for entry in window)
    assert regrants_at_once(all_of_them, states) == expected
