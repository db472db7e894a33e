"""Consent histories and the event that decides."""

import random
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaign_sync.domain.consent import (
    GRANTING,
    UNDATED,
    ConsentEvent,
    ConsentKind,
    ConsentWords,
    current_consent,
    effective_kind,
    is_email,
    normalize_word,
)
from campaign_sync.domain.consent_columns import KINDS, deciding_events, effective_kinds
from campaign_sync.domain.entity import EntityType

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MOMENTS = st.none() | st.integers(-2, 2).map(lambda hours: NOW + timedelta(hours=hours))
RAW = st.tuples(st.sampled_from(ConsentKind), MOMENTS)


def as_read(kind: ConsentKind, at: datetime | None, event_id: str = "e") -> ConsentEvent:
    return ConsentEvent(event_id, effective_kind(kind, at, NOW), at or UNDATED)


def history(raw: list[tuple[ConsentKind, datetime | None]]) -> list[ConsentEvent]:
    return [as_read(kind, at, f"e{number}") for number, (kind, at) in enumerate(raw)]


HISTORIES = st.lists(RAW, max_size=6).map(history)


def event(kind: ConsentKind, hours: float = 0, event_id: str = "e") -> ConsentEvent:
    return as_read(kind, NOW + timedelta(hours=hours), event_id)


def is_granted(decided: ConsentEvent | None) -> bool:
    return decided is not None and decided.kind in GRANTING


def test_without_events_there_is_no_consent() -> None:
    assert current_consent([]) is None


def test_a_consent_granted_again_is_granted_and_a_withdrawn_one_is_not() -> None:
    granted, withdrawn, again = [
        event(ConsentKind(kind), at) for at, kind in enumerate(["granted", "withdrawn", "granted"], start=-3)
    ]
    assert not is_granted(current_consent([granted, withdrawn]))
    assert is_granted(current_consent([granted, withdrawn, again]))
    assert is_granted(event(ConsentKind.CONFIRMED))


def test_at_the_same_moment_a_withdrawal_has_precedence() -> None:
    tie = [event(kind, event_id=f"z{kind}") for kind in ConsentKind] + [event(ConsentKind.WITHDRAWN, event_id="a")]
    deciding_event = current_consent(tie)
    assert deciding_event == event(ConsentKind.WITHDRAWN, event_id=f"z{ConsentKind.WITHDRAWN}")


def test_an_event_that_is_not_understood_ends_a_consent_until_a_newer_grant() -> None:
    granted, unclear, again = (
        event(ConsentKind.GRANTED, -3),
        event(ConsentKind.UNCLEAR, -2),
        event(ConsentKind.CONFIRMED, -1),
    )
    assert not is_granted(current_consent([granted, unclear]))
    assert not is_granted(current_consent([granted, event(ConsentKind.UNCLEAR, -3)]))
    assert is_granted(current_consent([granted, unclear, again]))


def test_a_grant_in_the_future_grants_nothing_and_hides_no_withdrawal() -> None:
    future, granted, withdrawn = (
        event(ConsentKind.GRANTED, 24 * 365 * 36),
        event(ConsentKind.GRANTED, -2),
        event(ConsentKind.WITHDRAWN, -1),
    )
    assert current_consent([future]) == future
    assert current_consent([granted, future]) == future
    assert current_consent([granted, withdrawn, future]) == withdrawn
    assert not is_granted(future)


def test_contacts_precede_leads_and_leads_precede_accounts() -> None:
    assert sorted(EntityType, key=lambda kind: kind.precedence) == ["contact", "lead", "account"]


@pytest.mark.parametrize("media_type", ["email", "e-mail", "E-Mail", "EMAIL", " Email ", "e_mail"])
def test_e_mail_is_known_in_every_usual_spelling(media_type: str) -> None:
    assert is_email(media_type)


@pytest.mark.parametrize(
    "media_type", ["", " ", "SMS", "fax", "print", "push", "mail", "email2", "e-mail, sms", "emails"]
)
def test_nothing_else_is_e_mail(media_type: str) -> None:
    assert not is_email(media_type)


def test_clocks_may_differ_by_a_quarter_of_an_hour() -> None:
    assert is_granted(event(ConsentKind.GRANTED, 0.25))
    assert not is_granted(event(ConsentKind.GRANTED, 0.26))


@pytest.mark.parametrize("at", [NOW + timedelta(days=1), None])
def test_a_withdrawal_counts_whatever_its_time(at: datetime | None) -> None:
    withdrawn = as_read(ConsentKind.WITHDRAWN, at)
    assert current_consent([withdrawn, event(ConsentKind.GRANTED), event(ConsentKind.GRANTED, 48)]) == withdrawn


def test_a_grant_without_a_time_is_not_understood() -> None:
    assert as_read(ConsentKind.CONFIRMED, None).kind is ConsentKind.UNCLEAR


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        ("granted", ConsentKind.GRANTED),
        (" GRANTED\u00a0", ConsentKind.GRANTED),
        ("Confirmed\n", ConsentKind.CONFIRMED),
        ("WITHDRAWN", ConsentKind.WITHDRAWN),
        ("Revoked", ConsentKind.WITHDRAWN),
        ("opt-in", ConsentKind.GRANTED),
        ("requested ", None),
        ("maybe", ConsentKind.UNCLEAR),
        ("granted in the future", ConsentKind.UNCLEAR),
        ("", ConsentKind.UNCLEAR),
        (None, ConsentKind.UNCLEAR),
        (b"granted", ConsentKind.UNCLEAR),
    ],
)
def test_a_kind_is_known_by_a_standard_or_a_declared_word(raw: object, kind: ConsentKind | None) -> None:
    words = ConsentWords(frozenset({"opt-in"}), frozenset({"revoked"}), frozenset({"requested"}))
    assert words.kind_of(raw) is kind


@given(st.text())
def test_normalizing_a_word_twice_changes_nothing(raw: str) -> None:
    assert normalize_word(f" {raw}\t") == normalize_word(raw) == normalize_word(normalize_word(raw))


@given(HISTORIES, st.randoms())
def test_the_order_in_which_events_are_read_does_not_matter(events: list[ConsentEvent], chance: random.Random) -> None:
    shuffled = list(events)
    chance.shuffle(shuffled)
    assert current_consent(shuffled) == current_consent(events)


@given(HISTORIES)
def test_a_consent_is_granted_by_a_past_grant_without_a_contrary_event_since(
    events: list[ConsentEvent],
) -> None:
    decided = current_consent(events)
    grants = [event.occurred_at for event in events if event.kind in ("granted", "confirmed")]
    contrary = [event.occurred_at for event in events if event.kind in ("withdrawn", "not understood")]
    assert is_granted(decided) is (
        bool(grants)
        and all(event.kind is not ConsentKind.FUTURE for event in events)
        and (not contrary or max(grants) > max(contrary))
    )


@given(st.lists(st.lists(RAW, min_size=1, max_size=6), max_size=8), st.randoms())
def test_many_histories_are_decided_like_single_ones(
    raw: list[list[tuple[ConsentKind, datetime | None]]], chance: random.Random
) -> None:
    rows = [
        (number, kind, at, f"{number}-{chance.random()}-{place}")
        for number, events in enumerate(raw)
        for place, (kind, at) in enumerate(events)
    ]
    chance.shuffle(rows)
    moments = np.array([None if at is None else at.replace(tzinfo=None) for _, _, at, _ in rows], "datetime64[us]")
    kinds = effective_kinds(np.array([KINDS.index(kind) for _, kind, _, _ in rows], np.intp), moments, NOW)
    groups = np.array([group for group, *_ in rows], np.intp)
    positions = deciding_events(groups, kinds, moments, [row[3] for row in rows])

    expected = [
        current_consent([as_read(kind, at, event_id) for group, kind, at, event_id in rows if group == number])
        for number in range(len(raw))
    ]
    assert [(rows[position][3], KINDS[kinds[position]]) for position in positions] == [
        (event.event_id, event.kind) for event in expected if event
    ]
