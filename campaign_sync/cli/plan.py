"""`campaign-sync plan`: what the next replacement of lists would do. Changes nothing."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from campaign_sync.cli.documents import print_document
from campaign_sync.cli.error_handling import NOTHING_WRONG, SOMETHING_FAILED, CommandError, Terminal
from campaign_sync.cli.output import LocalTime, plain_table, print_problem, print_warning
from campaign_sync.cli.plan_document import plan_document
from campaign_sync.cli.progress_bar import live_progress
from campaign_sync.config import Configuration
from campaign_sync.domain.feedback_age import format_duration
from campaign_sync.domain.rejection import describe_reason
from campaign_sync.inquiry.list_plan import Changes, ListPlan, ListPlanner, PlannedCheck
from campaign_sync.inquiry.plan_sources import open_planner
from campaign_sync.optimizely.client import connect_mandator
from campaign_sync.orchestration.names import approval_job_name
from campaign_sync.replacement.list_approval import approving_command
from campaign_sync.replacement.list_settings import list_settings
from campaign_sync.storage.database import probe_database
from campaign_sync.storage.errors import StateError
from campaign_sync.storage.private_files import private_opener

CHANGES = 3
"""Exit code, where it is asked for, if a list would be different afterwards."""


def print_plan(
    configuration: Configuration,
    mandator: str,
    lists: Sequence[str] | None,
    console: Console,
    *,
    as_json: bool = False,
    file: Path | None = None,
    save: bool = False,
    exit_code: bool = False,
) -> int:
    """Plan the replacement of these lists, print what it would do, and return the exit code.

    Args:
        configuration: has the mandator.
        mandator: its key.
        lists: keys of its lists; None for all.
        console: where to print.
        as_json: whether the plan is printed as JSON.
        file: where it is written to as JSON as well.
        save: whether the plans are stored, so that they can be approved or applied.
        exit_code: whether the exit code says that a list would be different.

    Raises:
        CommandError: the state database can't be used.
        OptimizelyError, CrmError: vendor or CRM can't be reached.
    """
    names = list(dict.fromkeys(lists or configuration.mandators[mandator].lists))
    progress = Terminal(stderr=True) if as_json else console
    with (
        live_progress(progress) if progress.is_terminal else nullcontext(),
        _planner(configuration, mandator, save=save) as planner,
    ):
        plans = [planner.plan(list_settings(configuration, mandator, name)) for name in names]
    document = plan_document(mandator, plans)
    if file:
        with open(file, "w", encoding="utf-8", opener=private_opener) as output:
            output.write(f"{document.model_dump_json(indent=2)}\n")
    if as_json:
        print_document(document)
    else:
        for plan in plans:
            _print(plan, LocalTime(configuration.mandators[mandator].zone), console)
            if save:
                _print_id(plan, console)
        console.print(Text(_summary(plans), "bold"))
    if any(plan.is_refused for plan in plans):
        return SOMETHING_FAILED
    return CHANGES if exit_code and any(plan.has_changes for plan in plans) else NOTHING_WRONG


@contextmanager
def _planner(configuration: Configuration, mandator: str, *, save: bool) -> Iterator[ListPlanner]:
    try:
        probe_database(configuration.storage.state_url.get_secret_value())
    except StateError as error:
        raise CommandError(str(error)) from None
    with (
        connect_mandator(configuration, mandator) as vendor,
        open_planner(configuration, vendor, save=save) as planner,
    ):
        yield planner


def _print(plan: ListPlan, local: LocalTime, console: Console) -> None:
    verdict = Text("would be refused", "red") if plan.is_refused else Text("would run", "green")
    if plan.needs_approval:
        verdict = Text("would wait for an approval", "yellow")
    title = f"{plan.settings.mandator}/{plan.settings.name}"
    console.print(Text.assemble((title, "bold"), f" (recipient list {plan.settings.recipient_list_id}): ", verdict))
    if plan.problem:
        print_problem(console, plan.problem)
    if plan.incomplete_since:
        print_problem(
            console, f"INCOMPLETE since {local(plan.incomplete_since)}: send nothing to it until it is proven"
        )
    for check in _worth_printing(plan.checks):
        sentence = f"{check.outcome.name}: {check.outcome.summary}"
        if check.refuses:
            print_problem(console, sentence)
        elif check.is_condition:
            print_warning(console, f"{sentence}. A run does that before, and would be refused without it")
        else:
            print_warning(console, sentence)
    if plan.rows is None:
        return
    console.print(_numbers(plan))
    if plan.changes:
        proven_at = plan.changes.proven_at
        before = f"the proof of {local(proven_at)}" if proven_at else "the list, which was read back"
        console.print(Text(f"Compared with {before}:"), _changes(plan.changes))
    elif plan.not_compared:
        print_warning(console, f"not compared with what the list holds: {plan.not_compared}")


def _print_id(plan: ListPlan, console: Console) -> None:
    settings = plan.settings
    if plan.id:
        console.print(Text(f"Stored as plan {plan.id}.{' A run needs its approval:' if plan.needs_approval else ''}"))
        if plan.needs_approval:
            console.print(Text(f"  {approving_command(settings, plan.id)}"), soft_wrap=True)
            console.print(
                Text(f"or the job {approval_job_name(settings.mandator, prefix=settings.prefix)} in Dagster's UI.")
            )
    else:
        print_warning(console, "not stored, as no approval could admit it: correct first what refuses it")


def _worth_printing(checks: Sequence[PlannedCheck]) -> list[PlannedCheck]:
    """Return the checks that don't pass, each sentence once: some are made in several steps."""
    by_sentence = {(check.outcome.name, check.outcome.summary): check for check in checks if not check.outcome.passed}
    return list(by_sentence.values())


def _numbers(plan: ListPlan) -> Table:
    table = plain_table("step", "what", Column("people", justify="right"))
    limits = plan.settings.schema.limits
    table.add_row("selection", Text(f"picked by the {plan.settings.pick_title}"), f"{plan.picked:,}")
    for (stage, reason), people in plan.rejected.items():
        table.add_row(stage, Text(f"not sent: {describe_reason(reason)}"), f"{people:,}", style="dim")
    table.add_row("gate", "would be sent", f"{plan.rows:,}", style="bold")
    for baseline in plan.context.baselines if plan.context else ():
        bounds = f"at most {limits.max_shrink:.0%} fewer, {limits.max_growth:.0%} more"
        table.add_row("", Text(f"measured against: {baseline.origin} ({bounds})"), f"{baseline.rows:,}", style="dim")
    table.add_row("vendor", "in the list now", f"{plan.in_list:,}")
    if plan.expected_time is not None:
        table.add_row("", f"filling and proof may take {format_duration(plan.expected_time)}, by the last time", "")
    return table


def _changes(changes: Changes) -> Table:
    table = plain_table("change", "why, or which attribute", Column("people", justify="right"))
    refused = {f"refused by the vendor last time: {why}": people for why, people in changes.refused_before.items()}
    for kind, people, details in (
        ("join", changes.joined, refused),
        ("leave", sum(changes.left.values()), changes.left),
        ("change", changes.changed, changes.changed_attributes),
    ):
        table.add_row(kind, "", f"{people:,}", style="bold")
        for subject, count in details.items():
            table.add_row("", Text(subject), f"{count:,}")
    return table


def _summary(plans: Sequence[ListPlan]) -> str:
    refused = [plan.settings.name for plan in plans if plan.is_refused]
    if refused:
        return f"A run would be refused for {', '.join(refused)}. Nothing was changed."
    return "A run would replace every list. Nothing was changed."
