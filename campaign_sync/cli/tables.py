"""Tables in the terminal, and the table of lists that answers about one person are printed in."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from rich import box
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from campaign_sync.domain.consent import UNDATED
from campaign_sync.replacement.list_settings import ListSettings

Line = tuple[str, str]
"""A label and its text."""

_MARKS = {True: Text("✓ yes", "green"), False: Text("✗ no", "red"), None: Text("?", "yellow")}


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
        return f"{moment.astimezone(self.zone):%Y-%m-%d %H:%M}"


@dataclass(frozen=True)
class ListSection:
    """The lines about one person in one list."""

    settings: ListSettings
    zone: ZoneInfo
    in_list: bool | None
    """None if that is unknown."""
    lines: Iterable[Line]


def print_list_sections(sections: Iterable[ListSection], console: Console, *, heading: str = "in it") -> None:
    """Print a table of lists; `heading` says what the marks mean."""
    rows = list(sections)
    zones = ", ".join(dict.fromkeys(section.zone.key for section in rows))
    table = plain_table(
        Column("list", no_wrap=True),
        Column(heading, no_wrap=True),
        Column("", no_wrap=True, style="dim"),
        Column(f"times in {zones}", overflow="fold"),
    )
    for section in rows:
        name: Text | str = Text(f"{section.settings.mandator}/{section.settings.name}")
        mark: Text | str = _MARKS[section.in_list]
        for label, text in section.lines:
            table.add_row(name, mark, Text(label), Text(text))
            name = mark = ""
        table.add_section()
    console.print(table)
