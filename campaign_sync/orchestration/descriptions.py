"""The form of the descriptions of assets, checks and jobs: Markdown, for people who send mailings."""

from collections.abc import Iterable

from campaign_sync.config import Configuration


def asset_description(what: str, numbers: str, if_red: str) -> str:
    """Return the description of an asset or a job.

    Args:
        what: what it is.
        numbers: where its numbers come from.
        if_red: what to do if it fails.
    """
    return f"{what}\n\n**Numbers:** {numbers}\n\n**If it is red:** {if_red}"


def check_description(display_name: str, rule: str, if_failed: str) -> str:
    """Return the description of a check.

    Args:
        display_name: of the list or mandator that is checked.
        rule: what the check demands.
        if_failed: what to do if the rule doesn't hold.
    """
    return f"{display_name}: {rule}\n\n**If it is red or yellow:** {if_failed}"


def display_names(configuration: Configuration, mandators: Iterable[str]) -> str:
    """Return the display names of mandators that a sensor serves."""
    return ", ".join(configuration.mandators[mandator].display_name(mandator) for mandator in mandators)
