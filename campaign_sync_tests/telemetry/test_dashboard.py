"""The dashboard and the alerts ask for metrics that there are, in expressions that Prometheus understands."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from campaign_sync.telemetry.metrics import COUNTERS, GAUGES, HISTOGRAMS

ROOT = Path(__file__).parents[2]
GRAFANA = ROOT / "deploy" / "grafana"
ALERTS: list[dict[str, Any]] = yaml.safe_load((GRAFANA / "alerts.yaml").read_text("utf-8"))["groups"][0]["rules"]
DASHBOARD: dict[str, Any] = json.loads((GRAFANA / "campaign_sync.json").read_text("utf-8"))

EXPORTED = {metric.prometheus for metric in (*COUNTERS, *GAUGES)} | {
    f"{metric.prometheus}_{part}" for metric in HISTOGRAMS for part in ("bucket", "count", "sum")
}
"""Of the levels, `test_metrics_file` reads these very names out of a file; of the others, `test_spans` out of OTLP."""


def expressions() -> Iterator[tuple[str, str]]:
    yield from ((rule["alert"], rule["expr"]) for rule in ALERTS)
    for panel in DASHBOARD["panels"]:
        yield from ((f"{panel['title']} {target['refId']}", target["expr"]) for target in panel["targets"])


@pytest.mark.parametrize("expression", [pytest.param(text, id=name) for name, text in expressions()])
def test_every_expression_is_promql_and_names_only_metrics_that_there_are(expression: str) -> None:
    promql_parser.parse(expression)
    named = set(re.findall(r"campaign_sync_\w+", expression))
    assert named
    assert named <= EXPORTED


def test_every_level_of_a_list_is_on_the_dashboard_and_every_panel_has_its_source_and_its_place() -> None:
    shown = " ".join(text for _, text in expressions())
    assert [metric.prometheus for metric in GAUGES if metric.prometheus not in shown] == []
    assert {panel["datasource"]["uid"] for panel in DASHBOARD["panels"]} == {"${datasource}"}
    taken = [
        (x, y)
        for place in (panel["gridPos"] for panel in DASHBOARD["panels"])
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(taken)) == len(taken)
    assert max(x for x, _ in taken) < 24
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_every_alert_says_what_is_wrong_and_what_to_do() -> None:
    for rule in ALERTS:
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"].keys() == {"summary", "description"}


def test_the_documentation_has_every_metric() -> None:
    documented = (ROOT / "docs" / "monitoring.md").read_text("utf-8")
    for metric in (*COUNTERS, *HISTOGRAMS, *GAUGES):
        assert f"`{metric.prometheus}`" in documented, metric.prometheus
