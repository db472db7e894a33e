"""What changed in a recipient list between two proofs. Names people by their CRM ids only."""

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import chain, islice, zip_longest
from pathlib import Path
from zoneinfo import ZoneInfo

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from campaign_sync.cli.error_handling import SOMETHING_FAILED, CommandError
from campaign_sync.config import Configuration
from campaign_sync.domain.list_difference import Difference, compare
from campaign_sync.domain.membership import Members, members, why_not
from campaign_sync.domain.rejection import meaning
from campaign_sync.domain.suppression import entity_keys
from campaign_sync.storage.files import FileStorage
from campaign_sync.storage.private_files import private_opener
from campaign_sync.storage.replacement_history import ProvenList
from campaign_sync.storage.state import State

SHOWN_PEOPLE = 20
"""How many people are named in the terminal; a CSV file has them all."""

NOT_PICKED = "no longer selected"
"""Why somebody left whom the ledger doesn't have: marketing list or report stopped naming them."""

_CHANGES = ("left", "joined", "changed")


@dataclass(frozen=True)
class Change:
    """What became of one person."""

    entity: str
    change: str
    why: str = ""
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Compared:
    before: ProvenList
    after: ProvenList
    sizes: tuple[int, int]
    uncertain: tuple[int, int]
    difference: Difference
    changes: list[Change]


def print_difference(
    configuration: Configuration, mandator: str, name: str, days: Sequence[date], console: Console, file: Path | None
) -> None:
    """Print what changed, and write it to `file` if one is given.

    Raises:
        CommandError: there aren't two proofs to compare; the message lists the days that have one.
        FileStorageError: a snapshot is gone.
    """
    zone = configuration.mandators[mandator].zone
    frames = FileStorage(configuration.storage.frames)
    with (
        State(configuration.storage.state_url.get_secret_value()) as state,
        console.status("Comparing two snapshots"),
    ):
        before, after = _choose(state.replacement_history.proven(mandator, name), days, zone, f"{mandator}/{name}")
        compared = _compare(state, frames, before, after)
    _print(compared, zone, console)
    if file:
        _write(compared.changes, file)
        console.print(Text(f"{len(compared.changes):,} people are in {file}."))


def _choose(
    proven: list[ProvenList], days: Sequence[date], zone: ZoneInfo, title: str
) -> tuple[ProvenList, ProvenList]:
    """The two proofs to compare, the older first: of each day the last one."""
    by_day = {each.proven_at.astimezone(zone).date(): each for each in reversed(proven)}
    has = f"{title} was {f'proven on {_ranges(sorted(by_day))}' if by_day else 'never proven'}"
    missing = [str(day) for day in days if day not in by_day]
    if missing:
        raise CommandError(f"there is no proof of {' or '.join(missing)}: {has}", SOMETHING_FAILED)
    if len(days) > 2:
        raise CommandError(f"more than two days can't be compared; name two of them: {has}", SOMETHING_FAILED)
    chosen = [by_day[day] for day in sorted(days)] or proven[1:2]
    pair = [*chosen, *proven[:1]][:2]
    if len(pair) < 2 or pair[0] is pair[1]:
        raise CommandError(f"there is nothing to compare: {has}; two different proofs are needed", SOMETHING_FAILED)
    return pair[0], pair[1]


def _ranges(days: Sequence[date]) -> str:
    """Days as one would say them: those that follow each other as a range."""
    ranges: list[tuple[date, date]] = []
    for day in days:
        if ranges and day - ranges[-1][1] == timedelta(days=1):
            ranges[-1] = (ranges[-1][0], day)
        else:
            ranges.append((day, day))
    return ", ".join(str(first) if first == last else f"{first} to {last}" for first, last in ranges)


def _compare(state: State, frames: FileStorage, before: ProvenList, after: ProvenList) -> _Compared:
    def look(proven: ProvenList) -> tuple[Members, set[str]]:
        snapshot = frames.read_frame(proven.file, proven.digest)
        return members(snapshot, proven, state.replacement_history.rejected_rows(proven)), set(entity_keys(snapshot))

    (old, _), (new, in_snapshot) = look(before), look(after)
    difference = compare(old.rows, new.rows)
    ledger = state.replacement_history.explanations(after)

    def why(key: str) -> str:
        entry = why_not(ledger.get(key, []), after, in_snapshot=key in in_snapshot)
        return f"{entry.stage}: {meaning(entry.reason)}" if entry else NOT_PICKED

    changes = [
        *(Change(key, "left", why(key)) for key in difference.left),
        *(Change(key, "joined") for key in difference.joined),
        *(Change(key, "changed", columns=columns) for key, columns in difference.changed.items()),
    ]
    sizes = (len(old.rows), len(new.rows))
    return _Compared(before, after, sizes, (old.uncertain, new.uncertain), difference, changes)


def _print(compared: _Compared, zone: ZoneInfo, console: Console) -> None:
    sides = [
        f"{side.proven_at.astimezone(zone):%Y-%m-%d %H:%M} ({size:,} in it)"
        for side, size in zip((compared.before, compared.after), compared.sizes, strict=True)
    ]
    console.print(Text(f"{compared.after.mandator}/{compared.after.list}", "bold"), Text(" → ".join(sides)), zone.key)
    for side, uncertain in zip((compared.before, compared.after), compared.uncertain, strict=True):
        if uncertain:
            console.print(
                Text(
                    f"Of {uncertain:,} people the ledger doesn't tell whether they were in the list of "
                    f"{side.proven_at.astimezone(zone):%Y-%m-%d}; they count as turned away.",
                    "yellow",
                )
            )
    if not compared.changes:
        console.print("Nobody joined, left or changed.")
        return
    console.print(_counts(compared), _people(compared.changes))


def _counts(compared: _Compared) -> Table:
    table = _table("change", "why, or which column", "people")
    for change in _CHANGES:
        of_kind = [each for each in compared.changes if each.change == change]
        counts = (
            compared.difference.changed_columns.items()
            if change == "changed"
            else Counter(each.why for each in of_kind).most_common()
        )
        if of_kind:
            table.add_row(Text(change), "", f"{len(of_kind):,}", style="bold")
        for subject, count in counts:
            if subject:
                table.add_row("", Text(subject), f"{count:,}")
    return table


def _people(changes: Sequence[Change]) -> Table:
    table = _table("person", "change", "why, or which columns")
    shown = set(islice(_by_turns(changes), SHOWN_PEOPLE))
    for each in changes:
        if each in shown:
            table.add_row(Text(each.entity), Text(each.change), Text(each.why or ", ".join(each.columns)))
    if len(changes) > len(shown):
        table.add_row(f"… and {len(changes) - len(shown):,} more", "", "--csv FILE writes them all", style="dim")
    return table


def _by_turns(changes: Sequence[Change]) -> Iterator[Change]:
    """One of each kind after the other, so that few people show all that happened."""
    kinds = [[each for each in changes if each.change == change] for change in _CHANGES]
    return (each for each in chain.from_iterable(zip_longest(*kinds)) if each)


def _table(*headings: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in headings:
        table.add_column(heading, justify="right" if heading == "people" else "left")
    return table


def _write(changes: Sequence[Change], file: Path) -> None:
    # A path's own `open` takes no opener.
    with open(file, "w", encoding="utf-8", newline="", opener=private_opener) as target:
        writer = csv.writer(target)
        writer.writerow(["entity", "change", "why", "columns"])
        writer.writerows([each.entity, each.change, each.why, "; ".join(each.columns)] for each in changes)
