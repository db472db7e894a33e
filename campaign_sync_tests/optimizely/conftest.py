from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest

from campaign_sync.optimizely.client import Optimizely, connect
from campaign_sync.sandbox.server import serve
from campaign_sync.sandbox.vendor_state import VendorState
from campaign_sync.sandbox.wsdl import PartNames

NORD, SUED = 8100, 8200
LIST, FOREIGN_LIST = 100000000011, 100000000022
USERNAME, PASSWORD = "nord-api", "geheim-4711"


@dataclass
class Vendor:
    """A simulated vendor with two mandators, and its URL."""

    state: VendorState
    url: str

    def connect(self) -> AbstractContextManager[Optimizely]:
        return connect(self.url, NORD, USERNAME, PASSWORD)


@pytest.fixture(params=["in0", "named"])
def part_names(request: pytest.FixtureRequest) -> PartNames:
    names: PartNames = request.param
    return names


@pytest.fixture
def vendor(tmp_path: Path, part_names: PartNames) -> Iterator[Vendor]:
    state = VendorState(tmp_path / "state.db")
    state.add_mandator(NORD, USERNAME, PASSWORD)
    state.add_mandator(SUED, "sued-api", "anders")
    state.add_list(NORD, LIST, "Müller & Söhne", ["Vorname", "entity-id"])
    state.add_list(SUED, FOREIGN_LIST, "Fremd", ["Vorname"])
    with serve(state, part_names=part_names) as url:
        yield Vendor(state, url)
    state.close()


@pytest.fixture
def optimizely(vendor: Vendor) -> Iterator[Optimizely]:
    with vendor.connect() as connected:
        yield connected
