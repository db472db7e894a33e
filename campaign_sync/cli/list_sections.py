"""The table of recipient lists in which `why` and `prove` print their answers."""

from collections.abc import Iterable
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.table import Column
from rich.text import Text

from campaign_sync.cli.output import plain_table
from campaign_sync.replacement.list_settings import ListSettings

Line = tuple[str, str]
"""A label and its text."""

_MARKS = {True: Text("✓ yes", "green"), False: Text("✗ no", "red"), None: Text("?", "yellow")}


@dataclass(frozen=True)
class ListSection:
    """What is printed about one person in one list."""

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
