"""Finds lists that were left half full by a replacement that the state database has no record of.

That happens where the state database was lost, or restored from a backup, after a replacement had failed half-way. All
that can be known then is what the list holds, compared with the snapshot that is about to be sent.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import pandas as pd

from campaign_sync.domain.checks import CheckContext, CheckOutcome
from campaign_sync.domain.message import Message, join_messages
from campaign_sync.domain.row_digests import row_digests
from campaign_sync.domain.size_limits import exceeds_growth, may_be_partial_fill
from campaign_sync.optimizely.client import Optimizely
from campaign_sync.replacement.list_settings import ListSettings
from campaign_sync.replacement.progress import rows_of
from campaign_sync.replacement.proof import people
from campaign_sync.replacement.read_back import READ_BACK_ROWS, read_back
from campaign_sync.replacement.read_columns import ReadColumns
from campaign_sync.storage.recipient_lists import PartialFill
from campaign_sync.storage.state import State

SIZE = "plausible_size"
"""The check that refuses a list for how much it would grow."""


@dataclass(frozen=True)
class SizeExamination:
    """The outcomes of a snapshot's checks, and whether the list looks half full where they refuse it for its growth."""

    outcomes: tuple[CheckOutcome, ...]
    is_known: bool = False
    """Whether the list was compared with the snapshot; else nothing is known of it."""
    partial_fill: PartialFill | None = None
    """What the list holds if it looks half full."""

    def record(self, settings: ListSettings, state: State) -> None:
        """Record what was found, so that alerts report it until the list is proven or found otherwise."""
        if self.partial_fill:
            state.recipient_lists.record_partial_fill(self.partial_fill)
        elif self.is_known:
            state.recipient_lists.clear_partial_fill(settings.mandator, settings.name)


def examine_size(
    settings: ListSettings,
    vendor: Optimizely,
    state: State,
    rows: pd.DataFrame,
    context: CheckContext,
    outcomes: Sequence[CheckOutcome],
    now: datetime,
) -> SizeExamination:
    """Return the outcomes of a snapshot's checks; a list refused for growing too much also says if it looks half full.

    A snapshot that is far too large looks the same, so the list stays refused until an operator accepts the size.

    Raises:
        OptimizelyError: the list can't be read.
        StateError: the state database can't be used.
    """
    unchanged = SizeExamination(tuple(outcomes))
    stopped = {outcome.name for outcome in outcomes if outcome.stops}
    if stopped != {SIZE} or not exceeds_growth(len(rows), settings.schema.limits, context.baselines):
        return unchanged
    list_id = settings.recipient_list_id
    if state.replacements.incomplete(
        settings.mandator, settings.name, list_id
    ):  # known to be half full, and reported as such
        return unchanged
    held, known = _count(settings, vendor, rows)
    if not may_be_partial_fill(held, known, len(rows), settings.schema.limits):
        return replace(unchanged, is_known=True)
    finding = Message(
        "{known} of the {held} recipients that the list holds are among these {rows}, so it looks half full, left so "
        "by a replace that the state database (storage.state_url) has no record of: was it lost, or restored from a "
        "backup? Send nothing to the list. If these {rows} are right, fill it up: {command}",
        known=known,
        held=held,
        rows=len(rows),
        command=f"`campaign-sync run {settings.mandator} --list {settings.name} --accept-size REASON`",
    )
    doubted = (
        replace(outcome, summary=join_messages("; ", [outcome.summary, finding])) if outcome.name == SIZE else outcome
        for outcome in outcomes
    )
    partial_fill = PartialFill(settings.mandator, settings.name, held, len(rows), now, list_id)
    return SizeExamination(tuple(doubted), is_known=True, partial_fill=partial_fill)


def _count(settings: ListSettings, vendor: Optimizely, rows: pd.DataFrame) -> tuple[int, int]:
    """Return how many recipients the list holds, and how many of them are among these rows by their entity."""
    count = vendor.recipients.count(settings.recipient_list_id)
    on_page = rows_of(settings, "read the list", count)
    columns = ReadColumns.configured(settings)
    digests = row_digests(rows, columns.snapshot_columns)
    contents = read_back(columns, vendor, count, digests, on_page, READ_BACK_ROWS)
    unknown = ~people(contents.others, settings.schema).isin(people(rows, settings.schema))
    return len(contents), len(contents) - int(unknown.sum())
