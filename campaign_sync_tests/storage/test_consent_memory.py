"""What is remembered of consent states, on both databases."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine

from campaign_sync.crm.mirror.memory import ConsentMemory
from campaign_sync.domain.consent import ConsentKind
from campaign_sync.domain.consent_state import ADDRESS_PREFIX, UNDATED_GRANT, ConsentState, ObservedConsent, StateEvent
from campaign_sync.domain.entity import Entity, EntityType
from campaign_sync.domain.feedback import BounceKind
from campaign_sync.domain.unshown_feedback import WrittenBounce, WrittenWithdrawal
from campaign_sync.storage.consent_memory import RememberedConsents
from campaign_sync.storage.consent_observations import ConsentRead
from campaign_sync.storage.known_withdrawals import WithdrawalAcceptance
from campaign_sync.storage.state import State

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
GRANTED, WITHDRAWN = ConsentKind.GRANTED, ConsentKind.WITHDRAWN
ANNA, BEN, BOTH = "contact: Ö'Neil 😀", "lead:B-1", f"{ADDRESS_PREFIX}müller@example.org"

Shown = Sequence[tuple[str, ConsentKind | None] | tuple[str, ConsentKind | None, datetime]]


@pytest.fixture
def state(database_url: str) -> Iterator[State]:
    with State(database_url) as opened:
        yield opened


@pytest.fixture
def memory(state: State) -> RememberedConsents:
    return state.consent_memory()


def read(memory: ConsentMemory, shown: Shown, now: datetime, chunk: int = 2) -> list[StateEvent]:
    states = [ConsentState(entry[0], entry[1], entry[2] if len(entry) > 2 else None) for entry in shown]
    chunks = [states[start : start + chunk] for start in range(0, len(states), chunk)]
    return [event for events in memory.events("News", chunks, now) for event in events]


def times(events: Sequence[StateEvent]) -> dict[tuple[str, ConsentKind], datetime | None]:
    return {(event.subject, event.kind): event.occurred_at for event in events}


def test_what_was_observed_first_counts_on_all_later_reads(memory: RememberedConsents) -> None:
    shown: Shown = [(ANNA, GRANTED), (BEN, WITHDRAWN), (BOTH, WITHDRAWN)]
    first = read(memory, shown, NOON)
    assert read(memory, shown, NOON + DAY) == first
    assert times(first) == {
        (ANNA, GRANTED): UNDATED_GRANT,
        (BEN, WITHDRAWN): NOON,
        (BOTH, WITHDRAWN): NOON,
    }


def test_an_unticked_box_is_a_withdrawal_and_ticked_again_it_is_refused(
    memory: RememberedConsents, state: State
) -> None:
    read(memory, [(ANNA, GRANTED), (BEN, None)], NOON)
    assert times(read(memory, [(ANNA, None), (BEN, GRANTED)], NOON + DAY)) == {
        (ANNA, WITHDRAWN): NOON + DAY,
        (BEN, GRANTED): UNDATED_GRANT,
    }
    again = read(memory, [(ANNA, GRANTED), (BEN, GRANTED)], NOON + 2 * DAY)
    assert times(again)[ANNA, GRANTED] == UNDATED_GRANT
    subject = memory.pseudonym(ANNA)
    (refused,) = state.consent_observations.refused("news")
    assert (refused.entity, refused.withdrawn_at) == (subject, NOON + DAY)
    grants = [(key, at) for key in (subject, memory.pseudonym(BEN)) for at in (UNDATED_GRANT, NOON)]
    assert state.consent_observations.undated_regrants("NEWS", grants) == {(subject, UNDATED_GRANT)}
    last = state.consent_observations.last_read("news")
    assert last is not None
    assert (last.states, last.refused, last.at_once) == (2, 1, 0)


def test_a_withdrawal_is_remembered_while_its_record_is_gone(memory: RememberedConsents, state: State) -> None:
    read(memory, [(ANNA, WITHDRAWN)], NOON)
    assert read(memory, [], NOON + DAY) == []
    assert times(read(memory, [(ANNA, GRANTED, NOON - DAY)], NOON + 2 * DAY)) == {(ANNA, GRANTED): NOON - DAY}
    assert len(state.consent_observations.refused("news")) == 1
    read(memory, [(ANNA, GRANTED, NOON + HOUR)], NOON + 3 * DAY)
    assert state.consent_observations.refused("news") == []


@pytest.mark.parametrize("chunk", [1, 9])
def test_of_duplicates_a_withdrawn_one_counts_and_its_time_does_not_move(
    memory: RememberedConsents, state: State, chunk: int
) -> None:
    accepting = state.consent_memory(accept_undated=True)
    for shown in ([(ANNA, GRANTED), (ANNA, WITHDRAWN)], [(ANNA, WITHDRAWN), (ANNA, GRANTED)]):
        for number in range(3):
            events = times(read(accepting, shown, NOON + number * DAY, chunk))
            assert events == {(ANNA, GRANTED): UNDATED_GRANT, (ANNA, WITHDRAWN): NOON}
    last = state.consent_observations.last_read("news")
    assert last is not None
    assert last.refused == 0


@pytest.mark.parametrize("chunk", [1, 9])
def test_of_duplicates_a_ticked_box_outweighs_an_empty_one(memory: RememberedConsents, chunk: int) -> None:
    for shown in ([(ANNA, GRANTED), (ANNA, None)], [(ANNA, None), (ANNA, GRANTED)]):
        for number in range(3):
            assert times(read(memory, shown, NOON + number * DAY, chunk)) == {(ANNA, GRANTED): UNDATED_GRANT}


def test_the_setting_accepts_single_regrants_from_when_they_were_last_withdrawn(state: State) -> None:
    accepting = state.consent_memory(accept_undated=True)
    read(accepting, [(ANNA, WITHDRAWN), (BEN, WITHDRAWN, NOON - DAY)], NOON)
    shown: Shown = [(ANNA, GRANTED), (BEN, GRANTED, NOON - 2 * DAY)]
    for number in (1, 2):
        assert times(read(accepting, shown, NOON + number * DAY)) == {
            (ANNA, GRANTED): NOON + timedelta(microseconds=1),
            (BEN, GRANTED): NOON - 2 * DAY,
        }
    (refused,) = state.consent_observations.refused("news")
    assert refused.entity == accepting.pseudonym(BEN), "an older date is no undated grant"
    read(accepting, [(ANNA, WITHDRAWN)], NOON + 3 * DAY)
    assert times(read(accepting, [(ANNA, WITHDRAWN)], NOON + 4 * DAY)) == {(ANNA, WITHDRAWN): NOON + 3 * DAY}


def test_the_setting_accepts_a_grant_with_the_date_that_it_had_before_and_no_other(state: State) -> None:
    accepting, was, other = state.consent_memory(accept_undated=True), NOON - 90 * DAY, NOON - 80 * DAY
    read(accepting, [(ANNA, GRANTED, was), (BEN, GRANTED, was), (BOTH, GRANTED, was)], NOON)
    read(accepting, [(ANNA, WITHDRAWN), (BEN, WITHDRAWN), (BOTH, WITHDRAWN)], NOON + DAY)
    shown: Shown = [(ANNA, GRANTED, was), (BEN, GRANTED, other), (BOTH, GRANTED, was)]
    back = NOON + DAY + timedelta(microseconds=1)
    for number in (2, 3):
        events = times(read(accepting, shown, NOON + number * DAY))
        assert events == {(ANNA, GRANTED): back, (BEN, GRANTED): other, (BOTH, GRANTED): back}
        (refused,) = state.consent_observations.refused("news")
        assert refused.entity == accepting.pseudonym(BEN)
    shown = [(ANNA, GRANTED, other), (BEN, GRANTED, was), (BOTH, GRANTED)]
    assert times(read(accepting, shown, NOON + 4 * DAY)) == {
        (ANNA, GRANTED): other,
        (BEN, GRANTED): back,
        (BOTH, GRANTED): back,
    }
    (refused,) = state.consent_observations.refused("news")
    assert refused.entity == accepting.pseudonym(ANNA), "what the setting accepted was another date"


def test_a_restored_crm_is_recognized_by_grants_of_unknown_dates_too(state: State) -> None:
    memory = state.consent_memory(accept_undated=True)
    people = [f"contact:{number}" for number in range(24)]
    read(memory, [(key, GRANTED, NOON - 9 * DAY) for key in people[:12]], NOON - DAY)
    read(memory, [(key, WITHDRAWN) for key in people], NOON)
    events = read(memory, [(key, GRANTED, NOON - 9 * DAY) for key in people], NOON + DAY)
    assert {event.occurred_at for event in events} == {NOON - 9 * DAY}
    last = state.consent_observations.last_read("news")
    assert last is not None
    assert (last.refused, last.at_once) == (24, 24)


@pytest.mark.parametrize("accept", [False, True])
def test_a_crm_restored_from_last_week_brings_nothing_back(state: State, accept: bool) -> None:
    memory = state.consent_memory(accept_undated=accept)
    people = [f"contact:{number}" for number in range(60)]
    last_week: Shown = [
        *((key, GRANTED) for key in people[:30]),
        *((key, GRANTED, NOON - 9 * DAY) for key in people[30:]),
    ]
    withdrawn: Shown = [
        *((key, WITHDRAWN) for key in people[:15]),
        *((key, None) for key in people[15:30]),
        *((key, WITHDRAWN, NOON - DAY) for key in people[30:]),
    ]
    read(memory, last_week, NOON - 7 * DAY)
    read(memory, withdrawn, NOON)
    for number in range(1, 5):
        events = times(read(memory, last_week, NOON + number * DAY))
        assert set(events.values()) == {UNDATED_GRANT, NOON - 9 * DAY}
        last = state.consent_observations.last_read("news")
        assert last is not None
        assert (last.refused, last.at_once) == (60, 60)
    assert {known.withdrawn_at for known in state.consent_observations.refused("news")} == {NOON, NOON - DAY}
    read(memory, withdrawn, NOON + 9 * DAY)
    repaired = state.consent_observations.last_read("news")
    assert repaired is not None
    assert (repaired.refused, repaired.at_once) == (0, 0)


def test_a_mass_is_not_accepted_in_parts_and_takes_back_what_was_accepted_on_that_day(state: State) -> None:
    memory = state.consent_memory(accept_undated=True)
    keys = [f"contact:{number}" for number in range(40)]
    read(memory, [(key, WITHDRAWN) for key in keys], NOON)

    def show(granted: int, now: datetime) -> int:
        shown: Shown = [(key, GRANTED if number < granted else WITHDRAWN) for number, key in enumerate(keys)]
        accepted = [event for event in read(memory, shown, now) if event.kind is GRANTED and event.occurred_at]
        return sum(event.occurred_at != UNDATED_GRANT for event in accepted)

    assert show(15, NOON + DAY) == 15
    assert show(15, NOON + DAY + HOUR) == 15
    assert show(30, NOON + DAY + 2 * HOUR) == 0
    assert show(30, NOON + 9 * DAY) == 0, "it isn't accepted when the day is over"


def test_regrants_on_different_days_are_no_mass(state: State) -> None:
    memory = state.consent_memory()
    keys = [f"contact:{number}" for number in range(60)]
    read(memory, [(key, WITHDRAWN) for key in keys], NOON)
    for number in range(6):
        shown: Shown = [(key, GRANTED if place < 10 * (number + 1) else WITHDRAWN) for place, key in enumerate(keys)]
        read(memory, shown, NOON + number * 2 * DAY)
        last = state.consent_observations.last_read("news")
        assert last is not None
        assert (last.refused, last.at_once) == (10 * (number + 1), 0)


def test_a_read_for_a_question_remembers_and_accepts_nothing(state: State, database_url: str) -> None:
    read(state.consent_memory(), [(ANNA, WITHDRAWN)], NOON)
    written = WrittenWithdrawal("e1", Entity(EntityType.LEAD, "B-1"), "News", NOON, "optimizely:x", "row 1")
    state.consent_memory().remember_written([written], [], NOON)

    asking = state.consent_memory(accept_undated=True, read_only=True)
    shown: Shown = [(ANNA, GRANTED), (BEN, GRANTED), (BOTH, WITHDRAWN), (BOTH, GRANTED)]
    for number in (1, 2):
        assert times(read(asking, shown, NOON + number * DAY, 1)) == {
            (ANNA, GRANTED): UNDATED_GRANT,
            (BEN, GRANTED): UNDATED_GRANT,
            (BOTH, WITHDRAWN): NOON + number * DAY,
            (BOTH, GRANTED): UNDATED_GRANT,
        }
    asking.mark_shown(["e1"], [])
    assert asking.unshown_withdrawals() == [written]
    last = state.consent_observations.last_read("news")
    assert last is not None
    assert (last.read_at, last.refused) == (NOON, 0)
    with create_engine(database_url).connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM consent_observation").scalar_one() == 1


def test_only_what_differs_is_written(memory: RememberedConsents, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: Shown = [(f"contact:{number}", GRANTED) for number in range(500)]
    read(memory, shown, NOON, 100)
    saved: list[int] = []
    save = memory.observations.save

    def counted(
        opt_in_id: str, changed: Mapping[str, ObservedConsent], read: ConsentRead | None = None, *, read_at: datetime
    ) -> None:
        saved.append(len(changed))
        save(opt_in_id, changed, read, read_at=read_at)

    monkeypatch.setattr(memory.observations, "save", counted)
    read(memory, [*shown[1:], ("contact:0", WITHDRAWN)], NOON + DAY, 100)
    assert saved == [1]


def test_an_older_read_that_ends_later_hides_no_withdrawal_that_a_newer_one_has_seen(
    memory: RememberedConsents, state: State
) -> None:
    older = memory.events("News", [[ConsentState(ANNA, GRANTED, None), ConsentState(BEN, WITHDRAWN, None)]], NOON)
    next(older)
    read(state.consent_memory(), [(ANNA, WITHDRAWN), (BEN, GRANTED)], NOON + HOUR)
    assert list(older) == [[]]

    known = state.consent_observations.find("news", {memory.pseudonym(ANNA), memory.pseudonym(BEN)})
    assert not any(consent.granted for consent in known.values()), "what was seen as withdrawn by any of them is kept"
    last = state.consent_observations.last_read("News")
    assert last is not None
    assert last.read_at == NOON + HOUR


MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
TIMES = st.none() | MOMENTS
OBSERVED = st.builds(
    ObservedConsent,
    st.booleans(),
    MOMENTS,
    *(TIMES, TIMES, st.none() | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=9)),
    *(TIMES, TIMES, TIMES, TIMES),
)


@given(st.lists(OBSERVED, max_size=9), st.permutations(range(9)))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_remembered_comes_back_as_it_was(state: State, drawn: list[ObservedConsent], order: list[int]) -> None:
    remembered = {f"p_{number:012x}": observed for number, observed in zip(order, drawn, strict=False)}
    state.consent_observations.save("News", remembered)
    found_again = state.consent_observations.find("news", remembered.keys())
    assert found_again == remembered
    moments = [moment for observed in found_again.values() for moment in observed if isinstance(moment, datetime)]
    assert all(moment.tzinfo is UTC for moment in moments)


def test_nothing_personal_is_stored(memory: RememberedConsents, database_url: str) -> None:
    read(memory, [(ANNA, GRANTED), (BOTH, WITHDRAWN)], NOON)
    with create_engine(database_url).connect() as connection:
        stored = str(connection.exec_driver_sql("SELECT * FROM consent_observation").all())
    assert "Neil" not in stored
    assert "example.org" not in stored


def test_the_newest_change_is_not_one_that_we_have_made(memory: RememberedConsents, state: State) -> None:
    def changed_at() -> datetime | None:
        last = state.consent_observations.last_read("news")
        return last.changed_at if last else None

    read(memory, [(ANNA, GRANTED), (BEN, GRANTED)], NOON)
    assert changed_at() == NOON
    written = WrittenWithdrawal("e1", Entity(EntityType.LEAD, "B-1"), "news", NOON, "optimizely:x", "row 1")
    memory.remember_written([written], [], NOON)
    read(memory, [(ANNA, GRANTED), (BEN, WITHDRAWN)], NOON + DAY)
    assert changed_at() == NOON
    read(memory, [(ANNA, WITHDRAWN), (BEN, WITHDRAWN)], NOON + 2 * DAY)
    assert changed_at() == NOON + 2 * DAY
    read(memory, [(ANNA, WITHDRAWN), (BEN, GRANTED, NOON + 2 * DAY)], NOON + 3 * DAY)
    assert changed_at() == NOON + 3 * DAY, "we never grant"
    read(memory, [(ANNA, WITHDRAWN), (BEN, WITHDRAWN)], NOON + 4 * DAY)
    assert changed_at() == NOON + 4 * DAY, "the grant is newer than what we wrote"


@pytest.mark.parametrize("subject", [BEN, BOTH], ids=["record", "address"])
def test_a_withdrawal_of_all_opt_ins_is_ours_also_where_another_was_meant_and_has_been_shown(
    memory: RememberedConsents, state: State, subject: str
) -> None:
    def show(opt_in_id: str, kinds: Mapping[str, ConsentKind], now: datetime) -> datetime | None:
        states = [ConsentState(subject, kind, None) for subject, kind in kinds.items()]
        list(memory.events(opt_in_id, [states], now))
        last = state.consent_observations.last_read(opt_in_id)
        return last.changed_at if last else None

    for opt_in_id in ("news", "offers"):
        show(opt_in_id, {subject: GRANTED}, NOON)
    memory.remember_written([unsubscribed(NOON, memory.pseudonym(BOTH.removeprefix(ADDRESS_PREFIX)))], [], NOON)
    assert show("news", {subject: WITHDRAWN}, NOON + DAY) == NOON
    memory.mark_shown(["e1", "not ours"], [])
    assert show("offers", {subject: WITHDRAWN}, NOON + 2 * DAY) == NOON
    assert show("offers", {subject: WITHDRAWN, ANNA: WITHDRAWN}, NOON + 3 * DAY) == NOON + 3 * DAY


def test_written_feedback_is_kept_until_it_is_shown(memory: RememberedConsents) -> None:
    person = Entity(EntityType.CONTACT, " Ö'1😀")
    written = [
        WrittenWithdrawal(f"e{number}", person, "News", NOON + number * HOUR, "optimizely:x", "row 1")
        for number in range(3)
    ]
    hard = WrittenBounce("p_1", BounceKind.HARD, NOON, "nord", "optimizely:b")
    soft = WrittenBounce("p_1", BounceKind.SOFT, NOON + DAY, "nord", "optimizely:b")
    limit = WrittenBounce("p_1", BounceKind.LIMIT, NOON + HOUR, "nord", "optimizely:b")
    memory.remember_written(written, [hard, soft], NOON)
    memory.remember_written(written[:1], [], NOON)
    assert memory.unshown_withdrawals() == written
    assert memory.unshown_bounces() == [hard]
    memory.remember_written([], [limit], NOON)
    memory.remember_written([], [hard, soft], NOON)
    assert memory.unshown_bounces() == [limit]
    memory.mark_shown(["e0", "e2", "unknown"], [])
    assert memory.unshown_withdrawals() == [written[1]]
    assert memory.shown({"e0", "e1", "e2"}) == {"e0", "e2"}
    memory.mark_shown([], ["p_1"])
    assert memory.unshown_bounces() == []


def unsubscribed(at: datetime, address: str | None = None) -> WrittenWithdrawal:
    return WrittenWithdrawal("e1", Entity(EntityType.LEAD, "B-1"), "NEWS ", at, "optimizely:x", "row 1", address)


@pytest.mark.parametrize("accept", [False, True])
@pytest.mark.parametrize("subject", [BEN, BOTH], ids=["record", "address"])
def test_a_grant_between_two_withdrawals_does_not_end_the_second(state: State, subject: str, accept: bool) -> None:
    memory = state.consent_memory(accept_undated=accept)
    read(memory, [(subject, WITHDRAWN, NOON - 300 * DAY)], NOON)
    address = memory.pseudonym(BOTH.removeprefix(ADDRESS_PREFIX))
    memory.note_withdrawals([unsubscribed(NOON + 2 * DAY, address), unsubscribed(NOON - DAY, address)])
    read(memory, [(subject, GRANTED, NOON + DAY)], NOON + 3 * DAY)
    (refused,) = state.consent_observations.refused("news")
    assert refused.withdrawn_at == NOON + 2 * DAY
    read(memory, [(subject, GRANTED, NOON + 3 * DAY)], NOON + 4 * DAY)
    assert state.consent_observations.refused("news") == []


def test_the_setting_accepts_no_grant_that_may_be_older_than_an_unsubscribe(state: State) -> None:
    memory = state.consent_memory(accept_undated=True)
    read(memory, [(BEN, WITHDRAWN)], NOON)
    memory.note_withdrawals([unsubscribed(NOON + HOUR)])
    for number in (1, 2):
        assert times(read(memory, [(BEN, GRANTED)], NOON + number * DAY)) == {(BEN, GRANTED): UNDATED_GRANT}
    read(memory, [(BEN, WITHDRAWN)], NOON + 3 * DAY)
    assert times(read(memory, [(BEN, GRANTED)], NOON + 4 * DAY)) == {
        (BEN, GRANTED): NOON + 3 * DAY + timedelta(microseconds=1)
    }


def test_a_noted_withdrawal_changes_no_grant_and_nothing_unknown(memory: RememberedConsents, state: State) -> None:
    read(memory, [(BEN, GRANTED, NOON)], NOON)
    known = state.consent_observations.find("news", {memory.pseudonym(BEN)})
    memory.note_withdrawals([unsubscribed(NOON + DAY, memory.pseudonym("unknown@example.org"))])
    assert state.consent_observations.find("news", {memory.pseudonym(BEN)}) == known


@pytest.mark.parametrize("chunk", [1, 9])
def test_a_word_that_is_not_understood_ends_a_grant_until_a_newer_one(
    memory: RememberedConsents, state: State, chunk: int
) -> None:
    unclear = ConsentKind.UNCLEAR
    assert times(read(memory, [(ANNA, unclear)], NOON)) == {(ANNA, unclear): None}
    assert times(read(memory, [(ANNA, GRANTED)], NOON + HOUR)) == {(ANNA, GRANTED): UNDATED_GRANT}
    assert state.consent_observations.refused("news") == [], "nothing was known before"
    assert times(read(memory, [(ANNA, unclear), (ANNA, unclear)], NOON + DAY, chunk)) == {(ANNA, unclear): None}
    read(memory, [(ANNA, unclear), (ANNA, GRANTED)], NOON + 2 * DAY, chunk)
    assert state.consent_observations.refused("news") == [], "of duplicates it outweighs a grant"
    read(memory, [(ANNA, GRANTED)], NOON + 3 * DAY)
    (refused,) = state.consent_observations.refused("news")
    assert refused.withdrawn_at == NOON + DAY
    read(memory, [(ANNA, GRANTED, NOON + 2 * DAY)], NOON + 4 * DAY)
    assert state.consent_observations.refused("news") == []


@pytest.mark.parametrize("subject", [BEN, BOTH], ids=["record", "address"])
def test_a_withdrawal_that_the_crm_never_shows_is_for_a_person_to_decide(state: State, subject: str) -> None:
    memory = state.consent_memory(accept_undated=True)
    written = unsubscribed(NOON, memory.pseudonym(BOTH.removeprefix(ADDRESS_PREFIX)))
    read(memory, [(subject, GRANTED)], NOON)
    memory.remember_written([written], [], NOON)
    read(memory, [(subject, GRANTED)], NOON + 2 * DAY)
    assert memory.unshown_withdrawals() == [written]
    assert state.consent_observations.refused("news") == [], "the CRM may show it later"
    read(state.consent_memory(read_only=True), [(subject, GRANTED)], NOON + 4 * DAY)
    assert memory.unshown_withdrawals() == [written], "a question changes nothing"
    for number in (4, 5):
        assert times(read(memory, [(subject, GRANTED)], NOON + number * DAY)) == {(subject, GRANTED): UNDATED_GRANT}
        (refused,) = state.consent_observations.refused("news")
        assert refused.withdrawn_at == NOON
        assert memory.unshown_withdrawals() == []
        assert memory.shown({"e1"}) == {"e1"}, "it is never written again"
    state.consent_observations.mark_reported("news", {refused.entity}, NOON + 5 * DAY)
    accept(state, NOON + 6 * DAY)
    for number in (6, 7):
        events = times(read(memory, [(subject, GRANTED)], NOON + number * DAY))
        assert events == {(subject, GRANTED): NOON + timedelta(microseconds=1)}


def test_withdrawals_that_the_crm_never_shows_are_no_mass_and_no_newer_grant_is_lost(
    memory: RememberedConsents, state: State
) -> None:
    people = [Entity(EntityType.CONTACT, f"c{number}") for number in range(60)]
    shown: Shown = [(str(person), GRANTED) for person in people]
    read(memory, shown, NOON)
    memory.remember_written([replace(unsubscribed(NOON), event_id=str(who), entity=who) for who in people], [], NOON)
    read(memory, [(str(people[0]), GRANTED, NOON + HOUR), *shown[1:]], NOON + 4 * DAY)
    last = state.consent_observations.last_read("news")
    assert last is not None
    assert (last.refused, last.at_once) == (59, 0)
    assert [withdrawal.entity for withdrawal in memory.unshown_withdrawals()] == people[:1]


def accept(state: State, accepted_at: datetime) -> None:
    acceptance = WithdrawalAcceptance("run", "nord", "fans", "Anna", "reason", accepted_at)
    state.known_withdrawals.forget_accepted(acceptance, "news")


def test_an_acceptance_covers_what_was_reported_before_it_whatever_is_reported_since(
    memory: RememberedConsents, state: State
) -> None:
    observations = state.consent_observations
    read(memory, [(ANNA, WITHDRAWN), (BEN, WITHDRAWN)], NOON)
    read(memory, [(ANNA, GRANTED), (BEN, WITHDRAWN)], NOON + DAY)
    subjects = {memory.pseudonym(ANNA), memory.pseudonym(BEN)}
    observations.mark_reported("news", subjects, NOON + DAY)
    read(memory, [(ANNA, GRANTED), (BEN, GRANTED)], NOON + DAY + HOUR)
    observations.mark_reported("news", subjects, NOON + DAY + 2 * HOUR)
    accept(state, NOON + DAY)
    assert len(observations.refused("news")) == 2, "it must be reported before"
    accept(state, NOON + DAY + HOUR)
    assert [refused.entity for refused in observations.refused("news")] == [memory.pseudonym(BEN)]
    read(memory, [(ANNA, WITHDRAWN), (BEN, GRANTED)], NOON + 2 * DAY)
    read(memory, [(ANNA, GRANTED), (BEN, GRANTED)], NOON + 3 * DAY)
    accept(state, NOON + 4 * DAY)
    assert [refused.entity for refused in observations.refused("news")] == [memory.pseudonym(ANNA)]


def test_a_grant_of_a_fast_clock_does_not_outdate_the_withdrawal_after_it(
    memory: RememberedConsents, state: State
) -> None:
    ahead = NOON + timedelta(minutes=10)
    read(memory, [(ANNA, GRANTED, ahead)], NOON)
    read(memory, [(ANNA, WITHDRAWN)], NOON + timedelta(minutes=5))
    read(memory, [(ANNA, GRANTED, ahead)], NOON + DAY)
    assert len(state.consent_observations.refused("news")) == 1
