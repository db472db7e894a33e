"""Every check fails for invalid rows, and its outcome has no personal data."""

from dataclasses import replace

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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
from campaign_sync_tests.domain.people import LIST_SCHEMA, NO_SUPPRESSIONS, OPT_IN, PERSON, crm_selection


@pytest.fixture
def frame() -> pd.DataFrame:
    """Three valid rows; tests invalidate the second one."""
    people = [
        {"entity_id": "1", "email": "anna@example.org"},
        {"entity_id": "2", "email": "bo@example.org"},
        {"entity_id": "3", "email": "cleo@example.org", "entity_type": "lead"},
    ]
    return build_snapshot(split_by_consent(crm_selection(people), Suppressed()).rows, LIST_SCHEMA, OPT_IN).rows


def outcomes(frame: pd.DataFrame, check_context: CheckContext = NO_SUPPRESSIONS) -> dict[str, CheckOutcome]:
    return {outcome.name: outcome for outcome in check_snapshot(frame, LIST_SCHEMA, check_context)}


def failed(frame: pd.DataFrame, check_context: CheckContext = NO_SUPPRESSIONS) -> list[CheckOutcome]:
    return [outcome for outcome in outcomes(frame, check_context).values() if not outcome.passed]


def test_valid_rows_pass_every_check_in_the_documented_order(frame: pd.DataFrame) -> None:
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
def test_an_invalid_row_fails_its_check_and_stops_the_list(
    frame: pd.DataFrame, column: str, value: str | None, check: str, code: str
) -> None:
    frame.loc[1, column] = value
    (outcome,) = failed(frame)
    assert outcome.stops
    assert (outcome.name, outcome.failing_rows) == (check, frozenset({1}))
    assert [(failure.code, failure.column) for failure in outcome.failures] == [(code, column)]
    assert outcome.summary == f"{column.removeprefix('list:')}: {code} in 1 row"


@pytest.mark.parametrize("column", ["consent_event_id", "list:opt-in-id", "list:Ort", "address"])
def test_a_missing_column_stops_the_list(frame: pd.DataFrame, column: str) -> None:
    stopping = [outcome for outcome in failed(frame.drop(columns=column)) if outcome.stops]
    assert stopping != []
    assert all(column.removeprefix("list:") in outcome.summary for outcome in stopping)


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), min_size=1, max_size=60), st.integers(0, 100))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
def test_mojibake_stops_a_list_only_above_its_share_of_the_rows_and_leaves_no_row_out(
    frame: pd.DataFrame, damaged: list[tuple[bool, bool, bool]], limit: int
) -> None:
    """By row: whether the name, the city and the city by a forbidden character are damaged."""
    rows = pd.concat([frame.head(1)] * len(damaged), ignore_index=True)
    rows["recipient_id"] = rows["address"] = [f"{row}@example.org" for row in range(len(rows))]
    for position, (name, city, forbidden) in enumerate(damaged):
        if name:
            rows.loc[position, "list:Vorname"] = "MÃ¼ller"
        if city or forbidden:
            rows.loc[position, "list:Ort"] = "KÃ¶ln" * city + "\x00" * forbidden
    schema = replace(LIST_SCHEMA, limits=SizeLimits(max_mojibake=limit / 100))

    outcome = next(outcome for outcome in check_snapshot(rows, schema, NO_SUPPRESSIONS) if outcome.name == "utf8")

    affected = sum(name or city for name, city, _ in damaged)
    illegal = {position for position, (_, _, forbidden) in enumerate(damaged) if forbidden}
    assert outcome.failing_rows == illegal
    assert outcome.stops is (bool(illegal) or 100 * affected > limit * len(rows))
    assert outcome.passed is not (bool(affected) or bool(illegal))
    assert (f"{affected} of {len(rows)} row" in outcome.summary) is bool(affected)
    assert ("more than max_mojibake" in outcome.summary) is (100 * affected > limit * len(rows))


def test_mojibake_is_one_sentence_with_column_share_limit_and_remedy(frame: pd.DataFrame) -> None:
    rows = pd.concat([frame.head(1)] * 400, ignore_index=True)
    rows["recipient_id"] = rows["address"] = [f"{row}@example.org" for row in range(400)]
    rows.loc[:20, "list:Ort"] = "KÃ¶ln"
    rows.loc[0, "list:Vorname"] = "MÃ¼ller"
    (outcome,) = failed(rows)
    assert (outcome.name, outcome.stops) == ("utf8", True)
    assert outcome.summary == (
        "21 of 400 rows (5.25%) have mojibake like “KÃ¶ln” (Ort in 21, Vorname in 1), more than max_mojibake 5%; "
        "correct these texts in the CRM, or crm.format.encoding if it delivers files in another encoding"
    )


@pytest.mark.parametrize(
    ("suppressed", "code"),
    [
        (Suppressed(bounced=frozenset({"bo@example.org"})), "bounced"),
        (Suppressed(unsubscribed_at={"bo@example.org": PERSON["consent_at"]}), "unsubscribed"),
        (Suppressed(withdrawn=frozenset({"contact:2"})), "unsubscribed"),
        (Suppressed(withdrawn_at={"bo@example.org": PERSON["consent_at"]}), "consent_withdrawn"),
    ],
)
def test_a_suppression_after_the_selection_stops_the_list(
    frame: pd.DataFrame, suppressed: Suppressed, code: str
) -> None:
    (outcome,) = failed(frame, replace(NO_SUPPRESSIONS, suppressed=suppressed))
    assert (outcome.name, outcome.stops, outcome.failing_rows) == ("not_suppressed", True, frozenset({1}))
    assert [failure.code for failure in outcome.failures] == [code]


def test_positions_count_rows_regardless_of_the_index(frame: pd.DataFrame) -> None:
    frame.loc[1, "consent_kind"] = "withdrawn"
    frame.index = [7, 7, 9]
    (outcome,) = failed(frame)
    assert outcome.failing_rows == {1}


def test_no_outcome_contains_personal_data(frame: pd.DataFrame) -> None:
    for column in frame.columns.drop("consent_at"):
        frame[column] = "Geheim\x00@Example.ORG"
    check_context = replace(NO_SUPPRESSIONS, suppressed=Suppressed(bounced=frozenset({"Geheim\x00@Example.ORG"})))
    failures = failed(frame, check_context)
    assert len(failures) == 5
    assert "geheim" not in repr(failures).lower()


def test_a_missing_attribute_is_named_with_those_that_the_list_has() -> None:
    outcome = check_list_attributes(LIST_SCHEMA, [name for name in LIST_SCHEMA.list_attributes if name != "Ort"])
    assert outcome.stops
    assert outcome.summary.startswith("the list has no attribute Ort; correct attributes")
    assert "it has Vorname, description" in outcome.summary


@pytest.mark.parametrize("name", ["Erstellt am", "geändert am", "OPT-IN SOURCE"])
def test_the_vendors_own_attributes_are_never_written(name: str) -> None:
    technical = {**LIST_SCHEMA.technical, TechnicalField.DESCRIPTION: name}
    for list_schema in (replace(LIST_SCHEMA, attributes={name: "city"}), replace(LIST_SCHEMA, technical=technical)):
        outcome = check_list_attributes(list_schema, list_schema.list_attributes)
        assert outcome.stops
        assert outcome.summary == f"the vendor writes {name} itself"


def test_an_implausible_size_stops_the_list_and_a_plausible_one_names_its_baseline(frame: pd.DataFrame) -> None:
    before = replace(NO_SUPPRESSIONS, baselines=(SizeBaseline(100, "last replace"),))
    (outcome,) = failed(frame, before)
    assert (outcome.name, outcome.stops) == ("plausible_size", True)
    summary = outcomes(frame)["plausible_size"].summary
    assert summary == "3 rows, measured against an empty list without history"
    assert check_size({"contact": 90}, SizeLimits(), before).summary == "90 rows, measured against 100 (last replace)"


def test_an_accepted_implausible_size_passes_and_names_who_and_why(frame: pd.DataFrame) -> None:
    accepted = replace(
        NO_SUPPRESSIONS, baselines=(SizeBaseline(100, "last replace"),), size_accepted="anna: summer is over"
    )
    assert failed(frame, accepted) == []
    summary = outcomes(frame, accepted)["plausible_size"].summary
    assert summary.startswith("the list shrinks by 97%")
    assert summary.endswith("accepted this once by anna: summer is over")


def test_an_empty_selection_cannot_be_accepted(frame: pd.DataFrame) -> None:
    accepted = replace(NO_SUPPRESSIONS, baselines=(SizeBaseline(3, "last replace"),), size_accepted="anna: because")
    outcome = check_size({}, SizeLimits(), accepted)
    assert outcome.stops
    assert outcome.summary.startswith("no recipient is left to be sent")
    assert check_size({}, SizeLimits(min_rows=0), accepted).passed
