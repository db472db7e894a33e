"""The outcomes of a run for each list, and the table that shows them at its end."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import dagster as dg
from rich.table import Column, Table
from rich.text import Text

from campaign_sync.cli.documents import ListResult
from campaign_sync.cli.output import plain_table
from campaign_sync.domain.rejection import Reason
from campaign_sync.orchestration.asset_keys import list_keys
from campaign_sync.orchestration.metadata_labels import unlabelled
from campaign_sync.orchestration.run_result import RunResult
from campaign_sync.storage.replacements import Replacement, Replacements, ReplacementState

SUPPRESSED = frozenset(
    {
        Reason.BOUNCED,
        Reason.UNSUBSCRIBED,
        Reason.BLOCKLISTED,
        Reason.CONSENT_WITHDRAWN,
        Reason.SWEPT,
        Reason.SUPPRESSED_MEANWHILE,
        Reason.ON_UNSUBSCRIBE_LIST,
        Reason.WITHDRAWAL_VANISHED,
        Reason.UNDATED_REGRANT,
        Reason.ERASED,
        Reason.GONE_FROM_CRM,
        Reason.EXCLUDED,
    }
)
"""Reasons that mean: this person must not be written to. All others mean: this row can't be sent."""

_TURNED_AWAY = re.compile(r"(?:rejected|dropped|refused|swept): (?P<reason>.+)")
"""Metadata of the assets of a list that counts people who don't get in."""


@dataclass(frozen=True)
class ListOutcome:
    """The outcome of a run for one list. Counts of people; None if the run didn't get that far."""

    name: str
    selected: int | None
    suppressed: int | None
    rejected: int | None
    replacement: Replacement | None

    @property
    def proven(self) -> bool:
        """Whether the vendor's list was proven to be what it should be."""
        return self.replacement is not None and self.replacement.state is ReplacementState.PROVEN

    @property
    def incomplete(self) -> bool:
        """Whether the vendor's list was cleared and not proven since."""
        return self.replacement is not None and self.replacement.cleared_at is not None and not self.proven


def list_outcome(
    result: RunResult, attempts: Sequence[str], journal: Replacements, mandator: str, name: str, prefix: str = ""
) -> ListOutcome:
    """Return the outcome of a run for a list: counts from its materializations, the rest from its journal.

    Args:
        result: the run.
        attempts: its id, and those of the runs by which Dagster retried it.
        journal: of all replacements.
        mandator: key of the list's mandator.
        name: key of the list.
        prefix: of the code location.
    """
    selected, suppressed, rejected = None, 0, 0
    for metadata in _materialized(result, list_keys(mandator, name, prefix=prefix)):
        selected = metadata.get("picked", selected)
        for key, count in metadata.items():
            turned_away = _TURNED_AWAY.fullmatch(key)
            if turned_away and turned_away["reason"] in SUPPRESSED:
                suppressed += count
            elif turned_away:
                rejected += count
    replacements = (journal.of_run(run_id, name) for run_id in reversed(attempts))
    replacement = next((newest for newest in replacements if newest), None)
    if selected is None:
        return ListOutcome(name, None, None, None, replacement)
    return ListOutcome(name, selected, suppressed, rejected, replacement)


def result_of(outcome: ListOutcome) -> ListResult:
    """Return the outcome as a part of a document."""
    replacement = outcome.replacement
    return ListResult(
        name=outcome.name,
        state="proven" if outcome.proven else "incomplete" if outcome.incomplete else "not_touched",
        selected=outcome.selected,
        suppressed=outcome.suppressed,
        rejected=outcome.rejected,
        sent=replacement.sent if replacement else None,
        in_list=replacement.in_list if replacement else None,
        proof=replacement.proof if replacement and outcome.proven else None,
        incomplete_since=replacement.cleared_at if replacement and outcome.incomplete else None,
    )


def outcome_table(mandator: str, outcomes: Sequence[ListOutcome]) -> Table:
    """Return the outcomes as a table with a line for each list."""
    headings = ("selected", "suppressed", "rejected", "sent", "in list")
    table = plain_table(
        Column("list", no_wrap=True),
        *(Column(heading, justify="right", no_wrap=True) for heading in headings),
        Column("proof", no_wrap=True),
        title=f"Recipient lists of {mandator}",
    )
    for outcome in outcomes:
        replacement = outcome.replacement
        counts = (outcome.selected, outcome.suppressed, outcome.rejected)
        sent, in_list = (replacement.sent, replacement.in_list) if replacement else (None, None)
        table.add_row(Text(outcome.name), *map(_count, (*counts, sent, in_list)), _proof(outcome))
    return table


def _materialized(result: RunResult, keys: Sequence[dg.AssetKey]) -> list[Mapping[str, int]]:
    """Return the numbers in the metadata of a list's assets, in the order of the chain."""
    return [
        {
            key: value.value
            for key, value in unlabelled(event.materialization.metadata).items()
            if isinstance(value.value, int)
        }
        for event in result.get_asset_materialization_events()
        if event.asset_key in keys
    ]


def _count(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def _proof(outcome: ListOutcome) -> Text:
    if outcome.replacement is not None and outcome.proven:
        return Text(f"✓ {outcome.replacement.proof}", "green")
    return Text("✗ INCOMPLETE", "red") if outcome.incomplete else Text("not touched", "yellow")
