"""Selected people and the reasons for rejections."""

from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from campaign_sync.domain.erasure import NO_ERASURES
from campaign_sync.domain.rejection import Reason
from campaign_sync.domain.selection import NORMALIZED_ADDRESS, REJECTION_COLUMNS, split_by_consent
from campaign_sync.domain.suppression import Suppressed, SuppressionKind, among
from campaign_sync_tests.domain.people import PERSON, crm_selection, populations, suppression, suppressions

BOUNCE = {"kind": "bounce", "address": "anna@example.org"}
UNSUBSCRIBE = {"kind": "unsubscribe", "entity_type": "contact", "entity_id": "1", "opt_in_id": "newsletter"}

SHARED = {**UNSUBSCRIBE, "entity_type": "lead", "entity_id": "9", "address": "anna@example.org"}
"""Another person with Anna's address has unsubscribed."""


def reasons(person: dict[str, Any], *entries: dict[str, Any]) -> list[str]:
    """Return why a person isn't selected; empty if they are."""
    split = split_by_consent(crm_selection([person]), Suppressed.of(suppression(entries), "newsletter", NO_ERASURES))
    assert len(split.rows) + len(split.rejections) == 1
    return list(split.rejections["reason"])


@pytest.mark.parametrize("kind", ["granted", "confirmed"])
def test_a_person_with_a_consent_and_an_address_is_selected(kind: str) -> None:
    assert reasons({"consent_kind": kind}) == []


@pytest.mark.parametrize(
    ("person", "entries", "reason"),
    [
        ({"consent_kind": None}, [], Reason.NO_CONSENT),
        ({"consent_kind": "asked"}, [], Reason.NO_CONSENT),
        ({"consent_kind": "withdrawn"}, [], Reason.CONSENT_WITHDRAWN),
        ({"consent_kind": "withdrawn", "consent_source": None}, [], Reason.CONSENT_WITHDRAWN),
        ({"consent_kind": "withdrawn", "consent_source": "optimizely:nord"}, [], Reason.UNSUBSCRIBED),
        ({}, [UNSUBSCRIBE], Reason.UNSUBSCRIBED),
        ({}, [{"kind": "unsubscribe", "address": "anna@example.org"}], Reason.UNSUBSCRIBED),
        ({}, [{**SHARED, "since": PERSON["consent_at"]}], Reason.CONSENT_WITHDRAWN),
        ({"email": " ANNA@example.org"}, [BOUNCE], Reason.BOUNCED),
        ({"email": None}, [], Reason.NO_ADDRESS),
        ({"email": "  "}, [], Reason.NO_ADDRESS),
        ({"email": "\u00a0\t\u200b\ufeff "}, [], Reason.NO_ADDRESS),
        ({"email": "anna"}, [], Reason.INVALID_ADDRESS),
        ({"email": "anna", "consent_kind": None}, [], Reason.NO_CONSENT),
        ({}, [BOUNCE, UNSUBSCRIBE], Reason.UNSUBSCRIBED),
        ({}, [{**UNSUBSCRIBE, "kind": SuppressionKind.REMEMBERED}], Reason.WITHDRAWAL_VANISHED),
        ({}, [{**UNSUBSCRIBE, "kind": SuppressionKind.REMEMBERED}, BOUNCE], Reason.BOUNCED),
    ],
)
def test_a_person_who_must_not_be_mailed_is_rejected_for_the_first_reason(
    person: dict[str, Any], entries: list[dict[str, Any]], reason: Reason
) -> None:
    assert reasons(person, *entries) == [reason.value]


def test_an_unsubscribe_from_another_opt_in_changes_nothing() -> None:
    assert reasons({}, {**UNSUBSCRIBE, "opt_in_id": "events"}) == []


def test_a_consent_given_after_another_person_with_the_address_left_counts() -> None:
    assert reasons({}, {**SHARED, "since": PERSON["consent_at"] - pd.Timedelta("1s")}) == []
    assert reasons({}, {**SHARED, "since": PERSON["consent_at"], "opt_in_id": "events"}) == []


def test_a_consent_given_after_an_unmatched_unsubscribe_of_the_address_counts() -> None:
    stranger = {"kind": "unsubscribe", "address": "anna@example.org"}
    assert reasons({}, {**stranger, "since": PERSON["consent_at"]}) == ["unsubscribed"]
    assert reasons({}, {**stranger, "since": PERSON["consent_at"] - pd.Timedelta("1s")}) == []


def test_an_address_on_the_blocklist_is_rejected_despite_any_consent() -> None:
    assert reasons({}, {"kind": "block", "address": "anna@example.org"}) == ["blocklisted"]


def test_a_bounce_ends_when_the_address_changes() -> None:
    assert reasons({"email": "anna@new.example.org"}, BOUNCE) == []


def test_a_selected_row_has_its_normalized_address_and_keeps_the_crms_columns() -> None:
    rows = split_by_consent(crm_selection([{"email": " Anna@MÜNCHEN.example"}]), Suppressed()).rows
    assert list(rows[NORMALIZED_ADDRESS]) == ["anna@xn--mnchen-3ya.example"]
    assert list(rows["email"]) == [" Anna@MÜNCHEN.example"]


def test_an_empty_selection_stays_empty() -> None:
    split = split_by_consent(crm_selection([]), Suppressed())
    assert split.rows.empty
    assert NORMALIZED_ADDRESS in split.rows
    assert list(split.rejections) == list(REJECTION_COLUMNS)


@given(populations(), suppressions(), st.integers(1, 3))
def test_everybody_is_selected_or_rejected_and_no_suppressed_person_is_selected(
    people: list[dict[str, Any]], entries: list[dict[str, Any]], index_step: int
) -> None:
    frame = crm_selection(people)
    frame.index = frame.index * index_step  # rows that came in chunks have any index
    split = split_by_consent(frame, Suppressed.of(suppression(entries), "newsletter", NO_ERASURES))

    def keys(rows: Any) -> list[tuple[str, str]]:
        return list(zip(rows["entity_type"], rows["entity_id"], strict=True))

    assert sorted(keys(split.rows) + keys(split.rejections)) == sorted(keys(frame))
    assert not split.rejections[["stage", "reason"]].isna().any(axis=None)
    assert set(split.rows["consent_kind"]) <= {"granted", "confirmed"}
    concerning = [entry for entry in entries if entry.get("opt_in_id") in (None, "newsletter")]
    addresses = {entry["address"] for entry in concerning if "address" in entry}
    entities = {(e["entity_type"], e["entity_id"]) for e in concerning if "entity_id" in e}
    assert not addresses & set(split.rows[NORMALIZED_ADDRESS])
    assert not entities & set(keys(split.rows))


@given(populations(), suppressions(), st.integers(1, 5))
@settings(max_examples=20)
def test_a_frame_is_split_in_parts_as_it_is_as_a_whole(
    people: list[dict[str, Any]], entries: list[dict[str, Any]], rows: int
) -> None:
    frame, suppressed = crm_selection(people), Suppressed.of(suppression(entries), "newsletter", NO_ERASURES)
    whole = split_by_consent(frame, Suppressed.of(suppression(entries), "newsletter", NO_ERASURES))
    parts = [split_by_consent(frame[start : start + rows], suppressed) for start in range(0, max(len(frame), 1), rows)]
    pd.testing.assert_frame_equal(pd.concat([part.rows for part in parts], ignore_index=True), whole.rows)
    pd.testing.assert_frame_equal(pd.concat([part.rejections for part in parts], ignore_index=True), whole.rejections)


TEXTS = st.sampled_from(["", "a", "ä", "a\u0308", "A", "a b", "contact:c1", "\x00"])


@given(st.lists(TEXTS | st.none(), max_size=12), st.frozensets(TEXTS), st.integers(0, 12))
def test_known_texts_are_found_in_a_frame_and_in_its_parts_however_many_are_known(
    texts: list[str | None], known: frozenset[str], cut: int
) -> None:
    column = pd.Series(texts, dtype="str")
    expected = [text in known for text in texts]
    parts = (column, column[:cut], column[cut:])
    assert [among(part, known).tolist() for part in parts] == [expected, expected[:cut], expected[cut:]]
    assert among(column, dict.fromkeys(known, 1)).tolist() == expected
