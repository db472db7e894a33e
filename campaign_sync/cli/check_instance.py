"""`campaign-sync check --instance`: what Dagster's instance lacks, and what to add to its `dagster.yaml`."""

import os

import dagster as dg
from rich.console import Console
from rich.text import Text

from campaign_sync.cli.dagster_instance import EMBEDDED_HOME, use_instance
from campaign_sync.cli.documents import InstanceDocument, MissingSetting
from campaign_sync.orchestration.instance_check import lacking_settings, lanes


def check_instance(console: Console) -> None:
    """Print what the instance lacks. Nothing of it has to be there: locks keep runs apart on any instance.

    Raises:
        CommandError: the instance can't be opened.
    """
    document = examine_instance()
    home, lacking, groups = document.home, document.lacking, document.parallel_runs
    if not lacking:
        everything = f"Dagster's instance in {home} has everything that runs rely on, for parallel_runs up to {groups}"
        console.print(Text("✓", "green"), Text(everything))
        return
    for setting in lacking:
        _print(setting, console)
    console.print(
        f"Add these lines to {home}/dagster.yaml, into the sections that it has, and restart daemon and webserver. "
        "Without them no list is harmed.",
        soft_wrap=True,
    )


def examine_instance() -> InstanceDocument:
    """Return what the instance lacks.

    Raises:
        CommandError: the instance can't be opened.
    """
    use_instance(EMBEDDED_HOME)
    with dg.DagsterInstance.get() as instance:
        lacking = tuple(MissingSetting.model_validate(vars(setting)) for setting in lacking_settings(instance))
        groups = lanes(instance)
    return InstanceDocument(home=os.environ["DAGSTER_HOME"], lacking=lacking, parallel_runs=groups)


def _print(setting: MissingSetting, console: Console) -> None:
    console.print(Text("!", "yellow"), Text(f"{setting.section}: {setting.consequence}"), soft_wrap=True)
    console.print(Text(f"\n{setting.remedy}\n"), soft_wrap=True)
