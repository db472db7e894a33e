"""The options that every command has, completion of names, and what cron would mail."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path

import pytest
import typer

import campaign_sync.sandbox
from campaign_sync.cli.commands import app
from campaign_sync_tests import terminal

DEMO = Path(campaign_sync.sandbox.__file__).with_name("demo.yaml")


@pytest.fixture
def environment(tmp_path: Path) -> Mapping[str, str]:
    names = ("DEMO_CRM_URL", "DEMO_STATE_URL")
    urls = {name: f"sqlite:///{tmp_path / name}.db" for name in names}
    return {**urls, "DEMO_OPTIMIZELY_URL": "http://127.0.0.1:9", "DEMO_FRAMES": str(tmp_path), "COLUMNS": "300"}


def campaign_sync_in(
    folder: Path, environment: Mapping[str, str], *arguments: str
) -> "subprocess.CompletedProcess[str]":
    return terminal.run(arguments, folder, environment)


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_imports_nothing_for_rows_databases_or_dagster(option: str) -> None:
    program = (
        "import atexit, sys; from campaign_sync.cli import main;"
        "atexit.register(lambda: print('modules', *sys.modules));"
        f"sys.argv = ['campaign-sync', {option!r}]; main()"
    )
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout

    imported = printed.rpartition("modules")[2].split()
    assert "campaign_sync.config.models" in imported
    assert not {"alembic", "dagster", "numpy", "pandas", "pandera", "pyarrow", "sqlalchemy"} & set(imported)


def test_commands_are_loaded_without_a_search_for_garbage() -> None:
    program = """
import atexit, gc, sys
from campaign_sync.__main__ import main
searches = []
gc.callbacks.append(lambda phase, _: searches.append(phase))
atexit.register(lambda: print("searches", len(searches), "kept", gc.get_freeze_count() > 10_000, gc.isenabled()))
sys.argv = ["campaign-sync", "--version"]
main()
"""
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout

    assert printed.splitlines()[-1] == "searches 0 kept True True"


def test_an_interrupt_while_commands_are_loaded_ends_the_process_without_a_traceback() -> None:
    program = """
import os, signal, sys

class Interrupt:
    def find_spec(self, name, *_):
        if name == "campaign_sync.cli.commands":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupt())
sys.argv = ["campaign-sync", "--version"]
from campaign_sync.__main__ import main
main()
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)

    assert (ended.returncode, ended.stdout, ended.stderr) == (-signal.SIGINT, b"", b"")


def leaves(command: object, path: str = "") -> Iterator[tuple[str, set[str]]]:
    """Yield each command with its options."""
    for name, inner in getattr(command, "commands", {}).items():
        if hasattr(inner, "commands"):
            yield from leaves(inner, f"{path}{name} ")
        else:
            yield f"{path}{name}", {option for parameter in inner.params for option in parameter.opts}


def test_every_command_has_the_common_options() -> None:
    commands = dict(leaves(typer.main.get_command(app)))

    assert {"run", "crm init", "db check", "config schema", "feedback unread"} <= set(commands)
    lacking = {
        name: missing
        for name, options in commands.items()
        if (missing := {"--config", "--quiet", "--log-format"} - options)
    }
    assert lacking == {}


@pytest.mark.thorough
def test_the_version_is_the_installed_ones(tmp_path: Path) -> None:
    done = terminal.run(["--version"], tmp_path, {})

    assert (done.returncode, done.stdout, done.stderr) == (0, f"campaign-sync {version('campaign-sync')}\n", "")


@pytest.mark.thorough
@pytest.mark.parametrize(
    "arguments",
    [
        ("--config", "chosen.yaml", "alarms"),
        ("alarms", "--config", "chosen.yaml"),
        ("--config", "other.yaml", "alarms", "--config", "chosen.yaml"),
    ],
)
def test_config_goes_before_the_variable_wherever_it_is(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = campaign_sync_in(tmp_path, {"CAMPAIGN_SYNC_CONFIG": "named.yaml"}, *arguments)

    assert done.returncode == 2
    assert done.stderr.startswith("chosen.yaml: there is no such file")


@pytest.mark.thorough
def test_quiet_prints_nothing_of_what_succeeds_and_all_of_what_fails(
    tmp_path: Path, environment: Mapping[str, str]
) -> None:
    def shown(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return campaign_sync_in(tmp_path, environment, "--config", str(DEMO), *arguments)

    failing = shown("db", "check", "--quiet")
    assert (failing.returncode, "campaign-sync db upgrade" in failing.stdout, failing.stderr) == (1, True, "")
    upgraded = shown("--quiet", "db", "upgrade")
    assert (upgraded.returncode, upgraded.stdout, upgraded.stderr) == (0, "", "")
    loud = shown("db", "check")
    assert (loud.returncode, loud.stdout) == (0, "The state database has the tables of this version.\n")


@pytest.mark.thorough
def test_errors_are_json_for_a_log_collector(tmp_path: Path) -> None:
    done = campaign_sync_in(tmp_path, {}, "--log-format", "json", "--config", "ümläut\x1b.yaml", "alarms")

    (line,) = done.stderr.splitlines()
    assert "\x1b" not in line
    entry = json.loads(line)
    assert set(entry) == {"event", "level", "logger", "timestamp"}
    assert entry["level"] == "error"
    assert entry["event"].startswith("ümläut\x1b.yaml: there is no such file")


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("run no", ["nord"]),
        ("diff sued ", ["newsletter", "partner"]),
        ("replay nord pro", ["produktnews"]),
        ("feedback unread s", ["sued"]),
    ],
)
def test_names_of_the_configuration_are_completed(
    tmp_path: Path, environment: Mapping[str, str], words: str, offered: list[str]
) -> None:
    words = f"campaign-sync {words}"
    asked = {
        "COMP_WORDS": words,
        "COMP_CWORD": str(words.count(" ")),
        "_CAMPAIGN_SYNC_COMPLETE": "complete_bash",
        "CAMPAIGN_SYNC_CONFIG": str(DEMO),
    }

    done = campaign_sync_in(tmp_path, {**environment, **asked})
    without_file = campaign_sync_in(tmp_path, {**asked, "CAMPAIGN_SYNC_CONFIG": "absent.yaml"})

    assert (done.stdout.split(), done.stderr) == (offered, "")
    assert (without_file.stdout.split(), without_file.stderr) == ([], "")
