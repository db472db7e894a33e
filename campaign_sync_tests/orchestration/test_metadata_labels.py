"""The keys of metadata in the UI, in the language in which people read it."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaign_sync.cli.run_outcomes import list_outcome
from campaign_sync.domain.entity import EntityType
from campaign_sync.domain.message import LANGUAGES, Language, Message
from campaign_sync.domain.rejection import Reason
from campaign_sync.domain.suppression import SuppressionKind
from campaign_sync.localization.catalogs import translate
from campaign_sync.orchestration.metadata import table
from campaign_sync.orchestration.metadata_labels import LABELS, labelled, unlabelled
from campaign_sync_tests.installation import running_installation

CODES = {*EntityType, *Reason, *SuppressionKind, *LANGUAGES, "newsletter"}
"""Second halves of keys that stay as they are."""

NUMBERS = {"selected": 5, "rejected": 2, "rejected: no_consent": 2, "rows: contact": 5, "dagster/row_count": 5}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_label_leads_back_to_its_key(language: Language) -> None:
    assert list(unlabelled({translate(label, language): 1 for label in LABELS})) == [str(label) for label in LABELS]


@given(st.dictionaries(st.sampled_from(sorted(NUMBERS)), st.integers()), st.sampled_from(LANGUAGES))
def test_numbers_are_read_by_the_same_keys_in_every_language(numbers: dict[str, int], language: Language) -> None:
    assert unlabelled(labelled(numbers, language)) == numbers


def test_keys_messages_and_tables_are_translated_and_everything_else_is_not() -> None:
    reason = Message("the address is on the vendor's blocklist")
    shown = labelled(
        {
            "picked": 5,
            "rejected: blocklisted": 1,
            Message("people in {name}", name="Künstler"): 4,
            "dagster/row_count": 5,
            "verdict": Message("would run"),
            "rejections": table([{"stage": "gate", "meaning": reason, "rows": 1}]),
        },
        "de",
    )
    rejections = shown.pop("Abgelehnte")
    assert shown == {
        "vom CRM genannt": 5,
        "abgelehnt: blocklisted": 1,
        "Menschen in Künstler": 4,
        "dagster/row_count": 5,
        "Urteil": "würde laufen",
    }
    assert [dict(record.data) for record in rejections.records] == [
        {"Stufe": "gate", "Bedeutung": "die Adresse steht auf der Sperrliste", "Zeilen": 1}
    ]


def test_a_german_day_and_plan_show_german_keys_and_are_counted_by_commands(tmp_path: Path) -> None:
    with running_installation(tmp_path, two_lists=False) as installation:
        installation.settings["language"] = "de"
        day = installation.day()
        plan = installation.definitions.resolve_implicit_global_asset_job_def().execute_in_process(
            asset_selection=[dg.AssetKey(["nord", "newsletter_plan"])]
        )
        with installation.state() as state:
            outcome = list_outcome(day, [day.run_id], state.replacements, "nord", "newsletter")

    german = {translate(label, "de") for label in LABELS}
    keys: dict[str, Any] = {}
    for result in (day, plan):
        for event in result.get_asset_materialization_events():
            keys |= event.materialization.metadata
        for check in result.get_asset_check_evaluations():
            keys |= check.metadata
    parts = {part for key in keys if not key.startswith("dagster/") for part in key.split(": ")}
    assert parts - german - CODES == {"path"}, "of the IO manager"
    assert keys["Urteil"].value.startswith("würde laufen")
    columns = {str(column.name): column.description for column in keys["dagster/column_schema"].schema.columns}
    assert columns["since"].startswith("Seit wann")
    assert (outcome.selected, outcome.proven) == (5, True)
