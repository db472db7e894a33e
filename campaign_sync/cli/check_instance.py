"""`campaign-sync check --instance`: what Dagster's instance lacks, and what to add to its `dagster.yaml`."""

import os

import dagster as dg
from rich.console import Console
from rich.text import Text

from campaign_sync.cli.dagster_instance import EMBEDDED_HOME, use_instance
from campaign_sync.cli.documents import InstanceDocument, MissingSetting, SettingWithoutEffect
from campaign_sync.cli.output import print_warning
from campaign_sync.config import ConfigurationError, load_configuration
from campaign_sync.orchestration.instance_check import ineffective_settings, lacking_settings, lanes


def check_instance(console: Console) -> None:
    """Print what the instance lacks. Nothing of it has to be there: locks keep runs apart on any instance.

    Raises:
        CommandError: the instance can't be opened.
    """
    document = examine_instance()
    home, lacking, groups = document.home, document.lacking, document.parallel_runs
    if document.without_effect is None:
        print_warning(
            console,
            "the configuration can't be read, so its settings aren't compared with it: `campaign-sync check` says why",
        )
    for setting in document.without_effect or ():
        console.print(Text("!", "yellow"), Text(f"{setting.place}: {setting.reason}"), soft_wrap=True)
    if not lacking:
        everything = f"Dagster's instance in {home} has everything that runs rely on, for parallel_runs up to {groups}"
        console.print(Text("✓", "green"), Text(everything))
        return
    for missing in lacking:
        _print(missing, console)
    console.print(
        f"Add these lines to {home}/dagster.yaml, into the sections that it has, and restart daemon and webserver. "
        "Without them no list is harmed.",
        soft_wrap=True,
    )


def examine_instance() -> InstanceDocument:
    """Return what the instance lacks, for the mandators of the configuration where that can be read.

    Raises:
        CommandError: the instance can't be opened.
    """
    use_instance(EMBEDDED_HOME)
    try:
        mandators = load_configuration(whole=False).mandators
    except ConfigurationError:
        mandators = None  # an owner of the instance need not have it
    with dg.DagsterInstance.get() as instance:
        lacking = lacking_settings(instance, (mandators or {}).values())
        without_effect = ineffective_settings(instance, mandators) if mandators is not None else None
        return InstanceDocument(
            home=os.environ["DAGSTER_HOME"],
            lacking=tuple(MissingSetting.model_validate(vars(setting)) for setting in lacking),
            without_effect=None
            if without_effect is None
            else tuple(SettingWithoutEffect.model_validate(vars(setting)) for setting in without_effect),
            parallel_runs=lanes(instance),
        )


def _print(setting: MissingSetting, console: Console) -> None:
    console.print(Text("!", "yellow"), Text(f"{setting.section}: {setting.consequence}"), soft_wrap=True)
    console.print(Text(f"\n{setting.remedy}\n"), soft_wrap=True)
