"""The progress of long work, for displays that show it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
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


_watcher: ContextVar[Callable[[Progress], None]] = ContextVar("progress watcher", default=lambda _: None)


def report(progress: Progress) -> None:
    """Pass progress to the watcher of the current context, if it has one."""
    _watcher.get()(progress)


@contextmanager
def watching(watcher: Callable[[Progress], None]) -> Iterator[None]:
    """Call `watcher` with all progress that is reported within the context, also from threads of `in_parallel`."""
    token = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(token)
