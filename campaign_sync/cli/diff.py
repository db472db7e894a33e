"""`campaign-sync diff`: who joined or left a recipient list, and whose values changed, between two proofs."""

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date
from itertools import chain, islice, zip_longest
from pathlib import Path

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from campaign_sync.cli.documents import ComparedSide, DiffDocument, RowChange
from campaign_sync.cli.inquiries import record_inquiry
from campaign_sync.cli.output import LocalTime, plain_table
from campaign_sync.config import Configuration
from campaign_sync.inquiry.list_archive import open_archive
from campaign_sync.inquiry.proof_comparison import (
    KINDS_OF_CHANGE,
    Change,
    ComparedProof,
    ProofComparison,
    compare_proofs,
)
from campaign_sync.storage.private_files import private_opener

PEOPLE_SHOWN = 20
"""How many people are named in the terminal; a CSV file has them all."""


def print_difference(
    configuration: Configuration, mandator: str, name: str, days: Sequence[date], console: Console, file: Path | None
) -> DiffDocument:
    """Print what changed, and write it to `file` if one is given. Returns it as a document.

    Raises:
        NothingToCompareError: there aren't two proofs to compare; the message lists the days that have one.
        FileStorageError: a snapshot can't be read.
    """
    zone = configuration.mandators[mandator].zone
    with open_archive(configuration) as archive, console.status("Comparing two snapshots"):
        record_inquiry(archive.state, "diff", mandator=mandator, name=name)
        comparison = compare_proofs(archive, mandator, name, days, zone)
    _print(comparison, LocalTime(zone), console)
    if file:
        _write(comparison.changes, file)
        console.print(Text(f"{len(comparison.changes):,} people are in {file}."))
    return _document(comparison)


def _document(comparison: ProofComparison) -> DiffDocument:
    def side(compared: ComparedProof) -> ComparedSide:
        proven = compared.proven
        return ComparedSide(
            proven_at=proven.proven_at,
            snapshot_id=proven.snapshot_id,
            in_list=compared.size,
            uncertain=compared.uncertain,
        )

    kinds = Counter(change.kind for change in comparison.changes)
    return DiffDocument(
        mandator=comparison.after.proven.mandator,
        list=comparison.after.proven.list,
        before=side(comparison.before),
        after=side(comparison.after),
        left=kinds["left"],
        joined=kinds["joined"],
        changed=kinds["changed"],
        left_by_reason=Counter(change.why for change in comparison.changes if change.kind == "left"),
        changed_by_column=comparison.difference.changed_columns,
        changes=tuple(
            RowChange(record=change.entity, change=change.kind, why=change.why or None, columns=change.columns)
            for change in comparison.changes
        ),
    )


def _print(comparison: ProofComparison, local: LocalTime, console: Console) -> None:
    sides = (comparison.before, comparison.after)
    title = f"{comparison.after.proven.mandator}/{comparison.after.proven.list}"
    sizes = " → ".join(f"{local(side.proven.proven_at)} ({side.size:,} in it)" for side in sides)
    console.print(Text(title, "bold"), Text(sizes), local.zone.key)
    for side in sides:
        if side.uncertain:
            day = f"{side.proven.proven_at.astimezone(local.zone):%Y-%m-%d}"
            sentence = (
                f"The rejections don't say whether {side.uncertain:,} people were in the list of {day}; "
                "they count as rejected."
            )
            console.print(Text(sentence, "yellow"))
    if not comparison.changes:
        console.print("No one joined, left or changed.")
        return
    console.print(_counts(comparison), _people(comparison.changes))


def _counts(comparison: ProofComparison) -> Table:
    table = plain_table("change", "why, or which column", Column("people", justify="right"))
    for kind in KINDS_OF_CHANGE:
        of_kind = [change for change in comparison.changes if change.kind == kind]
        counts = (
            comparison.difference.changed_columns.items()
            if kind == "changed"
            else Counter(change.why for change in of_kind).most_common()
        )
        if of_kind:
            table.add_row(Text(kind), "", f"{len(of_kind):,}", style="bold")
        for subject, count in counts:
            if subject:
                table.add_row("", Text(subject), f"{count:,}")
    return table


def _people(changes: Sequence[Change]) -> Table:
    table = plain_table("person", "change", "why, or which columns")
    shown = set(islice(_alternating(changes), PEOPLE_SHOWN))
    for change in changes:
        if change in shown:
            table.add_row(Text(change.entity), Text(change.kind), Text(change.why or ", ".join(change.columns)))
    if len(changes) > len(shown):
        table.add_row(f"… and {len(changes) - len(shown):,} more", "", "--csv FILE writes them all", style="dim")
    return table


def _alternating(changes: Sequence[Change]) -> Iterator[Change]:
    """Yield a change of each kind in turn, so that a few people show every kind."""
    kinds = [[change for change in changes if change.kind == kind] for kind in KINDS_OF_CHANGE]
    return (change for change in chain.from_iterable(zip_longest(*kinds)) if change)


def _write(changes: Sequence[Change], file: Path) -> None:
    # A path's own `open` takes no opener.
    with open(file, "w", encoding="utf-8", newline="", opener=private_opener) as output:
        writer = csv.writer(output)
        writer.writerow(["entity", "change", "why", "columns"])
        writer.writerows([change.entity, change.kind, change.why, "; ".join(change.columns)] for change in changes)
