"""What a run did with each list, as the table that ends a replace."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import dagster as dg
from rich import box
from rich.table import Table
from rich.text import Text

from campaign_sync.domain.rejection import Reason
from campaign_sync.orchestration.asset_keys import list_keys
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
        Reason.GONE_FROM_CRM,
    }
)
"""Reasons that mean: this person must not be written to. All others mean: this row can't be sent."""

_TURNED_AWAY = re.compile(r"(?:rejected|dropped|refused|swept): (?P<reason>.+)")
"""Metadata of the assets of a list that counts people who don't get in."""


@dataclass(frozen=True)
class ListOutcome:
    """One line of the table: what a run did with one list. Counts of people; None where it never came to that."""

    name: str
    selected: int | None
    suppressed: int | None
    rejected: int | None
    replace: Replacement | None

    @property
    def proven(self) -> bool:
        """Whether the vendor's list is what it should be."""
        return self.replace is not None and self.replace.state is ReplacementState.PROVEN

    @property
    def incomplete(self) -> bool:
        """Whether the vendor's list was cleared and isn't known to be whole again."""
        return self.replace is not None and self.replace.cleared_at is not None and not self.proven


def list_outcome(result: dg.ExecuteInProcessResult, journal: Replacements, mandator: str, name: str) -> ListOutcome:
    """What this run, and no other, did with a list: counts from its own materializations, the rest from its journal."""
    selected, suppressed, rejected = None, 0, 0
    for metadata in _materialized(result, mandator, name):
        selected = metadata.get("picked", selected)
        for key, count in metadata.items():
            turned_away = _TURNED_AWAY.fullmatch(key)
            if turned_away and turned_away["reason"] in SUPPRESSED:
                suppressed += count
            elif turned_away:
                rejected += count
    replace = journal.of_run(result.run_id, name)
    if selected is None:
        return ListOutcome(name, None, None, None, replace)
    return ListOutcome(name, selected, suppressed, rejected, replace)


def outcome_table(mandator: str, outcomes: Sequence[ListOutcome]) -> Table:
    """The outcomes, a line each."""
    title = f"Recipient lists of {mandator}"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("list", no_wrap=True)
    for heading in ("selected", "suppressed", "rejected", "sent", "in list"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("proof", no_wrap=True)
    for outcome in outcomes:
        replace = outcome.replace
        counts = (outcome.selected, outcome.suppressed, outcome.rejected)
        sent, in_list = (replace.sent, replace.in_list) if replace else (None, None)
        table.add_row(Text(outcome.name), *map(_count, (*counts, sent, in_list)), _proof(outcome))
    return table


def _materialized(result: dg.ExecuteInProcessResult, mandator: str, name: str) -> list[Mapping[str, int]]:
    """The numbers that the assets of a list told about themselves, in the order of the chain."""
    keys = list_keys(mandator, name)
    return [
        {key: value.value for key, value in event.materialization.metadata.items() if isinstance(value.value, int)}
        for event in result.get_asset_materialization_events()
        if event.asset_key in keys
    ]


def _count(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def _proof(outcome: ListOutcome) -> Text:
    if outcome.replace is not None and outcome.proven:
        return Text(f"✓ {outcome.replace.proof}", "green")
    return Text("✗ INCOMPLETE", "red") if outcome.incomplete else Text("not touched", "yellow")
