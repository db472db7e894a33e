"""Finds out whether a list was left half full by a replace that the journal doesn't know of.

That happens where the state database was lost, or restored from a backup, after a replace had broken off. All that can
be known then is what the list holds, compared with the snapshot that is about to be sent.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import pandas as pd

from campaign_sync.domain.checks import CheckContext, CheckOutcome
from campaign_sync.domain.row_digests import row_digests
from campaign_sync.domain.size_limits import looks_half_full, outgrows
from campaign_sync.optimizely.client import Optimizely
from campaign_sync.replacement.progress import rows_of
from campaign_sync.replacement.proof import people
from campaign_sync.replacement.read_back import READ_BACK_ROWS, read_back
from campaign_sync.replacement.target import Target
from campaign_sync.storage.recipient_lists import PartialFill
from campaign_sync.storage.state import State

SIZE = "plausible_size"
"""The check that refuses a list for how much it would grow."""


def with_size_doubts(
    target: Target,
    vendor: Optimizely,
    state: State,
    rows: pd.DataFrame,
    around: CheckContext,
    outcomes: Sequence[CheckOutcome],
    now: datetime,
) -> list[CheckOutcome]:
    """The outcomes of a snapshot's checks; one that is refused for growing too much also says if it looks half full.

    What is found is noted, so that alarms tell of it until the list is proven or found otherwise. A snapshot that is
    far too large looks the same, so the list stays refused until somebody accepts the size.

    Raises:
        OptimizelyError: the list can't be read.
        StateError: the state database can't be used.
    """
    stopped = {outcome.name for outcome in outcomes if outcome.stops}
    if stopped != {SIZE} or not outgrows(len(rows), target.contract.limits, around.baselines):
        return list(outcomes)
    if state.replacements.incomplete(target.mandator, target.name):  # known to be half full, and told as such
        return list(outcomes)
    held, known = _held(target, vendor, rows)
    if not looks_half_full(held, known, len(rows), target.contract.limits):
        state.recipient_lists.clear_partial_fill(target.mandator, target.name)
        return list(outcomes)
    state.recipient_lists.record_partial_fill(PartialFill(target.mandator, target.name, held, len(rows), now))
    finding = (
        f"{known} of the {held} recipients that the list holds are among these {len(rows)}, so it looks half full, "
        "left so by a replace that the state database (storage.state_url) has no record of: was it lost, or restored "
        f"from a backup? Send nothing to the list. If these {len(rows)} are right, fill it up: `campaign-sync run "
        f"{target.mandator} --list {target.name} --accept-size REASON`"
    )
    return [
        replace(outcome, summary=f"{outcome.summary}; {finding}") if outcome.name == SIZE else outcome
        for outcome in outcomes
    ]


def _held(target: Target, vendor: Optimizely, rows: pd.DataFrame) -> tuple[int, int]:
    """How many recipients the list holds, and how many of them are people of these rows, whatever their attributes."""
    count = vendor.recipients.count(target.recipient_list_id)
    on_page = rows_of(target, "read the list", count)
    held = read_back(target, vendor, count, row_digests(rows, target.read_columns), on_page, READ_BACK_ROWS)
    strangers = ~people(held.others, target.contract).isin(people(rows, target.contract))
    return len(held), len(held) - int(strangers.sum())
