"""Executes a mandator's daily replace in this process, shows how far it is, and tells how it ended."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import uuid4

import dagster as dg
from rich import box
from rich.console import Console
from rich.table import Table

from campaign_sync.automation.daily import daily_job_name
from campaign_sync.cli.display import live_progress
from campaign_sync.configuration import Configuration
from campaign_sync.definitions import build_definitions
from campaign_sync.domain.feedback import FeedbackKind
from campaign_sync.domain.rejection import Reason, Stage
from campaign_sync.state.journal import Replace, ReplaceState
from campaign_sync.state.store import State

SUPPRESSED = frozenset(
    {Reason.BOUNCED, Reason.UNSUBSCRIBED, Reason.BLOCKLISTED, Reason.CONSENT_WITHDRAWN, Reason.SWEPT}
)
"""Reasons that mean: this person must not be written to. All others mean: this row can't be sent."""


@dataclass(frozen=True)
class ListOutcome:
    """One line of the table: what a run did with one list. Counts of people; None where it never came to that."""

    name: str
    selected: int | None
    suppressed: int | None
    rejected: int | None
    replace: Replace | None

    @property
    def proven(self) -> bool:
        """Whether the vendor's list is what it should be."""
        return self.replace is not None and self.replace.state is ReplaceState.PROVEN


def run_daily_replace(
    configuration: Configuration, mandator: str, lists: Sequence[str] | None, console: Console
) -> bool:
    """Run the daily job of `mandator`, restricted to `lists` if given. Returns whether every list was proven."""
    names = list(lists or configuration.mandators[mandator].lists)
    run_id = str(uuid4())
    job = build_definitions(configuration).resolve_job_def(daily_job_name(mandator))
    with dg.DagsterInstance.get() as instance, live_progress(console, mandator):
        result = job.execute_in_process(
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            instance=instance,
            run_id=run_id,
            asset_selection=_assets(mandator, names),
            raise_on_error=False,
        )
    with State(configuration.storage.state_url.get_secret_value()) as state:
        outcomes = [_outcome(state, run_id, mandator, name) for name in names]
    console.print(_table(mandator, outcomes))
    for problem in problems(result):
        console.print(f"✗ {problem}", style="red", markup=False, highlight=False, soft_wrap=True)
    return result.success and all(outcome.proven for outcome in outcomes)


def _assets(mandator: str, lists: Sequence[str]) -> list[dg.AssetKey]:
    shared = [*(kind.value for kind in FeedbackKind), "suppression_state"]
    chain = ["selection", "snapshot", "recipient_list"]
    return [
        *(dg.AssetKey([mandator, name]) for name in shared),
        *(dg.AssetKey([mandator, asset, name]) for name in lists for asset in chain),
    ]


def _outcome(state: State, run_id: str, mandator: str, name: str) -> ListOutcome:
    counts = state.ledger.counts(run_id, mandator, name)
    snapshot = state.snapshots.latest(mandator, name)
    rows = snapshot.rows if snapshot and snapshot.run_id == run_id else 0
    before_sending = sum(count for (stage, _), count in counts.items() if stage in (Stage.SELECTION, Stage.SNAPSHOT))
    suppressed = sum(count for (_, reason), count in counts.items() if reason in SUPPRESSED)
    if not rows and not counts:
        return ListOutcome(name, None, None, None, None)
    return ListOutcome(
        name=name,
        selected=rows + before_sending,
        suppressed=suppressed,
        rejected=sum(counts.values()) - suppressed,
        replace=state.journal.of_run(run_id, name),
    )


def _table(mandator: str, outcomes: Sequence[ListOutcome]) -> Table:
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
        table.add_row(outcome.name, *map(_count, (*counts, sent, in_list)), _proof(outcome))
    return table


def _count(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def _proof(outcome: ListOutcome) -> str:
    if outcome.replace is None:
        return "[yellow]not touched[/yellow]"
    if outcome.proven:
        return f"[green]✓ {outcome.replace.proof}[/green]"
    return "[red]✗ INCOMPLETE[/red]" if outcome.replace.cleared_at else "[yellow]not touched[/yellow]"


def problems(result: dg.ExecuteInProcessResult) -> list[str]:
    """What went wrong, failed checks first; assets that failed for one and the same reason share a sentence."""
    told: dict[str, list[str]] = {}
    for check in result.get_asset_check_evaluations():
        if not check.passed and check.severity is dg.AssetCheckSeverity.ERROR:
            told.setdefault(f"{check.check_name} – {check.description}", []).append("/".join(check.asset_key.path))
    for event in result.get_step_failure_events():
        reason = _reason(event)
        if reason:
            told.setdefault(reason, []).append((event.step_key or "run").replace("__", "/"))
    return [f"{', '.join(places)}: {reason}" for reason, places in told.items()]


def _reason(event: dg.DagsterEvent) -> str | None:
    """The sentence of a failed step; None where a failed check has told it already."""
    failure = event.step_failure_data
    if failure.user_failure_data and failure.user_failure_data.description:
        return failure.user_failure_data.description
    if failure.error is None or failure.error.cls_name == "DagsterAssetCheckFailedError":
        return None
    return f"{failure.error.cls_name}; the run's page in Dagster's UI has the details"
