"""How far long work has come, for displays that watch it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from campaign_sync.replacement.list_settings import ListSettings


@dataclass(frozen=True)
class Progress:
    """`done` of `total` rows (None while unknown) of one step of one mandator's list, or of its feedback."""

    mandator: str
    subject: str
    step: str
    done: int
    total: int | None


def rows_of(settings: ListSettings, step: str, total: int) -> Callable[[int], None]:
    """Report that a step of a list begins; return what to call with the number of rows whenever some are done."""
    done = 0

    def advance(rows: int) -> None:
        nonlocal done
        done += rows
        report(Progress(settings.mandator, settings.name, step, done, total))

    advance(0)
    return advance


_watchers: list[Callable[[Progress], None]] = []


def report(progress: Progress) -> None:
    """Pass progress to every watcher of this process."""
    for watcher in tuple(_watchers):
        watcher(progress)


@contextmanager
def watching(watcher: Callable[[Progress], None]) -> Iterator[None]:
    """Have `watcher` called, from whatever thread does the work, while the context lasts."""
    _watchers.append(watcher)
    try:
        yield
    finally:
        _watchers.remove(watcher)
