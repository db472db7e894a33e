"""What the commands print with: plain tables, local times, and findings of one line."""

from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from rich import box
from rich.console import Console
from rich.table import Column, Table

from campaign_sync.domain.consent import UNDATED
from campaign_sync.domain.consent_state import UNDATED_GRANT


def plain_table(*columns: str | Column, title: str | None = None) -> Table:
    """Return an empty table with a line below its headings and no frame."""
    return Table(*columns, title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))


@dataclass(frozen=True)
class LocalTime:
    """Writes moments in a mandator's time zone."""

    zone: ZoneInfo

    def __call__(self, moment: datetime) -> str:
        """Return day and minute, or words for a moment that isn't known."""
        if moment >= UNDATED:
            return "at a time that isn't known or never comes"
        if moment == UNDATED_GRANT:
            return "without a date"
        return f"{moment.astimezone(self.zone):%Y-%m-%d %H:%M}"


def print_success(console: Console, text: str) -> None:
    """Print what went well."""
    _print_line(console, f"✓ {text}", "green")


def print_warning(console: Console, text: str) -> None:
    """Print what should be known."""
    _print_line(console, f"! {text}", "yellow")


def print_problem(console: Console, text: str) -> None:
    """Print what went wrong."""
    _print_line(console, f"✗ {text}", "red")


def _print_line(console: Console, text: str, style: str) -> None:
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)
