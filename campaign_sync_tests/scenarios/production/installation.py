"""An installation with the production stack. Tests share it, because it takes seconds to start."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from campaign_sync_tests.alerts.receivers import Inbox, web_server
from campaign_sync_tests.databases import fresh_database
from campaign_sync_tests.installation import Installation, running_installation
from campaign_sync_tests.stack import Stack, stack
from campaign_sync_tests.waiting import PATIENCE


@dataclass(frozen=True)
class ProductionInstallation:
    """An installation, its production stack (webserver and daemon), and who gets its alarms."""

    installation: Installation
    stack: Stack
    inbox: Inbox

    def filling(self, run_id: str) -> bool:
        """Return whether that run has cleared the newsletter and is sending its recipients."""
        with self.installation.state() as state:
            replace = state.replacements.of_run(run_id, "newsletter")
            steps = state.replacements.steps(replace.id) if replace else []
        return bool(steps) and steps[-1].step == "addAll3" and steps[-1].ended_at is None


@contextmanager
def production_installation(
    folder: Path, build: Callable[..., Stack] = Stack, *, groups: int = 1
) -> Iterator[ProductionInstallation]:
    """Yield two mandators on PostgreSQL: `sued` is replaced every minute, `nord` when a test starts it, in groups."""
    with (
        fresh_database() as crm_url,
        fresh_database() as state_url,
        fresh_database() as dagster_url,
        running_installation(folder, crm_url=crm_url, state_url=state_url) as installation,
        web_server() as inbox,
    ):
        installation.environment["HOOK"] = inbox.url
        installation.settings["alarms"] = {"webhooks": {"ops": {"url": {"env": "HOOK"}}}}
        installation.settings["optimizely"]["timeout_seconds"] = PATIENCE
        installation.settings["mandators"]["nord"] |= {
            "schedule": "0 0 29 2 *",
            "title": "Süd & Söhne",
            "parallel_runs": groups,
        }
        installation.list_settings()["title"] = "Newsletter für Österreich"
        installation.settings["mandators"]["sued"]["schedule"] = "* * * * *"
        assert installation.configuration
        environment = {**installation.environment, "CAMPAIGN_SYNC_CONFIG": str(folder / "campaign_sync.yaml")}
        with stack(folder, dagster_url, environment, build) as running:
            yield ProductionInstallation(installation, running, inbox)
