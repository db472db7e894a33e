"""How answers about one person are laid out: of every list a few lines, each with a label."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from campaign_sync.domain.consent import UNDATED
from campaign_sync.domain.membership import Rejection
from campaign_sync.domain.rejection import Reason, meaning
from campaign_sync.domain.suppression_reasons import SuppressionReason
from campaign_sync.replacement.list_settings import ListSettings

Line = tuple[str, str]
"""What it is about, and what there is to say."""

_SIGNS = {True: Text("✓ yes", "green"), False: Text("✗ no", "red"), None: Text("?", "yellow")}


@dataclass(frozen=True)
class LocalTime:
    """Moments as they are written in a mandator's time zone."""

    zone: ZoneInfo

    def __call__(self, moment: datetime) -> str:
        """Day and minute; that there is no time where it is unknown."""
        if moment >= UNDATED:
            return "at a time that isn't known or never comes"
        return f"{moment.astimezone(self.zone):%Y-%m-%d %H:%M}"


@dataclass(frozen=True)
class Section:
    """What there is to say of one person and one list."""

    target: ListSettings
    zone: ZoneInfo
    in_list: bool | None
    """None where nobody knows."""
    lines: Iterable[Line]


def print_sections(sections: Iterable[Section], console: Console, *, sign: str = "in it") -> None:
    """Print a table of lists; `sign` says what the marks mean."""
    told = list(sections)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("list", no_wrap=True)
    table.add_column(sign, no_wrap=True)
    table.add_column("", no_wrap=True, style="dim")
    table.add_column(f"times in {', '.join(dict.fromkeys(each.zone.key for each in told))}", overflow="fold")
    for section in told:
        for position, (label, text) in enumerate(section.lines):
            first = position == 0
            name = f"{section.target.mandator}/{section.target.name}" if first else ""
            table.add_row(Text(name), _SIGNS[section.in_list] if first else "", Text(label), Text(text))
        table.add_section()
    console.print(table)


def rejection_told(entry: Rejection, moment: LocalTime) -> str:
    """An entry of the ledger: stage, reason, and when it was seen."""
    code = f" (vendor's code {entry.vendor_code})" if entry.vendor_code is not None else ""
    first, last = moment(entry.first_seen), moment(entry.last_seen)
    seen = first if first == last else f"first {first}, last {last}"
    return f"{entry.stage}: {meaning(entry.reason)}{code}; {seen}"


def not_picked_told(target: ListSettings) -> str:
    """Why somebody isn't in a list whom the ledger doesn't have."""
    return f"not picked: the {target.pick.kind.replace('_', ' ')} “{target.pick.name}” didn't name them"


def objection_told(objection: SuppressionReason, key: str | None, opt_in_id: str, moment: LocalTime) -> str:
    """What an unsubscribe says against writing to the person `key`."""
    when = when_told(objection, moment)
    if objection.reason is Reason.BLOCKLISTED:
        return f"the vendor's blocklist matches this address, seen{when}"
    if objection.reason is Reason.WITHDRAWAL_VANISHED:
        return (
            f"{opt_in_id} was withdrawn{when}, by this record or another one with the address; the CRM doesn't have "
            "that withdrawal any more, and no newer consent"
        )
    if objection.reason is Reason.ON_UNSUBSCRIBE_LIST:
        return (
            f"on the vendor's unsubscribe list{when}, which keeps them out of all of the mandator's lists; which "
            "consent they withdrew isn't known until the feedback row has come"
        )
    if objection.whose is None:
        return f"this address unsubscribed{when}, and no consent in the CRM could be withdrawn for it"
    if objection.reason is Reason.CONSENT_UNCLEAR:
        whose = "" if objection.whose == key else f" about {objection.whose}, who has the same address,"
        return f"the CRM has a consent event{whose} that can't be understood{when}; correct it there"
    who = "" if objection.whose == key else f"{objection.whose}, who has the same address, "
    return f"{who}withdrew {opt_in_id}{when}"


def when_told(objection: SuppressionReason, moment: LocalTime) -> str:
    """Since when something stands against writing, and who says so; begins with a blank where there is anything."""
    when = f" {moment(objection.since)}" if objection.since else ""
    return f"{when} ({objection.source})" if objection.source else when
