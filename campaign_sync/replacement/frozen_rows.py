"""The rows of a list exactly as they will be sent, and the checks that can stop them before they are stored."""

from dataclasses import dataclass
from datetime import datetime

from campaign_sync.crm.port import CrmSnapshot
from campaign_sync.domain.checks import CheckOutcome, check_encoding, check_snapshot, merge_outcomes
from campaign_sync.domain.parquet_rows import ParquetRows
from campaign_sync.domain.progress import Progress, report
from campaign_sync.domain.rejection import Reason
from campaign_sync.domain.selection import Split
from campaign_sync.domain.snapshot import build_snapshot, not_utf8_columns
from campaign_sync.optimizely.client import Optimizely
from campaign_sync.replacement.list_settings import ListSettings
from campaign_sync.replacement.partial_fill import SizeExamination, examine_size
from campaign_sync.replacement.preflight_checks import check_context
from campaign_sync.replacement.selected_people import list_opt_in
from campaign_sync.storage.state import State


@dataclass(frozen=True)
class FrozenRows:
    """The rows of a snapshot, those that can't be sent, and what was checked of them."""

    split: Split
    not_utf8: int
    """How many rows were left out for a text that isn't UTF-8 in the CRM."""
    size: SizeExamination

    @property
    def outcomes(self) -> tuple[CheckOutcome, ...]:
        """The outcomes of all checks."""
        return self.size.outcomes


def freeze_rows(
    crm: CrmSnapshot,
    vendor: Optimizely,
    state: State,
    settings: ListSettings,
    selection: ParquetRows,
    now: datetime,
    run_id: str,
) -> FrozenRows:
    """Map, normalize, de-duplicate and check the selected people. Records nothing.

    Args:
        crm: the CRM as the selection saw it.
        vendor: the mandator's API session.
        state: the state database.
        settings: the list.
        selection: the rows of the selection.
        now: the present moment.
        run_id: the run whose permission to replace the list by an implausible size would hold.

    Raises:
        CrmError, OptimizelyError, StateError: something can't be read.
    """
    schema = settings.schema
    split = build_snapshot(selection, schema, list_opt_in(crm, settings))
    rows = split.rows
    context = check_context(settings, vendor, crm, state, run_id, before_preflight=True)
    not_utf8 = int((split.rejections["reason"] == Reason.NOT_UTF8.value).sum())
    encoding = check_encoding(not_utf8, len(rows), not_utf8_columns(selection, schema) if not_utf8 else None)
    outcomes = [merge_outcomes(outcome, encoding) for outcome in check_snapshot(rows, schema, context)]
    size = examine_size(settings, vendor, state, rows, context, outcomes, now)
    report(Progress(settings.mandator, settings.name, "checked", len(rows), len(rows)))
    return FrozenRows(split, not_utf8, size)
