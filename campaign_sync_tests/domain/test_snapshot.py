"""Snapshots of selections."""

import unicodedata
from dataclasses import replace
from typing import Any

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from campaign_sync.domain.checks import check_snapshot
from campaign_sync.domain.consent import OptIn
from campaign_sync.domain.recipient import RECIPIENT_ID
from campaign_sync.domain.row_digests import frame_digest
from campaign_sync.domain.selection import NORMALIZED_ADDRESS, Split, split_by_consent
from campaign_sync.domain.snapshot import EVIDENCE_COLUMNS, KEY_COLUMNS, build_snapshot
from campaign_sync.domain.suppression import Suppressed
from campaign_sync_tests.domain.people import LIST_SCHEMA, NO_SUPPRESSIONS, OPT_IN, crm_selection, populations


def snapshot(*people: dict[str, Any], opt_in: OptIn = OPT_IN) -> Split:
    return build_snapshot(split_by_consent(crm_selection(people), Suppressed()).rows, LIST_SCHEMA, opt_in)


def test_a_row_has_its_keys_the_technical_fields_and_the_attributes() -> None:
    rows = snapshot({"first_name": " A\u0308nne ", "city": None}).rows
    assert list(rows) == [*KEY_COLUMNS, *LIST_SCHEMA.list_columns]
    assert rows.drop(columns="consent_at").iloc[0].to_dict() == {
        "recipient_id": "anna@example.org",
        "address": "anna@example.org",
        "entity_type": "contact",
        "entity_id": "1",
        "opt_in_id": "newsletter",
        "consent_event_id": "e1",
        "consent_kind": "granted",
        "consent_source": "crm",
        "consent_evidence": "form",
        "consent_text_version": "2026-01",
        "list:opt-in-id": "newsletter",
        "list:description": "Newsletter Nord",
        "list:media-type": "email",
        "list:entity-type": "contact",
        "list:entity-id": "1",
        "list:Vorname": "Änne",
        "list:Ort": "",
    }


def test_a_selection_made_before_text_versions_were_kept_can_still_be_frozen() -> None:
    selection = split_by_consent(crm_selection([{}]), Suppressed()).rows.drop(columns="consent_text_version")
    rows = build_snapshot(selection, LIST_SCHEMA, OPT_IN).rows
    assert rows["consent_source"].tolist() == ["crm"]
    assert rows["consent_text_version"].isna().all()


def test_a_shared_address_goes_to_the_contact_then_the_lead_then_the_account() -> None:
    split = snapshot(
        {"entity_type": "account", "entity_id": "1"},
        {"entity_type": "lead", "entity_id": "2"},
        {"entity_type": "contact", "entity_id": "4"},
        {"entity_type": "contact", "entity_id": "3", "email": "ANNA@example.org"},
    )
    assert list(split.rows["entity_id"]) == ["3"]
    assert list(split.rejections["reason"]) == ["duplicate_address"] * 3


def test_a_character_forbidden_in_xml_rejects_its_row() -> None:
    split = snapshot({"first_name": "b\x00d"}, {"entity_id": "2", "email": "bo@example.com"})
    assert list(split.rows["entity_id"]) == ["2"]
    assert split.rejections[["entity_id", "stage", "reason"]].iloc[0].tolist() == [
        "1",
        "snapshot",
        "forbidden_characters",
    ]


def test_rejections_are_sorted_by_precedence_with_shared_addresses_first() -> None:
    split = snapshot(
        {"entity_type": "lead", "entity_id": "1", "email": "cleo@example.org", "city": "\x00"},
        {"entity_type": "lead", "entity_id": "2"},
        {"entity_type": "contact", "entity_id": "8", "email": "zoe@example.org", "city": "\x00"},
        {"entity_type": "contact", "entity_id": "9"},
        {"entity_type": "contact", "entity_id": "7"},
    )
    assert list(split.rows["entity_id"]) == ["7"]
    assert list(split.rejections["entity_id"]) == ["9", "2", "8", "1"]


def test_an_attribute_may_come_from_a_column_named_like_a_key_of_the_snapshot() -> None:
    contract = replace(LIST_SCHEMA, attributes={"Adresse": "address", "Opt-in": "opt_in_id"})
    selection = split_by_consent(crm_selection([{}]), Suppressed()).rows
    selection = selection.assign(address=" Domkloster 4 ", opt_in_id="theirs")
    rows = build_snapshot(selection, contract, OPT_IN).rows
    assert rows[["list:Adresse", "list:Opt-in"]].iloc[0].tolist() == ["Domkloster 4", "theirs"]
    assert rows[["address", "opt_in_id"]].iloc[0].tolist() == ["anna@example.org", "newsletter"]


def test_constant_texts_are_in_every_row_of_large_snapshots() -> None:
    person = split_by_consent(crm_selection([{}]), Suppressed()).rows
    count = 70_000
    many = person.loc[person.index.repeat(count)].reset_index(drop=True)
    numbered = many.assign(**{NORMALIZED_ADDRESS: [f"n{number}@example.org" for number in range(count)]})
    rows = build_snapshot(numbered, LIST_SCHEMA, OPT_IN).rows
    assert len(rows) == count
    assert rows[LIST_SCHEMA.list_columns].drop_duplicates().shape == (1, len(LIST_SCHEMA.list_columns))
    assert rows["consent_kind"].eq("granted").all()


def test_an_opt_in_without_a_media_type_rejects_all_rows() -> None:
    split = snapshot({}, opt_in=OptIn("newsletter", "nord", "Newsletter Nord", " "))
    assert split.rows.empty
    assert list(split.rejections["reason"]) == ["missing_technical_field"]


@given(populations())
@settings(max_examples=40)
def test_every_selected_row_is_sent_or_rejected_and_sent_rows_pass_every_check(
    people: list[dict[str, Any]],
) -> None:
    selection = split_by_consent(crm_selection(people), Suppressed()).rows
    split = build_snapshot(selection, LIST_SCHEMA, OPT_IN)

    def keys(rows: pd.DataFrame) -> list[tuple[str, str]]:
        return list(zip(rows["entity_type"], rows["entity_id"], strict=True))

    assert sorted(keys(split.rows) + keys(split.rejections)) == sorted(keys(selection))
    assert split.rejections.index.is_unique
    assert split.rows[RECIPIENT_ID].is_unique
    assert split.rows[RECIPIENT_ID].is_monotonic_increasing
    assert not split.rows.drop(columns=list(EVIDENCE_COLUMNS)).isna().any(axis=None)
    assert all(unicodedata.is_normalized("NFC", name) for name in split.rows["list:Vorname"])
    assert [outcome.name for outcome in check_snapshot(split.rows, LIST_SCHEMA, NO_SUPPRESSIONS) if outcome.stops] == []


@given(populations(), st.randoms())
@settings(max_examples=40)
def test_the_order_of_the_crms_rows_makes_no_difference(people: list[dict[str, Any]], random: Any) -> None:
    def digest(crowd: list[dict[str, Any]]) -> str:
        return frame_digest(snapshot(*crowd).rows, LIST_SCHEMA.list_columns)

    assert digest(random.sample(people, len(people))) == digest(people)
