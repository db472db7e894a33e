"""Descriptions on the pages of Dagster's UI."""

from datetime import UTC, datetime

import dagster as dg
import pytest

from campaign_sync.orchestration.code_location import build_definitions
from campaign_sync_tests.orchestration.settings import configuration, mandator_settings

NOW = datetime(2026, 3, 2, tzinfo=UTC)
MANDATOR, LIST = "Süd & Söhne (Zürich)", "Newsletter für Österreich 📬"

WITH_ICONS = {"csv", "file", "pandera", "parquet", "report", "sql", "table", "yaml"}
"""Kinds that Dagster's UI has an icon for."""


@pytest.fixture(scope="module")
def definitions() -> dg.Definitions:
    newsletter = mandator_settings().lists["newsletter"].model_copy(update={"title": LIST})
    every_day = "30 4 * * *"
    return build_definitions(
        configuration(
            title=MANDATOR,
            owners=["team:marketing", "j.gross@example.org"],
            schedule=every_day,
            feedback={"schedule": every_day},
            responses={"schedule": every_day, "readers": {"getOpens": {}, "getClicks": {}}},
            crm_export={"marker": "done"},
            lists={"newsletter": newsletter},
        ),
        NOW,
    )


def assets(definitions: dg.Definitions) -> list[dg.AssetSpec]:
    return list(definitions.resolve_all_asset_specs())


def test_every_page_has_a_description_with_the_display_names(definitions: dg.Definitions) -> None:
    repository = definitions.get_repository_def()
    graph = definitions.resolve_asset_graph()
    pages = {
        **{spec.key.to_user_string(): spec.description for spec in assets(definitions)},
        **{str(key): graph.get_check_spec(key).description for key in graph.asset_check_keys},
        **{job.name: job.description for job in definitions.resolve_all_job_defs() if not job.name.startswith("__")},
        **{schedule.name: schedule.description for schedule in repository.schedule_defs},
        **{sensor.name: sensor.description for sensor in repository.sensor_defs},
    }
    assert len(pages) > 30
    assert {name for name, text in pages.items() if not text or not (MANDATOR in text or LIST in text)} == set()
    assert {name for name, text in pages.items() if "nord" in (text or "").replace("nord_daily_replace", "")} == {
        "nord/newsletter_selection"  # in the name of its opt-in
    }
    of_the_list = [text for name, text in pages.items() if "newsletter" in name and text]
    assert all(LIST in text for text in of_the_list)


def test_assets_and_jobs_describe_what_to_do_if_they_are_red(definitions: dg.Definitions) -> None:
    jobs = [job for job in definitions.resolve_all_job_defs() if not job.name.startswith("__")]
    for text in (*(spec.description for spec in assets(definitions)), *(job.description for job in jobs)):
        assert "**Numbers:**" in (text or "")
        assert "**If it is red:**" in (text or "")


def test_every_asset_has_its_group_its_owners_and_kinds_that_have_an_icon(definitions: dg.Definitions) -> None:
    for spec in assets(definitions):
        assert spec.group_name == "nord"
        assert list(spec.owners) == ["team:marketing", "j.gross@example.org"]
        assert spec.kinds
        assert spec.kinds <= WITH_ICONS
        assert spec.metadata["mandator"] == MANDATOR


def test_the_page_of_a_list_shows_its_settings(definitions: dg.Definitions) -> None:
    (spec,) = [spec for spec in assets(definitions) if spec.key == dg.AssetKey(["nord", "newsletter_recipient_list"])]
    assert {key: value for key, value in spec.metadata.items() if not key.startswith("dagster/")} == {
        "mandator": MANDATOR,
        "list": LIST,
        "recipient list id": "11",
        "opt-in": "newsletter-nord",
        "report": "Everybody",
        "strategy": "clear_refill",
        "daily report": dg.MetadataValue.asset(dg.AssetKey(["nord", "report"])),
    }


def test_automation_that_is_off_does_not_exist() -> None:
    def sensors(**settings: object) -> set[str]:
        built = build_definitions(configuration(**settings), NOW).get_repository_def()  # type: ignore[arg-type]
        return {sensor.name for sensor in built.sensor_defs}

    alarms = {"campaign_sync_alarms", "campaign_sync_retention_watch"}
    always = {"campaign_sync_configuration", "campaign_sync_repair", "campaign_sync_reports"}
    all_sensors = {"campaign_sync_feedback_watch", *alarms, *always}
    assert sensors() == all_sensors
    assert sensors(automation={"repair": False}) == all_sensors, "it completes days"
    assert sensors(automation={"feedback_watch": False}) == all_sensors - {"campaign_sync_feedback_watch"}
    assert sensors(automation={"alarms": False}) == all_sensors - alarms
    off = {"repair": False, "feedback_watch": False, "alarms": False}
    assert sensors(automation=off, crm_export={"table": "nightly"}) == {
        "campaign_sync_crm_export",
        *always,
    }
