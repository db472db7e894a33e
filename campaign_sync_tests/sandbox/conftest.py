from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from campaign_sync.sandbox.server import serve
from campaign_sync.sandbox.vendor_state import VendorState
from campaign_sync_tests.sandbox.client import Client

NORD, SUED = 8100, 8200
NEWSLETTER, OPT_IN_LIST, FOREIGN = 100000000011, 100000000012, 200000000011


@dataclass
class Clock:
    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def state(tmp_path: Path, clock: Clock) -> Iterator[VendorState]:
    state = VendorState(tmp_path / "state.db", clock)
    state.add_mandator(NORD, "nord-api", "s3cret")
    state.add_mandator(SUED, "sued-api", "s3cret")
    state.add_list(NORD, NEWSLETTER, "Newsletter Nord", ["Vorname", "Ort"])
    state.add_list(NORD, OPT_IN_LIST, "Anmeldungen", ["Vorname"], opt_in_list=True, test=True)
    state.add_list(SUED, FOREIGN, "Newsletter Süd", ["Vorname"])
    yield state
    state.close()


@pytest.fixture
def anonymous(state: VendorState) -> Iterator[Client]:
    with serve(state) as url:
        yield Client(url)


@pytest.fixture
def nord(anonymous: Client) -> Client:
    return anonymous.login(NORD, "nord-api", "s3cret")
