"""The mandators and lists that a command's arguments name."""

import fnmatch
import os
from collections.abc import Iterable, Sequence

from campaign_sync.cli.error_handling import CommandError
from campaign_sync.config import CONFIGURATION_VARIABLE, DEFAULT_PATH, Configuration, ConfigurationError


def require_lists(configuration: Configuration, mandator: str, names: Iterable[str] = ()) -> None:
    """Raise CommandError unless the configuration has this mandator, and these lists of it.

    Raises:
        ConfigurationError: the mandator's settings are broken.
    """
    known = configuration.mandators
    if mandator in configuration.broken_mandators:
        raise ConfigurationError(list(configuration.broken_mandators[mandator].problems))
    if mandator not in known:
        raise _unknown(f"mandator {mandator!r}", known)
    if unknown := [name for name in names if name not in known[mandator].lists]:
        raise _unknown(f"list {', '.join(unknown)} in {mandator}", known[mandator].lists)


def matching_lists(configuration: Configuration, mandator: str, patterns: Sequence[str]) -> list[str]:
    """Return the lists of a mandator that match one of these patterns, such as `newsletter*`; without any, all.

    Raises:
        CommandError: there is no such mandator, or a pattern matches no list.
        ConfigurationError: the mandator's settings are broken.
    """
    require_lists(configuration, mandator)
    known = list(configuration.mandators[mandator].lists)
    matches = {pattern: fnmatch.filter(known, pattern) for pattern in patterns}
    if unknown := [pattern for pattern, names in matches.items() if not names]:
        raise _unknown(f"list {', '.join(unknown)} in {mandator}", known)
    return list(dict.fromkeys(name for names in matches.values() for name in names)) or known


def lists_named(configuration: Configuration, name: str | None) -> list[tuple[str, str]]:
    """Return mandator and list of all lists with this name, `list` or `mandator/list`; without a name, of all lists.

    Raises:
        CommandError: there is none.
        ConfigurationError: there is none, but settings of mandators are broken.
    """
    lists = [(key, list_key) for key, mandator in configuration.mandators.items() for list_key in mandator.lists]
    chosen = [(mandator, key) for mandator, key in lists if name in (None, key, f"{mandator}/{key}")]
    if not chosen:
        refuse_broken(configuration, f"{name or 'a list'} isn't among the others")
        raise _unknown(f"list {name}", (f"{mandator}/{key}" for mandator, key in lists))
    return chosen


def refuse_broken(configuration: Configuration, consequence: str) -> None:
    """Raise ConfigurationError if settings of mandators are broken, with their mistakes and what follows."""
    if broken := configuration.broken_mandators:
        problems = [problem for settings in broken.values() for problem in settings.problems]
        raise ConfigurationError([*problems, f"the settings of {', '.join(broken)} are broken, so {consequence}"])


def _unknown(what: str, known: Iterable[str]) -> CommandError:
    path = os.environ.get(CONFIGURATION_VARIABLE) or DEFAULT_PATH
    return CommandError(f"{path} has no {what}; it has {', '.join(known)}")
