"""A copy of a prepared installation that reaches its vendor through a proxy."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import dagster as dg
import pytest
from tenacity import wait_none

from campaign_sync.optimizely import session
from campaign_sync.replacement import list_writer
from campaign_sync.replacement.list_settings import ListSettings, list_settings
from campaign_sync.sandbox.server import serve
from campaign_sync.sandbox.vendor_state import Recipient, VendorState
from campaign_sync_tests.faults.proxy import Proxy, proxied
from campaign_sync_tests.installation import NEWSLETTER, Installation, running_installation
from campaign_sync_tests.opened import Opened, opened

BEFORE: list[Recipient] = [
    {"id": "old@example.com", "attributes": {"Vorname": "Olga"}},
    {"id": "person1@example.org", "attributes": {"Vorname": "Anna", "entity-id": "c1"}},
    {"id": "person3@example.org", "attributes": {"Vorname": "Carla", "entity-id": "c3"}},
]
"""The recipients of the list before the replacement."""

_LIMITS = {"max_growth": 1000, "max_shrink": 1}


def prepare(folder: Path) -> None:
    """Prepare an installation whose snapshot is frozen, and whose list holds `BEFORE`."""
    with running_installation(folder) as installation, dg.DagsterInstance.ephemeral() as instance:
        feedback = [("nord", name) for name in ("bounces", "unsubscribes", "suppression_state")]
        picked = [("nord", f"newsletter_{asset}") for asset in ("selection", "snapshot")]
        installation.list_settings()["limits"] = _LIMITS
        assert installation.run("nord", instance, assets=[*feedback, *picked]).success
        installation.vendor.put(NEWSLETTER, BEFORE)


@dataclass(frozen=True)
class Run:
    """What a run opens, and the settings of its list."""

    resources: Opened
    list_settings: ListSettings

    def replace(self) -> None:
        """Replace the newsletter, as its asset does."""
        self.resources.replacer(str(uuid4())).replace(self.list_settings)


class ProxiedInstallation:
    """A copy of the prepared installation, which reaches its vendor through a proxy."""

    def __init__(self, folder: Path, vendor: VendorState, proxy: Proxy) -> None:
        self.vendor, self.proxy = vendor, proxy
        self.installation = Installation(
            folder, vendor, proxy.base_url, f"sqlite:///{folder / 'crm.db'}", f"sqlite:///{folder / 'state.db'}"
        )
        self.installation.list_settings()["limits"] = _LIMITS

    @contextmanager
    def run(self, **optimizely: object) -> Iterator[Run]:
        """Yield a run with these settings of the section `optimizely`."""
        self.installation.settings["optimizely"] |= optimizely
        configuration = self.installation.configuration
        with opened(configuration) as resources:
            yield Run(resources, list_settings(configuration, "nord", "newsletter"))


@contextmanager
def proxied_installation(template: Path, folder: Path) -> Iterator[ProxiedInstallation]:
    """Copy the prepared installation `template` to `folder`, and yield it behind a proxy."""
    shutil.copytree(template, folder)
    vendor = VendorState(folder / "vendor.db")
    with serve(vendor) as base_url, proxied(base_url) as proxy:
        yield ProxiedInstallation(folder, vendor, proxy)
    vendor.close()


def retry_without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let calls to the vendor be retried at once."""
    for module, name in (
        (session, "wait_exponential"),
        (session, "wait_random"),
        (list_writer, "wait_random_exponential"),
    ):
        monkeypatch.setattr(module, name, lambda *_, **__: wait_none())
