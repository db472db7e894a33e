"""The file of metrics: the current state, whichever process writes it and whenever."""

import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path

import dagster as dg
import pytest
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console

from campaign_sync.cli.check import check_everything
from campaign_sync.orchestration.metrics_sensor import metrics_sensor
from campaign_sync.replacement.list_writer import ListWriter
from campaign_sync.telemetry.metrics import GAUGES, LIST_DRIFTED, LIST_PROVEN, GaugeValue
from campaign_sync.telemetry.textfile import text_format, write_text_file
from campaign_sync_tests.installation import Installation, running_installation

Values = dict[tuple[str, ...], float]


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Installation]:
    with running_installation(tmp_path) as built:
        built.settings["telemetry"] = {"prometheus_file": str(tmp_path / "campaign_sync.prom")}
        yield built


def values(shop: Installation) -> Values:
    """Return all values of nord by their name and labels other than the mandator's."""
    text = (shop.folder / "campaign_sync.prom").read_text("utf-8")
    return {
        (sample.name.removeprefix("campaign_sync_"), *(v for k, v in sample.labels.items() if k != "mandator")): float(
            sample.value
        )
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.labels.get("mandator", "nord") == "nord"
    }


def tick(shop: Installation) -> None:
    sensor = metrics_sensor(shop.configuration)
    assert sensor
    with dg.DagsterInstance.ephemeral() as instance:
        assert isinstance(sensor(dg.build_sensor_context(instance=instance)), dg.SkipReason)


def test_the_file_shows_lists_before_a_day_after_it_and_after_a_fill_that_failed(
    shop: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    tick(shop)
    assert values(shop).keys() == {
        ("metrics_written_timestamp_seconds",),
        ("feedback_unmatched",),
        ("list_incomplete", "newsletter"),
        ("list_incomplete", "products"),
        ("list_failed_replaces", "newsletter"),
        ("list_failed_replaces", "products"),
    }

    shop.vendor.refuse(8100, "person3@example.org", 6)
    shop.leave("stranger@example.org")
    shop.day("nord")  # its end writes the file
    file = shop.folder / "campaign_sync.prom"
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert list(shop.folder.glob(".campaign_sync.prom*")) == []
    assert "@" not in file.read_text("utf-8")
    after = values(shop)
    now = datetime.now(UTC).timestamp()
    assert now - 60 < after["list_proven_timestamp_seconds", "newsletter"] < now
    assert after["list_rows", "newsletter"] == 4
    assert after["list_incomplete", "newsletter"] == 0
    assert after["list_rejected_rows", "newsletter", "filtered", "vendor"] == 1
    assert after["feedback_unmatched",] == 1
    assert 0 <= after["feedback_age_seconds", "getUnsubscribes"] < 60
    replaced = after["list_replace_duration_seconds", "newsletter"]
    assert 0 < after["list_incomplete_duration_seconds", "newsletter"] <= replaced < after["run_duration_seconds",] < 60

    monkeypatch.setattr(ListWriter, "sweep", _broken)
    shop.run("nord", assets=[("nord", "newsletter_recipient_list")])
    broken = values(shop)
    assert broken["list_incomplete", "newsletter"] == 1
    assert now < broken["list_incomplete_since_timestamp_seconds", "newsletter"] < datetime.now(UTC).timestamp()
    assert broken["list_failed_replaces", "newsletter"] == 1
    assert broken["list_proven_timestamp_seconds", "newsletter"] == after["list_proven_timestamp_seconds", "newsletter"]
    assert broken["list_incomplete", "products"] == 0
    not_checked = {LIST_DRIFTED.prometheus}  # no list was checked since its proof
    assert {f"campaign_sync_{key[0]}" for key in broken} == {metric.prometheus for metric in GAUGES} - not_checked

    tick(shop)  # another process, which knows nothing but the state database
    again = values(shop)
    for momentary in (("metrics_written_timestamp_seconds",), ("feedback_age_seconds", "getUnsubscribes")):
        assert again[momentary] > broken[momentary]
    changing = {key for key in again if again[key] != broken[key]}
    assert {key[0] for key in changing} == {"metrics_written_timestamp_seconds", "feedback_age_seconds"}


def test_a_file_that_cannot_be_written_fails_no_run_but_every_tick(
    shop: Installation, caplog: pytest.LogCaptureFixture
) -> None:
    shop.settings["telemetry"] = {"prometheus_file": str(shop.folder / "nowhere" / "campaign_sync.prom")}

    assert shop.run("nord", assets=[("nord", "bounces")]).success
    assert "telemetry.prometheus_file" in caplog.text
    with pytest.raises(FileNotFoundError):
        tick(shop)
    printed = StringIO()
    assert not check_everything(shop.configuration, Console(file=printed, width=200))
    assert "its folder is missing" in printed.getvalue()


def test_without_a_file_no_sensor_writes_one(shop: Installation) -> None:
    del shop.settings["telemetry"]
    assert metrics_sensor(shop.configuration) is None


def test_a_level_without_values_is_left_out_and_labels_are_escaped(tmp_path: Path) -> None:
    samples = [GaugeValue(LIST_PROVEN, 1764000000.25, {"mandator": "nord", "list": 'a"b\\c'})]
    (family,) = text_string_to_metric_families(text_format(samples).decode())
    assert family.name == "campaign_sync_list_proven_timestamp_seconds"
    assert family.documentation == LIST_PROVEN.meaning
    assert (family.samples[0].labels["list"], family.samples[0].value) == ('a"b\\c', 1764000000.25)
    assert all(metric.kind == "gauge" for metric in GAUGES)
    write_text_file(tmp_path / "x.prom", samples)
    assert (tmp_path / "x.prom").read_bytes() == text_format(samples)


def _broken(_: ListWriter) -> dict[str, int]:
    raise ValueError("person1@example.org broke it")
