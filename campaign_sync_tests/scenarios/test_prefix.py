"""A code location beside others: the names of everything begin with its prefix."""

import dagster as dg
import pytest

from campaign_sync.orchestration.names import MANDATOR_TAG
from campaign_sync_tests.installation import Installation


@pytest.fixture
def prefixed(installation: Installation) -> Installation:
    """The installation with the prefix marketing, and everything that can be scheduled."""
    installation.settings["dagster"] = {"prefix": "marketing"}
    nord = installation.settings["mandators"]["nord"]
    nord |= {"deadline": "0 7 * * *", "crm_export": {"marker": "/nowhere/done"}}
    nord["responses"] = {"readers": {"getOpens": {}}, "schedule": "0 9 * * *"}
    nord["feedback"] = {"schedule": "0 12 * * *"}
    return installation


def test_every_name_begins_with_the_prefix(prefixed: Installation) -> None:
    repository = prefixed.definitions.get_repository_def()
    names = {
        *(job.name for job in repository.get_all_jobs() if not job.name.startswith("__")),
        *(schedule.name for schedule in repository.schedule_defs),
        *(sensor.name for sensor in repository.sensor_defs),
        *(spec.group_name for spec in prefixed.definitions.resolve_all_asset_specs()),
    }

    assert {name for name in names if not (name or "").startswith("marketing_")} == {
        "default_automation_condition_sensor"
    } & names
    assert {
        "marketing_nord",
        "marketing_nord_daily",
        "marketing_nord_responses",
        "marketing_campaign_sync_alarms",
    } <= names
    assert {spec.key.path[0] for spec in prefixed.definitions.resolve_all_asset_specs()} == {"marketing"}


@pytest.mark.usefixtures("without_retries")
def test_sensors_find_the_runs_and_assets_of_their_own_location(
    prefixed: Installation, instance: dg.DagsterInstance
) -> None:
    def tick(name: str) -> dg.SensorResult:
        with dg.build_sensor_context(instance=instance) as context:
            result = prefixed.sensor(name)(context)
        assert isinstance(result, dg.SensorResult)
        return result

    assert prefixed.run("nord", instance).success
    reports = tick("reports").run_requests or []
    prefixed.vendor.fault("addAll3", "fault", times=99, arg="WebserviceImplException: unheard of")
    failed = prefixed.run("nord", instance)
    prefixed.vendor.repair()
    tick("alarms")
    repairs = tick("repair").run_requests or []

    assert failed.dagster_run.tags[MANDATOR_TAG] == "marketing/nord"
    with prefixed.state() as state:
        pages = {incident.page for incident in state.view().open_incidents("nord").values()}
    assert pages == {"/assets/marketing/nord/newsletter_recipient_list"}
    assert [repair.job_name for repair in repairs] == ["marketing_nord_daily_replace"]
    assert {key.path[0] for key in repairs[0].asset_selection or []} == {"marketing"}
    assert [report.job_name for report in reports] == ["marketing_nord_report"]
