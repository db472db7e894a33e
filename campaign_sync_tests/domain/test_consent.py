"""Which consent counts."""

from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaign_sync.domain.consent import ConsentEvent, ConsentKind, current_consent, is_email, is_granted
from campaign_sync.domain.entity import EntityType

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
events = st.lists(
    st.builds(
        ConsentEvent,
        event_id=st.uuids().map(str),
        kind=st.sampled_from(ConsentKind),
        occurred_at=st.integers(0, 3).map(lambda hours: NOON + timedelta(hours=hours)),
    ),
    max_size=8,
)


def event(kind: ConsentKind, hours: int = 0, event_id: str = "e") -> ConsentEvent:
    return ConsentEvent(event_id, kind, NOON + timedelta(hours=hours))


def test_nobody_without_an_event_has_consented() -> None:
    assert current_consent([]) is None
    assert not is_granted(None)


def test_a_consent_granted_again_is_granted_and_a_withdrawn_one_is_not() -> None:
    granted, withdrawn, again = (
        event(ConsentKind(kind), at) for at, kind in enumerate(["granted", "withdrawn", "granted"])
    )
    assert not is_granted(current_consent([granted, withdrawn]))
    assert is_granted(current_consent([granted, withdrawn, again]))
    assert is_granted(event(ConsentKind.CONFIRMED))


def test_at_the_same_moment_a_withdrawal_wins_whatever_its_id() -> None:
    tie = [event(ConsentKind.GRANTED, event_id="z"), event(ConsentKind.WITHDRAWN, event_id="a")]
    assert not is_granted(current_consent(tie))


@given(events, st.randoms())
def test_the_order_of_the_events_makes_no_difference(history: list[ConsentEvent], random: Random) -> None:
    shuffled = random.sample(history, len(history))
    assert current_consent(shuffled) == current_consent(history)


@given(events.filter(bool))
def test_the_newest_event_decides(history: list[ConsentEvent]) -> None:
    deciding = current_consent(history)
    newest = max(event.occurred_at for event in history)
    assert deciding is not None
    assert deciding.occurred_at == newest
    withdrawn_last = any(e.occurred_at == newest and e.kind is ConsentKind.WITHDRAWN for e in history)
    assert is_granted(deciding) is not withdrawn_last


def test_a_contact_goes_before_a_lead_and_a_lead_before_an_account() -> None:
    assert sorted(EntityType, key=lambda kind: kind.precedence) == ["contact", "lead", "account"]


@pytest.mark.parametrize("media_type", ["email", "e-mail", "E-Mail", "EMAIL", " Email ", "e_mail"])
def test_e_mail_is_known_in_every_usual_spelling(media_type: str) -> None:
    assert is_email(media_type)


@pytest.mark.parametrize(
    "media_type", ["", " ", "SMS", "fax", "print", "push", "mail", "email2", "e-mail, sms", "emails"]
)
def test_nothing_else_is_e_mail(media_type: str) -> None:
    assert not is_email(media_type)
