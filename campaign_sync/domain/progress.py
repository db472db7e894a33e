"""The progress of long work, for displays that show it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """`done` of `total` rows (None while unknown) of one step of one mandator's list, its feedback, or the CRM."""

    mandator: str
    """Empty for what all mandators share."""
    subject: str
    step: str
    done: int
    total: int | None


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
