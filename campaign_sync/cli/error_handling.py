"""A terminal that texts of others can't steer; for every expected error, one red sentence and an exit code.

Unexpected errors keep their traceback.
"""

import logging
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from campaign_sync.cli.log_format import LogFormat
from campaign_sync.config import ConfigurationError, UnavailableError
from campaign_sync.domain.printable_text import printable
from campaign_sync.errors import CampaignSyncError

NOTHING_WRONG, SOMETHING_FAILED, CONFIGURATION_WRONG, SOMETHING_PENDING = 0, 1, 2, 3
"""Exit codes: all is well; some list was refused or failed; the configuration, a secret or Dagster's instance can't be
used; an erasure isn't done everywhere yet."""


class Terminal(Console):
    """A console that texts of the CRM, the vendor and the configuration can't steer: they are shown as they are.

    Strings have no markup; `Text.from_markup` is for our own. Control characters are shown as escapes.
    """

    def __init__(self, *, stderr: bool = False, soft_wrap: bool = False, quiet: bool = False) -> None:
        super().__init__(stderr=stderr, soft_wrap=soft_wrap, quiet=quiet, markup=False, emoji=False)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render as rich does, with every text made printable before."""
        if isinstance(renderable, str):
            renderable = self.render_str(renderable)
        return super().render(_printable(renderable) if isinstance(renderable, Text) else renderable, options)


_errors = Terminal(stderr=True, soft_wrap=True)


class CommandError(CampaignSyncError):
    """A command can't be executed. The message is for the person who typed it."""

    def __init__(self, message: str, exit_code: int = CONFIGURATION_WRONG) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@contextmanager
def one_sentence(log_format: LogFormat = LogFormat.TEXT) -> Iterator[None]:
    """End the process with one sentence and an exit code on every expected error."""
    try:
        yield
    except (typer.Exit, typer.Abort):
        raise
    except Exception as error:
        exit_code = exit_code_of(error)
        if exit_code is None:
            raise
        if log_format is LogFormat.JSON:
            logging.getLogger(__name__).log(logging.ERROR, "%s", _sentence(error))
        else:
            _errors.print(_sentence(error), style="red", markup=False, highlight=False)
        raise SystemExit(exit_code) from None


def _printable(text: Text) -> Text:
    plain = printable(text.plain)
    if plain == text.plain:
        return text
    return Text(plain, text.style, justify=text.justify, overflow=text.overflow, no_wrap=text.no_wrap, end=text.end)


def in_one_line(error: BaseException) -> str:
    """Return the text of another library's error without its line breaks."""
    return " ".join(str(error).split())


def without_values(text: str) -> str:
    """Return the text of an error about Dagster's settings with `…` for each value that it quotes."""
    return re.sub(r'\b(value )"[^"]*"|\S*(?:@|://)\S*', r"\1…", text, flags=re.IGNORECASE)


def exit_code_of(error: Exception) -> int | None:
    """Return the exit code for an error; None if it is unexpected."""
    if isinstance(error, CommandError):
        return error.exit_code
    if isinstance(error, (ConfigurationError, UnavailableError)):
        return CONFIGURATION_WRONG
    if isinstance(error, CampaignSyncError):
        return SOMETHING_FAILED
    # Importing Dagster takes a second, which only this case needs.
    import yaml
    from dagster import DagsterError

    if isinstance(error, (DagsterError, yaml.YAMLError)):
        return CONFIGURATION_WRONG
    return SOMETHING_FAILED if isinstance(error, OSError) else None


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}"
    known = isinstance(error, (CommandError, ConfigurationError))
    return str(error) if known else in_one_line(error)
