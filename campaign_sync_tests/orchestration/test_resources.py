"""Each asset gets the resources that it declares, opened once for a run, and nothing of them can be changed or seen."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.remote_representation.external_data import RepositorySnap

from campaign_sync.cli.run import problems
from campaign_sync.crm.port import CrmSnapshot
from campaign_sync.crm.sql.adapter import SqlCrm
from campaign_sync.optimizely.session import Session
from campaign_sync.orchestration.retry_policy import NO_RETRIES
from campaign_sync.storage.files import FileStorageError
from campaign_sync.storage.state import State
from campaign_sync.telemetry.spans import RunSpan
from campaign_sync_tests.installation import Installation, running_installation
from campaign_sync_tests.scenarios.daily_run import FEEDBACK

FEW, ALL = {"run", "state", "files"}, {"run", "state", "files", "vendor", "crm"}
USED = {
    "bounces": FEW | {"vendor"},
    "unsubscribes": FEW | {"vendor"},
    "suppression_state": ALL,
    "newsletter_selection": {"run", "state", "crm"},
    "newsletter_snapshot": ALL,
    "newsletter_recipient_list": ALL,
    "list_drift": ALL,
    "audit": ALL,
    "report": FEW | {"vendor"},
}
"""The resources that assets use."""


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    with running_installation(tmp_path) as built:
        built.retry_policy = NO_RETRIES
        yield built


def resources_snapshot(installation: Installation) -> RepositorySnap:
    """Return what the webserver receives."""
    return RepositorySnap.from_def(installation.definitions.get_repository_def())


def test_the_ui_shows_what_each_asset_uses_and_nothing_that_can_be_changed(installation: Installation) -> None:
    installation.settings["dagster"] = {"prefix": "marketing"}
    used = defaultdict(set)
    for resource in resources_snapshot(installation).resources or []:
        assert resource.name.startswith("marketing_campaign_sync_")
        assert (resource.configured_values, resource.config_field_snaps) == ({}, [])
        assert resource.resource_snapshot.description
        for key in resource.asset_keys_using:
            used[key.path[-1]].add(resource.name.removeprefix("marketing_campaign_sync_"))

    assert {name: used[name] for name in USED} == USED
    with pytest.raises(dg.DagsterInvalidConfigError):
        installation.definitions.resolve_job_def("marketing_nord_daily_replace").execute_in_process(
            run_config={"resources": {"marketing_campaign_sync_crm": {"config": {"url": "sqlite:///other.db"}}}}
        )


def test_everything_is_opened_once_and_closed_in_order_also_after_a_failure(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened: list[str] = []

    def record(owner: Any, name: str, event: str) -> None:
        original = getattr(owner, name)

        def call(*arguments: Any, **more: Any) -> Any:
            happened.append(event)
            return original(*arguments, **more)

        monkeypatch.setattr(owner, name, call)

    @contextmanager
    def recorded_view(crm: SqlCrm, opt_in_ids: Sequence[str] | None = None) -> Iterator[CrmSnapshot]:
        with view(crm, opt_in_ids) as snapshot:
            yield snapshot
        happened.append("view closed")

    view = SqlCrm.snapshot
    monkeypatch.setattr(SqlCrm, "snapshot", recorded_view)
    record(RunSpan, "__init__", "run begins")
    record(State, "__init__", "state opened")
    record(Session, "open", "login")
    record(SqlCrm, "check", "crm opened")
    record(Session, "close", "logout")
    record(State, "close", "state closed")
    record(RunSpan, "end", "run ends")
    installation.list_settings(name="newsletter")["opt_in_id"] = "unknown"
    selections = [("nord", f"{name}_selection") for name in ("newsletter", "products")]

    result = installation.run(assets=[*FEEDBACK, *selections])

    failed = [event.step_key for event in result.all_node_events if event.is_step_failure]
    assert failed == ["nord__newsletter_selection"]
    assert "the CRM knows no opt-in 'unknown'" in "".join(problems(result))
    assert happened == [
        *("run begins", "state opened", "login", "crm opened", "view closed", "view closed"),
        *("view closed", "logout", "state closed", "run ends"),
    ]


def test_what_cannot_be_opened_fails_the_assets_that_need_it_and_no_others(installation: Installation) -> None:
    installation.settings["crm"]["url"] = "sqlite:////nowhere/crm.db"

    result = installation.run()

    made = {event.asset_key.path[-1] for event in result.get_asset_materialization_events() if event.asset_key}
    failed = {event.step_key for event in result.all_node_events if event.is_step_failure}
    assert made >= {"bounces", "unsubscribes"}
    assert failed == {"nord__suppression_state"}
    assert "/nowhere" in "".join(problems(result))


def test_two_configurations_with_prefixes_of_their_own_fit_into_one_code_location(installation: Installation) -> None:
    both = []
    for prefix in ("marketing", "shop"):
        installation.settings["dagster"] = {"prefix": prefix}
        both.append(installation.definitions)

    merged = dg.Definitions.merge(*both)

    dg.Definitions.validate_loadable(merged)
    assert len(merged.resources or {}) == 2 * len(both[0].resources or {})


def test_an_unknown_place_for_frames_is_refused_when_definitions_are_loaded(installation: Installation) -> None:
    installation.settings["storage"]["frames"] = "unknown://bucket/frames"
    with pytest.raises(FileStorageError, match=r"storage\.frames has an unknown URL scheme"):
        assert installation.definitions
