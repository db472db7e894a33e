"""Names of the configuration that a shell offers to complete; none of a file that has mistakes."""

from collections.abc import Iterable

import typer

from campaign_sync.config import Configuration, load_configuration
from campaign_sync.errors import CampaignSyncError


def complete_mandator(incomplete: str) -> list[str]:
    """Return the mandators that begin like this."""
    configuration = _configuration()
    return _beginning(incomplete, configuration.mandators if configuration else ())


def complete_list(context: typer.Context, incomplete: str) -> list[str]:
    """Return the lists that begin like this, of the mandator that the command line names; without one, of all."""
    configuration = _configuration()
    if configuration is None:
        return []
    named = context.params.get("mandator")
    mandators = (
        [configuration.mandators[named]] if named in configuration.mandators else configuration.mandators.values()
    )
    return _beginning(incomplete, sorted({name for mandator in mandators for name in mandator.lists}))


def _configuration() -> Configuration | None:
    try:
        return load_configuration(whole=False)
    except (CampaignSyncError, OSError):
        return None


def _beginning(incomplete: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]
