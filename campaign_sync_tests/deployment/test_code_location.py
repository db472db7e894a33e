"""A code location in an environment of its own: what serves the UI isn't imported."""

import os
import subprocess
import sys

from campaign_sync_tests.test_definitions import DEMO, ENVIRONMENT

_BLOCKED = ("dagster_webserver", "dagster_graphql", "campaign_sync.webserver", "campaign_sync.sandbox")
_LOAD = f"""
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name in {_BLOCKED!r}:
            raise ModuleNotFoundError(f"{{name}} isn't here", name=name)

sys.meta_path.insert(0, Blocked())
from campaign_sync.component import CampaignSyncComponent
from campaign_sync.definitions import defs
print(len(defs.load_fn().resolve_all_asset_specs()))
"""


def test_definitions_load_without_webserver_and_graphql() -> None:
    environment = {**os.environ, **ENVIRONMENT, "CAMPAIGN_SYNC_CONFIG": str(DEMO)}
    loaded = subprocess.run([sys.executable, "-c", _LOAD], env=environment, capture_output=True, text=True, check=False)

    assert loaded.returncode == 0, loaded.stderr
    assert int(loaded.stdout) > 20
