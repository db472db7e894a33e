"""How far long work has come, for whoever wants to watch. Nobody needs to."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from campaign_sync.replacement.target import Target


@dataclass(frozen=True)
class Progress:
    """`done` of `total` rows (None while unknown) of one step of one mandator's list, or of its feedback."""

    mandator: str
    subject: str
    step: str
    done: int
    total: int | None


def rows_of(target: Target, step: str, total: int) -> Callable[[int], None]:
    """Reports a step of a list: to be told of rows as they are done."""
    done = 0

    def advance(rows: int) -> None:
        nonlocal done
        done += rows
        report(Progress(target.mandator, target.name, step, done, total))

    advance(0)
    return advance


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
