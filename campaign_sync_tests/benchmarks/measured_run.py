"""`campaign-sync run` with a clock on its parts: `python -m campaign_sync_tests.benchmarks.measured_run FILE …`.

What it measures is written to the file as JSON when the command ends. The product knows nothing of it: its functions
are wrapped where they stand.
"""

import functools
import importlib
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from campaign_sync.cli import main
from campaign_sync.domain.asset_names import AssetName

READ_BACK = "read back, proof"
PARTS = (
    *("select", "check, snapshot", "gate", "prepare", "clear", "fill", "sweep", "look again", READ_BACK),
    *("report",),
)
"""What the clock tells apart, in the order of the day."""

REST = "Dagster and the rest"

_FUNCTIONS = {
    "replacing:Gate.admit": "gate",
    "replacing:Gate.admit_clear": "gate",
    "replacing:prepare": "prepare",
    "replacing:Filler.clear": "clear",
    "replacing:Filler.carry_out": "fill",
    "replacing:Filler.sweep": "sweep",
    "replacing:look": "look again",
    "replacing:read_back": READ_BACK,
    "replacing:prove": READ_BACK,
    "replacing:sweep_and_prove": READ_BACK,
    "cli:report_after_run": "report",
}
"""Which part a room's function is. What is done within another part counts for itself, but all of the gate is its."""

_ASSETS = {"selection": "select", "snapshot": "check, snapshot"}
_READERS = {"suppression_state": "select", "selection": "check, snapshot"}
"""Which part makes an asset, and which one reads it."""


@dataclass(frozen=True)
class Measured:
    """What a run took."""

    parts: dict[str, float]
    """Seconds in each part, and in what is none (`REST`), without those in other parts within it."""
    waiting: dict[str, float]
    """Seconds of each part in which at least one call to the vendor was under way."""
    incomplete: float
    """Seconds from the beginning of the clear to the end of the fill."""
    peak: int
    """The most memory that the process held, in bytes."""


class Clock:
    """Knows which part the main thread is in, and whether any thread is waiting for the vendor."""

    def __init__(self) -> None:
        self._parts = dict.fromkeys((*PARTS, REST), 0.0)
        self._waiting = dict.fromkeys((*PARTS, REST), 0.0)
        self._within, self._calls, self._turned = [REST], 0, time.monotonic()
        self._begun: dict[str, float] = {}
        self._ended: dict[str, float] = {}
        self._lock = threading.RLock()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """What the main thread does meanwhile is part of this, or of the gate that it is in."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        with self._lock:
            name = "gate" if "gate" in self._within else name
            self._begun.setdefault(name, self._turn())
            self._within.append(name)
        try:
            yield
        finally:
            with self._lock:
                self._ended[name] = self._turn()
                self._within.pop()

    @contextmanager
    def call(self) -> Iterator[None]:
        """A call to the vendor is under way, in whatever thread."""
        with self._lock:
            self._turn()
            self._calls += 1
        try:
            yield
        finally:
            with self._lock:
                self._turn()
                self._calls -= 1

    def measured(self) -> Measured:
        """What it has measured by now."""
        with self._lock:
            self._turn()
        incomplete = self._ended.get("fill", 0) - self._begun.get("clear", 0)
        return Measured(self._parts, self._waiting, incomplete, peak_memory("self"))

    def _turn(self) -> float:
        """Since it turned last, time went to the part that the main thread is in."""
        now = time.monotonic()
        self._parts[self._within[-1]] += now - self._turned
        if self._calls:
            self._waiting[self._within[-1]] += now - self._turned
        self._turned = now
        return now


def peak_memory(process_id: int | str) -> int:
    """The most memory that a process (or `self`) has held, in bytes.

    `ru_maxrss` won't do: it begins with what the parent held when it started the process.
    """
    lines = Path(f"/proc/{process_id}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def _replace(place: str, substitute: Callable[[Any], Any]) -> None:
    """Put something else in the place of a function of a room (`replacing:look`), for whoever has imported it."""
    room, _, path = place.partition(":")
    *owners, name = path.split(".")
    ours = [module for key, module in sys.modules.items() if key.startswith("campaign_sync.")]
    (home,) = [
        module
        for module in ours
        if module.__name__.startswith(f"campaign_sync.{room}.")
        and getattr(vars(module).get(path.split(".")[0]), "__module__", "") == module.__name__
    ]
    owner = functools.reduce(getattr, owners, home)
    function = getattr(owner, name)
    substituted = functools.wraps(function)(substitute(function))
    for each in [owner, *ours]:
        if vars(each).get(name) is function:
            setattr(each, name, substituted)


def _within(context: Callable[..., AbstractContextManager[None]]) -> Callable[[Any], Any]:
    """Does what a function does within a context that is made of its arguments."""

    def substitute(function: Any) -> Any:
        def within(*arguments: Any, **named: Any) -> Any:
            with context(*arguments, **named):
                result = function(*arguments, **named)
            if isinstance(result, Iterator):
                return _each_within(lambda: context(*arguments, **named), result)
            return result

        return within

    return substitute


def _each_within(context: Callable[[], AbstractContextManager[None]], items: Iterator[Any]) -> Iterator[Any]:
    while True:
        with context():
            try:
                item = next(items)
            except StopIteration:
                return
        yield item


def measure(clock: Clock) -> None:
    """Let the clock see the product at work."""
    importlib.import_module("campaign_sync.definitions")
    importlib.import_module("campaign_sync.cli.run")

    def asset_part(path: Sequence[str], parts: Mapping[str, str]) -> AbstractContextManager[None]:
        return clock.part(parts.get(AssetName.parse(path).kind, REST))

    def step(translate_errors: Any) -> Any:
        @contextmanager
        def measured(context: Any) -> Iterator[Any]:
            with asset_part(context.asset_key.path, _ASSETS), translate_errors(context) as watch:
                yield watch

        return measured

    _replace("assets:explained", step)
    written = _within(lambda _, context, **__: asset_part(context.asset_key.path, _ASSETS))
    _replace("assets:ParquetIOManager.dump_to_path", written)
    read = _within(lambda _, context, **__: asset_part(context.asset_key.path, _READERS))
    _replace("assets:ParquetIOManager.load_from_path", read)
    for place, name in _FUNCTIONS.items():
        _replace(place, _within(lambda *_, part=name, **__: clock.part(part)))
    _replace("optimizely:Transport.post", _within(lambda *_, **__: clock.call()))


def _run() -> None:
    file, *arguments = sys.argv[1:]
    clock = Clock()
    measure(clock)
    sys.argv = ["campaign-sync", "run", *arguments]
    try:
        main()
    finally:
        Path(file).write_text(json.dumps(asdict(clock.measured())), encoding="ascii")


if __name__ == "__main__":
    _run()
