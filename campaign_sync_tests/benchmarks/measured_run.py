"""`campaign-sync run` with its parts timed: `python -m campaign_sync_tests.benchmarks.measured_run FILE …`.

The measurements are written to the file as JSON when the command ends. The product has no part in it: its functions
are wrapped.
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

from campaign_sync.garbage import kept_for_ever

with kept_for_ever():  # as the product imports its modules
    from campaign_sync.cli import main
    from campaign_sync.cli.report import report_after_run
    from campaign_sync.domain.asset_names import AssetName
    from campaign_sync.optimizely.transport import Transport
    from campaign_sync.orchestration.errors import translate_errors
    from campaign_sync.orchestration.io_manager import ParquetIOManager
    from campaign_sync.replacement.list_writer import ListWriter, prepare
    from campaign_sync.replacement.live_suppression import live_vendor_suppression
    from campaign_sync.replacement.preflight import Preflight
    from campaign_sync.replacement.proof import prove
    from campaign_sync.replacement.read_back import read_back
    from campaign_sync.replacement.verification import sweep_and_verify

READ_BACK = "read back, proof"
PARTS = (
    *("select", "check, snapshot", "gate", "prepare", "clear", "fill", "sweep", "look again", READ_BACK),
    *("report",),
)
"""The measured parts, in the order of the day."""

REST = "Dagster and the rest"

_FUNCTIONS: dict[Callable[..., Any], str] = {
    Preflight.run: "gate",
    Preflight.recheck_mailings: "gate",
    prepare: "prepare",
    ListWriter.clear: "clear",
    ListWriter.carry_out: "fill",
    ListWriter.sweep: "sweep",
    live_vendor_suppression: "look again",
    read_back: READ_BACK,
    prove: READ_BACK,
    sweep_and_verify: READ_BACK,
    report_after_run: "report",
}
"""The part of each function. A part within another one counts for itself, except within the gate."""

_ASSETS = {"selection": "select", "snapshot": "check, snapshot"}
_READERS = {"suppression_state": "select", "selection": "check, snapshot"}
"""The part that makes an asset, and the one that reads it."""


@dataclass(frozen=True)
class Measured:
    """The measurements of a run."""

    parts: dict[str, float]
    """Seconds in each part and in the rest (`REST`), without those of other parts within it."""
    cpu: dict[str, float]
    """CPU seconds of the process during each part, of all its threads."""
    waiting: dict[str, float]
    """Seconds of each part with at least one pending call to the vendor."""
    incomplete: float
    """Seconds from the beginning of the clear to the end of the fill."""
    peak: int
    """The peak memory of the process, in bytes."""


class Clock:
    """Times the parts of the main thread, and the waiting of any thread for the vendor."""

    def __init__(self) -> None:
        self._parts = dict.fromkeys((*PARTS, REST), 0.0)
        self._waiting, self._cpu = dict(self._parts), dict(self._parts)
        self._within, self._calls, self._turned, self._worked = [REST], 0, time.monotonic(), 0.0
        self._begun: dict[str, float] = {}
        self._ended: dict[str, float] = {}
        self._lock = threading.RLock()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count the main thread's time towards this part, or towards the gate if it is in there."""
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
        """Count the time as waiting for the vendor, in any thread."""
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
        """Return the measurements so far."""
        with self._lock:
            self._turn()
        incomplete = self._ended.get("fill", 0) - self._begun.get("clear", 0)
        return Measured(self._parts, self._cpu, self._waiting, incomplete, peak_memory("self"))

    def _turn(self) -> float:
        """Add the time since the last turn to the part that the main thread is in."""
        now, worked = time.monotonic(), time.process_time()
        self._parts[self._within[-1]] += now - self._turned
        self._cpu[self._within[-1]] += worked - self._worked
        if self._calls:
            self._waiting[self._within[-1]] += now - self._turned
        self._turned, self._worked = now, worked
        return now


def peak_memory(process_id: int | str) -> int:
    """Return the peak memory of a process (or `self`), in bytes.

    `ru_maxrss` is no substitute: it includes the memory of the parent when it started the process.
    """
    lines = Path(f"/proc/{process_id}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def _replace(function: Callable[..., Any], substitute: Callable[[Any], Any]) -> None:
    """Replace a function or method of the product in its class, or in all modules that have imported it."""
    *owners, name = function.__qualname__.split(".")
    ours = [module for key, module in sys.modules.items() if key.startswith("campaign_sync.")]
    owner = functools.reduce(getattr, owners, sys.modules[function.__module__])
    substituted = functools.wraps(function)(substitute(function))
    for namespace in [owner, *ours]:
        if vars(namespace).get(name) is function:
            setattr(namespace, name, substituted)


def _within(context: Callable[..., AbstractContextManager[None]]) -> Callable[[Any], Any]:
    """Wrap a function so that it runs within a context that is made from its arguments."""

    def substitute(function: Any) -> Any:
        def within(*arguments: Any, **named: Any) -> Any:
            with context(*arguments, **named):
                result = function(*arguments, **named)
            if isinstance(result, Iterator):
                return _items_within(lambda: context(*arguments, **named), result)
            return result

        return within

    return substitute


def _items_within(context: Callable[[], AbstractContextManager[None]], items: Iterator[Any]) -> Iterator[Any]:
    while True:
        with context():
            try:
                item = next(items)
            except StopIteration:
                return
        yield item


def measure(clock: Clock) -> None:
    """Wrap the functions of the product with the clock."""
    with kept_for_ever():
        importlib.import_module("campaign_sync.orchestration.code_location")
        importlib.import_module("campaign_sync.cli.run")

    def asset_part(path: Sequence[str], parts: Mapping[str, str]) -> AbstractContextManager[None]:
        return clock.part(parts.get(AssetName.parse(path).kind, REST))

    def step(translate: Any) -> Any:
        @contextmanager
        def measured(context: Any, *resources: Any) -> Iterator[Any]:
            with asset_part(context.asset_key.path, _ASSETS), translate(context, *resources) as watch:
                yield watch

        return measured

    _replace(translate_errors, step)
    written = _within(lambda _, context, **__: asset_part(context.asset_key.path, _ASSETS))
    _replace(ParquetIOManager.dump_to_path, written)
    read = _within(lambda _, context, **__: asset_part(context.asset_key.path, _READERS))
    _replace(ParquetIOManager.load_from_path, read)
    for function, name in _FUNCTIONS.items():
        _replace(function, _within(lambda *_, part=name, **__: clock.part(part)))
    _replace(Transport.post, _within(lambda *_, **__: clock.call()))


def _run() -> None:
    file, *arguments = sys.argv[1:]
    clock = Clock()
    measure(clock)
    sys.modules["hypothesis"] = None  # type: ignore[assignment]  # pandera imports it where it is: only tests install it
    sys.argv = ["campaign-sync", "run", *arguments]
    try:
        main()
    finally:
        Path(file).write_text(json.dumps(asdict(clock.measured())), encoding="ascii")


if __name__ == "__main__":
    _run()
