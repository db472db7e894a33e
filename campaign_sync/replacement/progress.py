"""The progress of the steps of a list."""

from collections.abc import Callable

from campaign_sync.domain.progress import Progress, report
from campaign_sync.replacement.list_settings import ListSettings


def rows_of(settings: ListSettings, step: str, total: int) -> Callable[[int], None]:
    """Report that a step of a list begins; return what to call with the number of rows whenever some are done."""
    done = 0

    def advance(rows: int) -> None:
        nonlocal done
        done += rows
        report(Progress(settings.mandator, settings.name, step, done, total))

    advance(0)
    return advance
