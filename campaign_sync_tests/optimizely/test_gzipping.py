from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from campaign_sync.optimizely.client import Optimizely, connect
from campaign_sync.optimizely.gzipping import Gzipping
from campaign_sync.optimizely.transport import Transport
from campaign_sync.sandbox import server
from campaign_sync.sandbox.server import serve
from campaign_sync.sandbox.vendor_state import VendorState

NORD, LIST = 8100, 11
IDS = [f"somebody.{number}@example.org" for number in range(1000)]


@contextmanager
def connected(folder: Path, *, accepts_gzip: bool) -> Iterator[Optimizely]:
    world = VendorState(folder / "vendor.db")
    world.add_mandator(NORD, "user", "password")
    world.add_list(NORD, LIST, "Newsletter", ["Vorname"])
    with serve(world, accepts_gzip=accepts_gzip) as url, connect(url, NORD, "user", "password") as optimizely:
        yield optimizely
    world.close()


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """What is sent: the operation's first letters as far as anybody can see them, and the size."""
    requests: list[tuple[str, int]] = []
    exchange = Transport._exchange

    def watched(self: Transport, method: str, url: str, body: bytes | None, *args: object, **more: object) -> object:
        requests.append(("gzip" if more.get("gzipped") else "plain", len(body or b"")))
        return exchange(self, method, url, body, *args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Transport, "_exchange", watched)
    return requests


def fill(optimizely: Optimizely) -> list[int]:
    batch = optimizely.recipients.prepare(LIST, IDS, IDS, ["Vorname"], [["Jürgen"] * len(IDS)])
    return optimizely.recipients.add_all(LIST, batch)


def test_a_vendor_that_takes_gzip_gets_large_requests_gzipped(tmp_path: Path, sent: list[tuple[str, int]]) -> None:
    with connected(tmp_path, accepts_gzip=True) as optimizely:
        assert optimizely.unsubscribes.contains_all(IDS) == [False] * len(IDS)
        assert fill(optimizely) == [0] * len(IDS)
        assert optimizely.recipients.count(LIST) == len(IDS)
    assert sum(how == "gzip" for how, _ in sent) == 2
    assert max(size for _, size in sent) < 20_000


def test_nothing_is_filled_by_a_way_that_has_not_been_tried(tmp_path: Path, sent: list[tuple[str, int]]) -> None:
    with connected(tmp_path, accepts_gzip=True) as optimizely:
        assert fill(optimizely) == [0] * len(IDS)
    assert {how for how, _ in sent} == {"plain"}


def test_a_vendor_that_does_not_speak_of_it_gets_none(tmp_path: Path, sent: list[tuple[str, int]]) -> None:
    with connected(tmp_path, accepts_gzip=False) as optimizely:
        optimizely.unsubscribes.contains_all(IDS)
        fill(optimizely)
    assert {how for how, _ in sent} == {"plain"}


def test_one_that_offers_what_it_cannot_is_asked_once_and_then_sent_it_as_it_is(
    tmp_path: Path, sent: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Gzipping, "offered", lambda self, _: setattr(self, "_offered", True))
    with connected(tmp_path, accepts_gzip=False) as optimizely:
        assert optimizely.unsubscribes.contains_all(IDS) == [False] * len(IDS)
        assert fill(optimizely) == [0] * len(IDS)
    assert [how for how, _ in sent].count("gzip") == 1


def test_one_that_hangs_up_on_it_is_not_tried_again(
    tmp_path: Path, sent: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    post = server._Handler.do_POST

    def hang_up(self: server._Handler) -> None:
        if self.headers.get("Content-Encoding"):
            self.close_connection = True
        else:
            post(self)

    monkeypatch.setattr(server._Handler, "do_POST", hang_up)
    with connected(tmp_path, accepts_gzip=True) as optimizely:
        assert optimizely.unsubscribes.contains_all(IDS) == [False] * len(IDS)
        assert fill(optimizely) == [0] * len(IDS)
    assert [how for how, _ in sent].count("gzip") == 1


def test_a_host_that_forgets_how_is_not_sent_another() -> None:
    known = Gzipping()
    known.offered("gzip, identity")
    assert known.packed(b"x" * 20_000, repeatable=False) is None
    assert known.packed(b"x" * 20_000, repeatable=True)
    known.answered(understood=True)
    assert known.packed(b"x" * 20_000, repeatable=False)
    assert known.packed(b"x", repeatable=True) is None
    known.answered(understood=False)
    assert known.packed(b"x" * 20_000, repeatable=True) is None
