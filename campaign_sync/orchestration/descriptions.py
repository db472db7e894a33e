"""The form of the descriptions of assets, checks and jobs: Markdown, for people who send mailings."""

from collections.abc import Iterable

from campaign_sync.config import Configuration
from campaign_sync.domain.message import Language, Message
from campaign_sync.localization.catalogs import translate


def asset_description(language: Language, what: str, numbers: str, if_red: str) -> str:
    """Return the description of an asset or a job.

    Args:
        language: which it is written in.
        what: what it is.
        numbers: where its numbers come from.
        if_red: what to do if it fails.
    """
    description = Message(
        "{what}\n\n**Numbers:** {numbers}\n\n**If it is red:** {remedy}", what=what, numbers=numbers, remedy=if_red
    )
    return translate(description, language)


def check_description(language: Language, display_name: str, rule: str, if_failed: str) -> str:
    """Return the description of a check.

    Args:
        language: which it is written in.
        display_name: of the list or mandator that is checked.
        rule: what the check demands.
        if_failed: what to do if the rule doesn't hold.
    """
    description = Message(
        "{name}: {rule}\n\n**If it is red or yellow:** {remedy}", name=display_name, rule=rule, remedy=if_failed
    )
    return translate(description, language)


def display_names(configuration: Configuration, mandators: Iterable[str]) -> str:
    """Return the display names of mandators that a sensor serves."""
    return ", ".join(configuration.mandators[mandator].display_name(mandator) for mandator in mandators)
