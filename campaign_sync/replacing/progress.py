"""How far long work has come, for whoever wants to watch. Nobody needs to."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """`done` of `total` rows (None while unknown) of one step of one mandator's list, or of its feedback."""

    mandator: str
    subject: str
    step: str
    done: int
    total: int | None


_watchers: list[Callable[[Progress], None]] = []


def report(progress: Progress) -> None:
    """Tell everybody who watches in this process."""
    for watcher in tuple(_watchers):
        watcher(progress)


@contextmanager
def watching(watcher: Callable[[Progress], None]) -> Iterator[None]:
    """Have `watcher` called, from whatever thread does the work, as long as the context lasts."""
    _watchers.append(watcher)
    try:
        yield
    finally:
        _watchers.remove(watcher)
