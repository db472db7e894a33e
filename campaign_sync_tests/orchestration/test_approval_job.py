"""The job by which people approve plans."""

from pathlib import Path

from campaign_sync.orchestration.approval_job import approval_job
from campaign_sync_tests.test_configuration import MINIMAL, load, minimal


def test_it_offers_the_lists_that_are_configured_now(tmp_path: Path) -> None:
    """Dagster keeps the types of a configuration for the whole process."""
    for text, offered in ((MINIMAL, "newsletter"), (minimal("newsletter:\n", "news:\n"), "news")):
        job = approval_job(load(tmp_path, text), "nord")
        assert job.run_config is not None
        assert job.run_config["ops"]["nord_approval"]["config"]["list"] == offered
