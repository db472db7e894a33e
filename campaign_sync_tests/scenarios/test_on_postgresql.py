"""Days with the CRM and the state database on PostgreSQL, as in production."""

from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._core.instance.ref import InstanceRef

from campaign_sync_tests.databases import fresh_database
from campaign_sync_tests.installation import NEWSLETTER, running_installation

pytestmark = pytest.mark.thorough

ROOT = Path(__file__).parents[2]


def test_two_days_with_crm_and_state_on_postgresql(tmp_path: Path) -> None:
    with (
        fresh_database() as crm_url,
        fresh_database() as state_url,
        running_installation(tmp_path, crm_url=crm_url, state_url=state_url, two_lists=False) as installation,
    ):
        installation.day("nord")
        installation.leave("person2@example.org")
        installation.list_settings()["limits"] = {"max_shrink": 0.3}
        result = installation.day("nord")

        assert installation.addresses(NEWSLETTER) == [f"person{number}@example.org" for number in (1, 3, 4, 5)]
        with installation.state() as state:
            assert state.rejections.counts(result.run_id, "nord", "newsletter") == {("selection", "unsubscribed"): 1}


@pytest.mark.smoke
def test_the_production_instance_opens_on_postgresql_and_records_a_day(tmp_path: Path, postgres_url: str) -> None:
    settings = yaml.safe_load((ROOT / "dagster.yaml").read_text())
    assert settings["storage"]["postgres"]["postgres_db"]["scheme"] == "postgresql+psycopg2"
    settings["storage"]["postgres"] = {"postgres_url": postgres_url}  # the tests' server listens on a socket only
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(settings))

    with (
        dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(tmp_path))) as instance,
        running_installation(tmp_path, two_lists=False) as installation,
    ):
        result = installation.run("nord", instance)

        assert result.success
        run = instance.get_run_by_id(result.run_id)
        assert run is not None
        assert run.tags["campaign_sync/mandator"] == "nord"
        key = dg.AssetKey(["nord", "newsletter_recipient_list"])
        assert instance.get_latest_materialization_event(key) is not None
        assert not instance.telemetry_enabled
