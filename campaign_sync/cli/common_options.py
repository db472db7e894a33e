"""The options that every command has, wherever on the command line they are: --config, --quiet, --log-format."""

import functools
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from io import StringIO
from pathlib import Path
from typing import Annotated, Any

import typer

from campaign_sync.cli.error_handling import NOTHING_WRONG, one_sentence
from campaign_sync.cli.log_format import LogFormat, log_to_terminal
from campaign_sync.config import CONFIGURATION_VARIABLE
from campaign_sync.extras import PACKAGE

_PANEL = "Options of every command"

_CONFIG = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help=f"The configuration. By default the file that {CONFIGURATION_VARIABLE} names, else campaign_sync.yaml.",
        rich_help_panel=_PANEL,
    ),
]
_QUIET = Annotated[
    bool, typer.Option("--quiet", help="Print nothing if the exit code is 0, as for cron.", rich_help_panel=_PANEL)
]
_LOG_FORMAT = Annotated[
    LogFormat | None,
    typer.Option("--log-format", help="Of errors and warnings, on stderr.", rich_help_panel=_PANEL),
]


@dataclass(frozen=True)
class CommonOptions:
    """The options that every command has, as given."""

    config: Path | None = None
    quiet: bool = False
    log_format: LogFormat | None = None

    def before(self, later: "CommonOptions") -> "CommonOptions":
        """Return these options, given before the command's name, with those after it, which go before them."""
        return CommonOptions(
            later.config or self.config, later.quiet or self.quiet, later.log_format or self.log_format
        )

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Apply the options to what is done within the context. A child process gets the configuration as well."""
        if self.config:
            os.environ[CONFIGURATION_VARIABLE] = str(self.config)
        log_format = self.log_format or LogFormat.TEXT
        log_to_terminal(log_format)
        with one_sentence(log_format), ExitStack() as output:
            if self.quiet:
                output.enter_context(_output_of_failures())
            yield


class CommandGroup(typer.Typer):
    """Commands that all have the common options."""

    def command(  # type: ignore[override] # the settings are Typer's
        self, name: str | None = None, **settings: Any
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Register a function as a command with the common options. One that has a `context` gets that as well."""
        register = super().command(name, **settings)

        def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
            return register(_with_common_options(function))

        return decorate


def common_options(
    context: typer.Context,
    config: _CONFIG = None,
    quiet: _QUIET = False,
    log_format: _LOG_FORMAT = None,
    show_version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=lambda given: _print_version(given), help="Show it.")
    ] = False,
) -> None:
    """Keep what was given before the command's name."""
    context.obj = CommonOptions(config, quiet, log_format)


def _with_common_options(function: Callable[..., Any]) -> Callable[..., Any]:
    own = inspect.signature(function)
    option = functools.partial(inspect.Parameter, kind=inspect.Parameter.KEYWORD_ONLY)
    further = [
        option("config", default=None, annotation=_CONFIG),
        option("quiet", default=False, annotation=_QUIET),
        option("log_format", default=None, annotation=_LOG_FORMAT),
    ]
    if "context" not in own.parameters:
        further.insert(0, option("context", annotation=typer.Context))

    @functools.wraps(function)
    def command(
        *args: Any,
        context: typer.Context,
        config: Path | None = None,
        quiet: bool = False,
        log_format: LogFormat | None = None,
        **arguments: Any,
    ) -> Any:
        context.obj = context.obj.before(CommonOptions(config, quiet, log_format))
        if "context" in own.parameters:
            arguments["context"] = context
        with context.obj.applied():
            return function(*args, **arguments)

    # What Typer makes options of.
    parameters = [*own.parameters.values(), *further]
    command.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


@contextmanager
def _output_of_failures() -> Iterator[None]:
    """Hold back what is printed within the context, and print it only if the exit code isn't 0."""
    held = StringIO()
    exit_code: object = NOTHING_WRONG
    try:
        with redirect_stdout(held):
            yield
    except typer.Exit as ending:
        exit_code = ending.exit_code
        raise
    except BaseException:
        exit_code = None
        raise
    finally:
        if exit_code != NOTHING_WRONG:
            sys.stdout.write(held.getvalue())


def _print_version(given: bool) -> None:
    if not given:
        return
    try:
        typer.echo(f"{PACKAGE} {version(PACKAGE)}")
    except PackageNotFoundError:  # imported from a folder that nothing installed
        typer.echo(f"{PACKAGE}, of a folder that isn't installed")
    raise typer.Exit
