"""Reports are published by their job, by the sensor after a daily run, and by the command."""

import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from rich.console import Console

from campaign_sync.cli.report import report_after_run, write_report
from campaign_sync.config import ReportSettings
from campaign_sync.orchestration.asset_builder import AssetBuilder
from campaign_sync.orchestration.assets.report import OF_RUN_TAG, REPORT_TAG, report_asset
from campaign_sync.orchestration.daily_replacement import MANDATOR_TAG, PLANNED_FOR, daily_job_name
from campaign_sync.orchestration.report_sensor import report_job
from campaign_sync.reports.publication import publish, remove_pages_before
from campaign_sync.storage.files import FileStorage
from campaign_sync_tests.installation import Installation
from campaign_sync_tests.reports.pages import parse_page, report_of, text_of

pytestmark = pytest.mark.xdist_group("report")


def test_pages_are_written_by_day_and_language_and_removed_when_they_are_old(installation: Installation) -> None:
    frames = FileStorage(installation.settings["storage"]["frames"])
    report = report_of(installation)
    settings = ReportSettings(languages=("de", "en"))
    for ago in (40, 30):
        publish(replace(report, day=report.day - timedelta(days=ago)), "nord", settings, frames)
    addresses = publish(report, "nord", settings, frames)
    assert remove_pages_before(frames, "nord", report.day - timedelta(days=30)) == 2

    days = [report.day - timedelta(days=30), report.day]
    pages = [f"{day}.{language}.html" for day in days for language in ("de", "en")]
    assert frames.pages("reports/nord") == [*pages, "latest.de.html", "latest.en.html"]
    assert Path(addresses["en"]).read_text() == Path(addresses["en"]).with_name("latest.en.html").read_text()


def test_a_daily_run_that_has_ended_gets_a_report_and_a_tag_with_its_address(installation: Installation) -> None:
    sensor = installation.sensor("reports")
    with dg.instance_for_test() as instance:

        def evaluate() -> list[dg.RunRequest]:
            result = sensor(dg.build_sensor_context(instance=instance))
            assert isinstance(result, dg.SensorResult)
            return [request for request in result.run_requests or [] if request.job_name == "nord_report"]

        def create(job: str, status: dg.DagsterRunStatus) -> dg.DagsterRun:
            return instance.create_run_for_job(installation.definitions.resolve_job_def(job), status=status)

        create("nord_daily_replace", dg.DagsterRunStatus.STARTED)
        create("sued_daily_replace", dg.DagsterRunStatus.SUCCESS)
        create("nord_feedback", dg.DagsterRunStatus.SUCCESS)
        assert evaluate() == []
        daily = create("nord_daily_replace", dg.DagsterRunStatus.FAILURE)
        (request,) = evaluate()
        assert request.tags == {OF_RUN_TAG: daily.run_id}

        run_result = installation.definitions.resolve_job_def("nord_report").execute_in_process(
            instance=instance, tags=request.tags
        )
        (event,) = run_result.get_asset_materialization_events()
        metadata = event.materialization.metadata
        assert (metadata["lists"].value, metadata["lists ready"].value) == (2, 0)
        page = str(metadata["page: de"].value)
        assert "noch nie vollständig gefüllt" in Path(page).read_text()
        run = instance.get_run_by_id(daily.run_id)
        assert run is not None
        assert run.tags[REPORT_TAG] == page
        assert evaluate() == []


def test_a_run_of_a_single_list_starts_a_new_report(installation: Installation) -> None:
    sensor = installation.sensor("reports")
    with dg.instance_for_test() as instance:
        run = installation.definitions.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=instance,
            asset_selection=[dg.AssetKey(["nord", "newsletter_recipient_list"])],
            raise_on_error=False,
        )
        assert not run.success, "it has no snapshot yet"
        result = sensor(dg.build_sensor_context(instance=instance))
        assert isinstance(result, dg.SensorResult)
        assert [request.tags for request in result.run_requests or []] == [{OF_RUN_TAG: run.run_id}]
        again = sensor(dg.build_sensor_context(instance=instance, cursor=result.cursor))
        assert isinstance(again, dg.SensorResult)
        assert not again.run_requests


def test_a_mandator_gets_one_report_once_it_is_quiet(installation: Installation) -> None:
    """Several runs around an outage make one report, which doesn't compete with them."""
    job = installation.definitions.resolve_job_def(daily_job_name("nord"))
    with dg.instance_for_test() as instance:

        def run(status: dg.DagsterRunStatus, **tags: str) -> dg.DagsterRun:
            return instance.create_run_for_job(job, status=status, tags={MANDATOR_TAG: "nord"} | tags)

        def reports() -> int:
            result = installation.sensor("reports")(dg.build_sensor_context(instance=instance))
            assert isinstance(result, dg.SensorResult)
            return len(result.run_requests or [])

        planned = run(dg.DagsterRunStatus.STARTED, **{PLANNED_FOR: datetime.now(UTC).isoformat()})
        instance.report_run_failed(planned, "its process died")
        assert reports() == 0, "a further run is to complete the day"
        further = run(dg.DagsterRunStatus.NOT_STARTED)
        assert reports() == 0, "it is queued"
        instance.report_run_canceled(further)
        run(dg.DagsterRunStatus.CANCELED, **{PLANNED_FOR: planned.tags[PLANNED_FOR]})
        assert reports() == 1, "a person has cancelled the day"


def test_a_mandator_that_is_never_quiet_gets_a_report_when_its_day_cant_be_completed_any_more(
    installation: Installation,
) -> None:
    job = installation.definitions.resolve_job_def(daily_job_name("nord"))
    feedback = installation.definitions.resolve_job_def("nord_feedback")
    with dg.instance_for_test() as instance:

        def requested() -> list[str | None]:
            result = installation.sensor("reports")(dg.build_sensor_context(instance=instance))
            assert isinstance(result, dg.SensorResult)
            return [request.run_key for request in result.run_requests or []]

        def of_day(planned: datetime) -> tuple[str, str]:
            tags = {MANDATOR_TAG: "nord", PLANNED_FOR: planned.isoformat(timespec="minutes")}
            run = instance.create_run_for_job(job, status=dg.DagsterRunStatus.SUCCESS, tags=tags)
            return tags[PLANNED_FOR], run.run_id

        day, _ = of_day(datetime.now(UTC) - timedelta(hours=3))
        importing = instance.create_run_for_job(
            feedback, status=dg.DagsterRunStatus.STARTED, tags={MANDATOR_TAG: "nord"}
        )
        assert requested() == [f"nord:{day}:late"] == requested(), "Dagster starts one run for a key"
        _, newest = of_day(datetime.now(UTC) - timedelta(minutes=5))
        assert requested() == [], "this day can still be completed"
        instance.report_run_canceled(importing)
        assert requested() == [newest]


def test_the_command_names_lists_of_the_day_that_are_not_there(installation: Installation) -> None:
    job = installation.definitions.resolve_job_def(daily_job_name("nord"))
    tags = {MANDATOR_TAG: "nord", PLANNED_FOR: datetime.now(UTC).isoformat()}
    with dg.instance_for_test() as instance:
        run = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED, tags=tags)
        instance.report_run_failed(run, "its process died")
        file = installation.folder / "today.html"
        write_report(installation.configuration, "nord", "en", file, Console(file=io.StringIO()))
    assert "aren’t renewed yet and follow automatically." in text_of(parse_page(file.read_text()))


def test_without_languages_there_are_no_reports(installation: Installation) -> None:
    installation.settings["reports"] = {"languages": []}
    configuration = installation.configuration
    builder = AssetBuilder("nord", configuration.mandators["nord"], datetime.now(UTC))
    assert report_asset(builder, configuration, "nord") is None
    assert report_job(configuration, "nord") is None
    assert "campaign_sync_reports" not in {sensor.name for sensor in installation.definitions.sensors or []}
    daily = installation.definitions.resolve_job_def(daily_job_name("nord"))
    assert dg.AssetKey(["nord", "report"]) not in daily.asset_layer.selected_asset_keys
    out = io.StringIO()
    with dg.DagsterInstance.ephemeral() as instance:
        report_after_run(configuration, "nord", "run", Console(file=out), instance)
    assert not out.getvalue()


def test_the_report_after_a_run_is_made_and_tagged_with_the_instance_of_the_run(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = installation.definitions.resolve_job_def(daily_job_name("nord"))
    with dg.DagsterInstance.ephemeral() as instance:
        run = instance.create_run_for_job(job, tags={MANDATOR_TAG: "nord", PLANNED_FOR: datetime.now(UTC).isoformat()})
        monkeypatch.delattr(dg.DagsterInstance, "get")  # opening it again takes as long as twenty events
        out = io.StringIO()
        address = report_after_run(installation.configuration, "nord", run.run_id, Console(file=out), instance)

        assert address is not None
        assert "".join(out.getvalue().split()) == f"report:{address}"
        tagged = instance.get_run_by_id(run.run_id)
        assert tagged is not None
        assert tagged.tags[REPORT_TAG] == address
        assert Path(address).exists()


def test_a_report_that_cannot_be_written_is_only_mentioned(installation: Installation) -> None:
    out = io.StringIO()
    Path(installation.settings["storage"]["frames"]).write_text("a file where the folder should be")
    with dg.DagsterInstance.ephemeral() as instance:
        report_after_run(installation.configuration, "nord", "run", Console(file=out), instance)
    assert out.getvalue().startswith("report: not written, ")


def test_the_command_writes_all_languages_or_one_as_a_file(installation: Installation) -> None:
    out, file = io.StringIO(), installation.folder / "today.html"
    write_report(installation.configuration, "nord", "en", file, Console(file=out))
    assert out.getvalue().strip() == str(file)
    assert parse_page(file.read_text()).get("lang") == "en"

    out = io.StringIO()
    write_report(installation.configuration, "nord", None, None, Console(file=out, width=500))
    assert [Path(line).name.split(".")[1] for line in out.getvalue().split()] == ["de", "en"]
