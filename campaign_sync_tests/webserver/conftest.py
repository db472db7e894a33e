"""The webserver that the tests of this package share, because it takes seconds to start."""

from collections.abc import Iterator

import pytest

from campaign_sync.webserver.login import HEADER_VARIABLE
from campaign_sync.webserver.same_origin import HOSTS_VARIABLE
from campaign_sync_tests.webserver import servers

DEFINITIONS = """
import dagster as dg

@dg.op
def nothing(): ...

@dg.job
def approve(): nothing()

@dg.job(partitions_def=dg.StaticPartitionsDefinition(["a"]))
def in_parts(): nothing()

defs = dg.Definitions(jobs=[approve, in_parts])
"""


@pytest.fixture(scope="package")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Yield the port of our webserver, which knows names and the login of a proxy, and has jobs that can be launched.

    Tests that use it belong to the xdist group `webserver`.
    """
    environment = {HEADER_VARIABLE: "X-Forwarded-User", HOSTS_VARIABLE: "dagster.example.org, Other.example:8443"}
    with servers.webserver(servers.GUARDED, tmp_path_factory.mktemp("guarded"), environment, DEFINITIONS) as port:
        yield port
