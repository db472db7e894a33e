"""Consents that a CRM of states shows as granted again: remembered, reported, accepted or refused in a mass."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from campaign_sync.domain.checks import CheckOutcome
from campaign_sync.domain.consent import ConsentKind
from campaign_sync.domain.consent_state import ADDRESS_PREFIX, ConsentState, StateEvent
from campaign_sync.domain.erasure import NO_ERASURES
from campaign_sync.domain.rejection import Reason
from campaign_sync.domain.selection import split_by_consent
from campaign_sync.domain.suppression import Suppressed
from campaign_sync.domain.suppression_reasons import suppression_reasons
from campaign_sync.domain.vanished_withdrawals import UndatedRegrants, check_withdrawals
from campaign_sync.feedback.withdrawal_history import add_vanished
from campaign_sync.storage.known_withdrawals import WithdrawalAcceptance
from campaign_sync.storage.state import State
from campaign_sync_tests.crm.small_crm import SmallCrm

NOON = datetime(2026, 2, 1, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
GRANTED, WITHDRAWN = ConsentKind.GRANTED, ConsentKind.WITHDRAWN
IN = "in the list"

Shown = Mapping[str, ConsentKind | tuple[ConsentKind, datetime] | None]


class CrmOfStates:
    """A CRM whose consents for `news` are states, and what a run of each day makes of them."""

    def __init__(self, state: State, url: str, *, accept: bool = False) -> None:
        self.state, self.small, self.accept = state, SmallCrm(url), accept
        self.addresses: dict[str, str] = {}

    def person(self, entity_id: str, email: str) -> None:
        self.small.person(entity_id, email)
        self.addresses[f"contact:{entity_id}"] = email.strip().lower()

    def load(self, shown: Shown, now: datetime, *, read_only: bool = False) -> None:
        """Copy the states as a mirror does: those of an address are the consents of everybody who has it."""
        states = [
            ConsentState(subject, *entry) if isinstance(entry, tuple) else ConsentState(subject, entry, None)
            for subject, entry in shown.items()
        ]
        memory = self.state.consent_memory(accept_undated=self.accept, read_only=read_only)
        events = [event for chunk in memory.events("news", [states[:7], states[7:]], now) for event in chunk]
        self.small.execute("DELETE FROM consent_event")
        for event in events:
            for number, entity in enumerate(self._entities(event)):
                self.small.event(
                    f"{event.event_id}-{number}", "contact", entity, "news", event.kind.value, event.occurred_at
                )

    def _entities(self, event: StateEvent) -> list[str]:
        address = event.subject.removeprefix(ADDRESS_PREFIX)
        return [
            key.removeprefix("contact:")
            for key, email in self.addresses.items()
            if email == address or key == event.subject
        ]

    def run(self, shown: Shown, now: datetime) -> dict[str, str]:
        """Return the reason of everybody, or `IN`."""
        self.load(shown, now)
        suppressed = self.suppressed(now)
        split = split_by_consent(self.small.selected(), Suppressed.of(suppressed, "news", NO_ERASURES))
        reasons = dict(zip(split.rejections["entity_id"], split.rejections["reason"], strict=True))
        return {key.removeprefix("contact:"): reasons.get(key.removeprefix("contact:"), IN) for key in self.addresses}

    def suppressed(self, now: datetime, *, remember: bool = True) -> pd.DataFrame:
        with self.small.crm.snapshot() as crm:
            known = crm.suppression("nord")
            return add_vanished(crm, self.state, "nord", {"news"}, known, now, remember=remember)

    def check(self, now: datetime) -> CheckOutcome:
        kinds = self.suppressed(now, remember=False)["kind"]
        read = self.state.consent_observations.last_read("news")
        assert read is not None
        regrants = UndatedRegrants(int((kinds == "regranted").sum()), read.at_once, read.states)
        known = self.state.known_withdrawals.count("nord", "news")
        return check_withdrawals("news", int((kinds == "remembered").sum()), known, "campaign-sync run", regrants)

    def accept_at(self, now: datetime) -> int:
        acceptance = WithdrawalAcceptance("run-1", "nord", "newsletter", "anna@host", "called them", now)
        self.state.known_withdrawals.accept(acceptance)
        return self.state.known_withdrawals.forget_accepted(acceptance, "news")


@pytest.fixture
def state(database_url: str) -> Iterator[State]:
    with State(database_url) as opened:
        yield opened


@pytest.fixture
def crm(state: State, tmp_path: Path) -> CrmOfStates:
    return CrmOfStates(state, f"sqlite:///{tmp_path / 'crm.db'}")


ANNA, BEN = "contact:anna", "contact:ben"


@pytest.fixture
def two(crm: CrmOfStates) -> CrmOfStates:
    crm.person("anna", " Anna@Example.org")
    crm.person("ben", "ben@example.org")
    return crm


def test_an_undated_flip_back_keeps_out_with_a_reason_of_its_own_until_it_is_accepted(two: CrmOfStates) -> None:
    assert two.run({ANNA: GRANTED, BEN: GRANTED}, NOON) == {"anna": IN, "ben": IN}
    assert two.run({ANNA: WITHDRAWN, BEN: GRANTED}, NOON + DAY)["anna"] == Reason.CONSENT_WITHDRAWN
    back: Shown = {ANNA: GRANTED, BEN: GRANTED}
    for number in (2, 3):
        assert two.run(back, NOON + number * DAY) == {"anna": Reason.UNDATED_REGRANT, "ben": IN}
    outcome = two.check(NOON + 3 * DAY)
    assert (outcome.passed, outcome.stops) == (False, False)
    assert "1 person as granted again for news without a newer date" in outcome.summary
    frame = two.suppressed(NOON + 3 * DAY, remember=False)
    (reason,) = suppression_reasons(frame, "news", ANNA, "anna@example.org", None, NO_ERASURES)
    assert (reason.reason, reason.since) == (Reason.UNDATED_REGRANT, NOON + DAY)

    assert two.accept_at(NOON + 3 * DAY + HOUR) == 1
    assert two.run(back, NOON + 4 * DAY) == {"anna": IN, "ben": IN}
    assert two.check(NOON + 4 * DAY).passed
    row = two.small.selected().set_index("entity_id").loc["anna"]
    assert row["consent_at"] == NOON + DAY + timedelta(microseconds=1), "when the withdrawal was seen last"
    assert two.run({ANNA: WITHDRAWN, BEN: GRANTED}, NOON + 5 * DAY)["anna"] == Reason.CONSENT_WITHDRAWN
    assert two.run(back, NOON + 6 * DAY)["anna"] == Reason.UNDATED_REGRANT


def test_what_is_seen_after_the_last_report_is_not_accepted_with_it(two: CrmOfStates) -> None:
    two.run({ANNA: WITHDRAWN, BEN: WITHDRAWN}, NOON)
    two.run({ANNA: GRANTED, BEN: WITHDRAWN}, NOON + DAY)
    two.load({ANNA: GRANTED, BEN: GRANTED}, NOON + DAY + HOUR)
    two.accept_at(NOON + DAY + 2 * HOUR)
    assert two.run({ANNA: GRANTED, BEN: GRANTED}, NOON + 2 * DAY) == {"anna": IN, "ben": Reason.UNDATED_REGRANT}


def test_a_withdrawal_between_two_runs_is_not_lost_even_if_no_run_has_compared_it(two: CrmOfStates) -> None:
    two.run({ANNA: GRANTED, BEN: GRANTED}, NOON)
    two.load({ANNA: WITHDRAWN, BEN: None}, NOON + HOUR)
    assert two.run({ANNA: GRANTED, BEN: GRANTED}, NOON + DAY) == {
        "anna": Reason.UNDATED_REGRANT,
        "ben": Reason.UNDATED_REGRANT,
    }


def test_a_dated_and_newer_grant_brings_a_person_back_and_an_older_one_does_not(two: CrmOfStates) -> None:
    two.run({ANNA: (WITHDRAWN, NOON), BEN: WITHDRAWN}, NOON)
    shown: Shown = {ANNA: (GRANTED, NOON - DAY), BEN: (GRANTED, NOON - DAY)}
    assert set(two.run(shown, NOON + DAY).values()) == {Reason.WITHDRAWAL_VANISHED}
    shown = {ANNA: (GRANTED, NOON + HOUR), BEN: (GRANTED, NOON + HOUR)}
    assert set(two.run(shown, NOON + 2 * DAY).values()) == {IN}
    assert two.state.known_withdrawals.count("nord", "news") == 0


def test_the_consent_of_an_address_is_that_of_everybody_who_has_it(crm: CrmOfStates) -> None:
    for entity_id in ("anna", "twin"):
        crm.person(entity_id, "Both@Example.org")
    crm.person("ben", "ben@example.org")
    both = f"{ADDRESS_PREFIX}both@example.org"
    assert set(crm.run({both: GRANTED, BEN: GRANTED}, NOON).values()) == {IN}
    out = crm.run({both: WITHDRAWN, BEN: GRANTED}, NOON + DAY)
    assert out == {"anna": Reason.CONSENT_WITHDRAWN, "twin": Reason.CONSENT_WITHDRAWN, "ben": IN}
    out = crm.run({both: GRANTED, BEN: GRANTED}, NOON + 2 * DAY)
    assert out == {"anna": Reason.UNDATED_REGRANT, "twin": Reason.UNDATED_REGRANT, "ben": IN}
    crm.accept_at(NOON + 2 * DAY + HOUR)
    assert set(crm.run({both: GRANTED, BEN: GRANTED}, NOON + 3 * DAY).values()) == {IN}


def test_the_withdrawal_of_an_address_that_no_run_has_compared_counts_for_its_people(crm: CrmOfStates) -> None:
    crm.person("anna", "both@example.org")
    both = f"{ADDRESS_PREFIX}both@example.org"
    crm.load({both: WITHDRAWN}, NOON)
    assert crm.run({both: GRANTED}, NOON + DAY) == {"anna": Reason.UNDATED_REGRANT}
    crm.accept_at(NOON + DAY + HOUR)
    assert crm.run({both: GRANTED}, NOON + 2 * DAY) == {"anna": IN}


def test_the_setting_brings_single_people_back_by_itself(two: CrmOfStates) -> None:
    two.accept = True
    two.run({ANNA: WITHDRAWN, BEN: WITHDRAWN}, NOON)
    assert two.run({ANNA: GRANTED, BEN: WITHDRAWN}, NOON + DAY)["anna"] == IN
    assert two.check(NOON + DAY).passed
    assert two.state.known_withdrawals.count("nord", "news") == 1


@pytest.mark.parametrize("accept", [False, True])
def test_a_box_that_is_cleared_again_is_no_newer_grant_though_its_old_date_is_shown(
    two: CrmOfStates, accept: bool
) -> None:
    two.accept = accept
    was, other = (GRANTED, NOON - 90 * DAY), (GRANTED, NOON - 80 * DAY)
    assert two.run({ANNA: was, BEN: was}, NOON) == {"anna": IN, "ben": IN}
    assert set(two.run({ANNA: WITHDRAWN, BEN: WITHDRAWN}, NOON + DAY).values()) == {Reason.CONSENT_WITHDRAWN}
    reason = IN if accept else Reason.UNDATED_REGRANT
    for number in (2, 3):
        outs = two.run({ANNA: was, BEN: other}, NOON + number * DAY)
        assert outs == {"anna": reason, "ben": Reason.WITHDRAWAL_VANISHED}
        assert not two.check(NOON + number * DAY).stops
    two.accept_at(NOON + 3 * DAY + HOUR)
    assert two.run({ANNA: was, BEN: other}, NOON + 4 * DAY) == {"anna": IN, "ben": IN}
    times = two.small.selected().set_index("entity_id")["consent_at"]
    assert times["anna"] == NOON + DAY + timedelta(microseconds=1), "when the withdrawal was seen last"
    assert times["ben"] == NOON - 80 * DAY


@pytest.mark.sample(2)
@pytest.mark.parametrize("accept", [False, True])
def test_a_crm_restored_from_last_week_brings_no_one_back_dated_or_not(crm: CrmOfStates, accept: bool) -> None:
    crm.accept = accept
    people = [f"contact:{number}" for number in range(46)]
    for number in range(46):
        crm.person(str(number), f"p{number}@example.org")
    last_week: Shown = {
        key: GRANTED if number < 23 else (GRANTED, NOON - 90 * DAY) for number, key in enumerate(people)
    }
    today: Shown = {key: WITHDRAWN if number < 23 else (WITHDRAWN, NOON - DAY) for number, key in enumerate(people)}
    assert set(crm.run(last_week, NOON - 7 * DAY).values()) == {IN}
    assert set(crm.run(today, NOON).values()) == {Reason.CONSENT_WITHDRAWN}
    for moment in (NOON + DAY, NOON + DAY + HOUR, NOON + 5 * DAY):
        assert set(crm.run(last_week, moment).values()) == {Reason.UNDATED_REGRANT}
        outcome = crm.check(moment)
        assert outcome.stops
        assert "46 of 46 consents for news were withdrawn" in outcome.summary
    assert set(crm.run(today, NOON + 6 * DAY).values()) == {Reason.CONSENT_WITHDRAWN}
    assert crm.check(NOON + 6 * DAY).passed


def test_a_mass_is_accepted_by_a_person_even_of_records_without_an_address(crm: CrmOfStates) -> None:
    people = [f"contact:{number}" for number in range(30)]
    for number in range(30):
        crm.person(str(number), f"p{number}@example.org")
    withdrawn: Shown = dict.fromkeys([*people, *(f"contact:mute{number}" for number in range(30))], WITHDRAWN)
    granted: Shown = dict.fromkeys(withdrawn, GRANTED)
    crm.run(withdrawn, NOON)
    crm.run(granted, NOON + DAY)
    assert crm.check(NOON + DAY).stops
    crm.accept_at(NOON + DAY + HOUR)
    assert set(crm.run(granted, NOON + 2 * DAY).values()) == {IN}
    assert crm.check(NOON + 2 * DAY).passed


def test_a_question_sees_the_reason_and_remembers_nothing(two: CrmOfStates) -> None:
    two.run({ANNA: WITHDRAWN, BEN: GRANTED}, NOON)
    two.load({ANNA: GRANTED, BEN: GRANTED}, NOON + DAY, read_only=True)
    frame = two.suppressed(NOON + DAY, remember=False)
    assert list(frame["kind"]) == ["regranted"]
    two.load({ANNA: (GRANTED, NOON - DAY), BEN: GRANTED}, NOON + DAY, read_only=True)
    assert list(two.suppressed(NOON + DAY, remember=False)["kind"]) == ["remembered"], "it never had this date"
    known = two.state.known_withdrawals.all("nord", "news")
    assert [withdrawal.missing_since for withdrawal in known.values()] == [None]


def test_the_acceptance_of_another_mandator_or_opt_in_accepts_nothing(two: CrmOfStates) -> None:
    two.run({ANNA: WITHDRAWN, BEN: GRANTED}, NOON)
    two.run({ANNA: GRANTED, BEN: GRANTED}, NOON + DAY)
    acceptance = WithdrawalAcceptance("run-1", "nord", "offers", "anna@host", "called them", NOON + 2 * DAY)
    two.state.known_withdrawals.forget_accepted(acceptance, "offers")
    two.state.known_withdrawals.forget_accepted(replace(acceptance, accepted_at=NOON), "news")
    assert two.run({ANNA: GRANTED, BEN: GRANTED}, NOON + 2 * DAY)["anna"] == Reason.UNDATED_REGRANT
