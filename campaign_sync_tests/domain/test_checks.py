"""Every check finds what it is there for, and tells it without telling people's data."""

from dataclasses import replace

import pandas as pd
import pytest

from campaign_sync.domain.checks import (
    CHECK_NAMES,
    CheckContext,
    CheckOutcome,
    check_list_attributes,
    check_size,
    check_snapshot,
)
from campaign_sync.domain.recipient import TechnicalField
from campaign_sync.domain.selection import split_by_consent
from campaign_sync.domain.size_limits import SizeBaseline, SizeLimits
from campaign_sync.domain.snapshot import build_snapshot
from campaign_sync.domain.suppression import Suppressed
from campaign_sync_tests.domain.people import CONTRACT, NOBODY_SUPPRESSED, OPT_IN, PERSON, picked


@pytest.fixture
def frame() -> pd.DataFrame:
    """Three rows with nothing wrong; the one in the middle is going to be spoiled."""
    people = [
        {"entity_id": "1", "email": "anna@example.org"},
        {"entity_id": "2", "email": "bo@example.org"},
        {"entity_id": "3", "email": "cleo@example.org", "entity_type": "lead"},
    ]
    return build_snapshot(split_by_consent(picked(people), Suppressed()).rows, CONTRACT, OPT_IN).rows


def outcomes(frame: pd.DataFrame, check_context: CheckContext = NOBODY_SUPPRESSED) -> dict[str, CheckOutcome]:
    return {outcome.name: outcome for outcome in check_snapshot(frame, CONTRACT, check_context)}


def failed(frame: pd.DataFrame, check_context: CheckContext = NOBODY_SUPPRESSED) -> list[CheckOutcome]:
    return [outcome for outcome in outcomes(frame, check_context).values() if not outcome.passed]


def test_rows_with_nothing_wrong_pass_every_check_in_the_documented_order(frame: pd.DataFrame) -> None:
    assert list(outcomes(frame)) == list(CHECK_NAMES)
    assert failed(frame) == []
    assert failed(frame.head(0)) == []


@pytest.mark.parametrize(
    ("column", "value", "check", "code"),
    [
        ("list:Vorname", "b\x00d", "utf8", "forbidden_characters"),
        ("list:Ort", "\ufffe", "utf8", "forbidden_characters"),
        ("recipient_id", "bo\x1b@example.org", "utf8", "forbidden_characters"),
        ("list:description", "", "technical_fields", "missing"),
        ("list:media-type", None, "technical_fields", "missing"),
        ("list:media-type", "SMS", "technical_fields", "not_email"),
        ("list:media-type", " ", "technical_fields", "missing"),
        ("list:entity-id", " ", "technical_fields", "missing"),
        ("list:entity-type", "person", "technical_fields", "known_entity_type"),
        ("list:opt-in-id", "events", "single_consent", "the_lists_own_opt_in"),
        ("opt_in_id", "events", "single_consent", "the_lists_own_opt_in"),
        ("opt_in_id", None, "single_consent", "the_lists_own_opt_in"),
        ("consent_kind", "withdrawn", "single_consent", "consent_granted"),
        ("consent_kind", None, "single_consent", "consent_granted"),
        ("consent_event_id", None, "single_consent", "consent_evidence"),
        ("address", "anna@example.org", "unique_recipients", "repeated"),
        ("recipient_id", "anna@example.org", "unique_recipients", "repeated"),
    ],
)
def test_a_spoiled_row_is_found_by_its_check_and_stops_the_list(
    frame: pd.DataFrame, column: str, value: str | None, check: str, code: str
) -> None:
    frame.loc[1, column] = value
    (outcome,) = failed(frame)
    assert outcome.stops
    assert (outcome.name, outcome.failing_rows) == (check, frozenset({1}))
    assert [(failure.code, failure.column) for failure in outcome.failures] == [(code, column)]
    assert outcome.summary == f"{column.removeprefix('list:')}: {code} in 1 rows"


@pytest.mark.parametrize("column", ["consent_event_id", "list:opt-in-id", "list:Ort", "address"])
def test_a_missing_column_stops_the_list(frame: pd.DataFrame, column: str) -> None:
    stopping = [outcome for outcome in failed(frame.drop(columns=column)) if outcome.stops]
    assert stopping != []
    assert all(column.removeprefix("list:") in outcome.summary for outcome in stopping)


def test_text_that_was_read_in_the_wrong_encoding_warns_and_stops_nothing(frame: pd.DataFrame) -> None:
    frame.loc[1, "list:Ort"] = "KÃ¶ln"
    (outcome,) = failed(frame)
    assert (outcome.name, outcome.warning, outcome.stops) == ("utf8", True, False)
    assert outcome.failing_rows == frozenset()
    frame.loc[2, "list:Ort"] = "\x00"
    (outcome,) = failed(frame)
    assert outcome.stops
    assert outcome.failing_rows == {2}


@pytest.mark.parametrize(
    ("suppressed", "code"),
    [
        (Suppressed(bounced=frozenset({"bo@example.org"})), "bounced"),
        (Suppressed(unsubscribed_at={"bo@example.org": PERSON["consent_at"]}), "unsubscribed"),
        (Suppressed(withdrawn=frozenset({"contact:2"})), "unsubscribed"),
        (Suppressed(withdrawn_at={"bo@example.org": PERSON["consent_at"]}), "consent_withdrawn"),
    ],
)
def test_somebody_suppressed_since_the_selection_is_found(
    frame: pd.DataFrame, suppressed: Suppressed, code: str
) -> None:
    (outcome,) = failed(frame, replace(NOBODY_SUPPRESSED, suppressed=suppressed))
    assert (outcome.name, outcome.stops, outcome.failing_rows) == ("not_suppressed", True, frozenset({1}))
    assert [failure.code for failure in outcome.failures] == [code]


def test_positions_count_rows_whatever_the_frames_index(frame: pd.DataFrame) -> None:
    frame.loc[1, "consent_kind"] = "withdrawn"
    frame.index = [7, 7, 9]
    (outcome,) = failed(frame)
    assert outcome.failing_rows == {1}


def test_no_outcome_repeats_peoples_data(frame: pd.DataFrame) -> None:
    for column in frame.columns.drop("consent_at"):
        frame[column] = "Geheim\x00@Example.ORG"
    check_context = replace(NOBODY_SUPPRESSED, suppressed=Suppressed(bounced=frozenset({"Geheim\x00@Example.ORG"})))
    told = failed(frame, check_context)
    assert len(told) == 5
    assert "geheim" not in repr(told).lower()


def test_an_attribute_that_the_list_lacks_is_named_together_with_those_it_has() -> None:
    outcome = check_list_attributes(CONTRACT, [name for name in CONTRACT.list_attributes if name != "Ort"])
    assert outcome.stops
    assert outcome.summary.startswith("the list has no attribute Ort; correct attributes")
    assert "it has Vorname, description" in outcome.summary


@pytest.mark.parametrize("name", ["Erstellt am", "geändert am", "OPT-IN SOURCE"])
def test_the_vendors_own_attributes_are_never_written(name: str) -> None:
    technical = {**CONTRACT.technical, TechnicalField.DESCRIPTION: name}
    for contract in (replace(CONTRACT, attributes={name: "city"}), replace(CONTRACT, technical=technical)):
        outcome = check_list_attributes(contract, contract.list_attributes)
        assert outcome.stops
        assert outcome.summary == f"the vendor writes {name} itself"


def test_an_implausible_size_stops_the_list_and_a_plausible_one_says_against_what(frame: pd.DataFrame) -> None:
    before = replace(NOBODY_SUPPRESSED, baselines=(SizeBaseline(100, "last replace"),))
    (outcome,) = failed(frame, before)
    assert (outcome.name, outcome.stops) == ("plausible_size", True)
    summary = outcomes(frame)["plausible_size"].summary
    assert summary == "3 rows, measured against an empty list without history"
    assert check_size({"contact": 90}, SizeLimits(), before).summary == "90 rows, measured against 100 (last replace)"


def test_an_implausible_size_that_somebody_accepts_passes_and_says_who_and_why(frame: pd.DataFrame) -> None:
    accepted = replace(
        NOBODY_SUPPRESSED, baselines=(SizeBaseline(100, "last replace"),), size_accepted="anna: summer is over"
    )
    assert failed(frame, accepted) == []
    summary = outcomes(frame, accepted)["plausible_size"].summary
    assert summary.startswith("the list shrinks by 97%")
    assert summary.endswith("accepted this once by anna: summer is over")


def test_nobody_can_accept_that_nobody_is_left(frame: pd.DataFrame) -> None:
    accepted = replace(NOBODY_SUPPRESSED, baselines=(SizeBaseline(3, "last replace"),), size_accepted="anna: because")
    outcome = check_size({}, SizeLimits(), accepted)
    assert outcome.stops
    assert outcome.summary.startswith("no recipient is left to be sent")
    assert check_size({}, SizeLimits(min_rows=0), accepted).passed
