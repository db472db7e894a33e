"""Texts of others can't steer the terminal: what the commands print is shown as it is."""

import logging

import pytest
from rich.table import Table
from rich.text import Text

from campaign_sync.cli.error_handling import CommandError, Terminal, one_sentence
from campaign_sync.cli.log_format import PrintableFormatter
from campaign_sync.cli.log_warnings import collected_warnings
from campaign_sync_tests.root_log import root_log

EVIL = "[red]Newsletter[/red] [link=https://evil.example]x[/link] :warning: \x1b]0;owned\x9b31m\u202etxt.exe"
SHOWN = r"[red]Newsletter[/red] [link=https://evil.example]x[/link] :warning: \x1b]0;owned\x9b31m\u202etxt.exe"


@pytest.mark.parametrize("wrapped", [str, Text, lambda text: Text(text, "bold")])
def test_a_name_in_a_line_or_a_table_steers_no_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, wrapped: type[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    table = Table("list", box=None)
    table.add_row(wrapped(EVIL))

    Terminal().print(wrapped(EVIL), table)
    Terminal(soft_wrap=True).print(f"✗ {EVIL}", style="red")

    printed = capsys.readouterr().out
    assert "".join(printed.split()).count("".join(SHOWN.split())) == 3
    assert "\x1b]0;" not in printed


def test_an_error_steers_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit), one_sentence():
        raise CommandError(f"the list {EVIL} isn't there")

    assert SHOWN in capsys.readouterr().err


def test_a_log_steers_no_terminal() -> None:
    record = logging.LogRecord("x", logging.WARNING, "x.py", 1, "the list %s isn't there", (EVIL,), None)

    assert PrintableFormatter(logging.BASIC_FORMAT).format(record) == f"WARNING:x:the list {SHOWN} isn't there"


def test_a_command_shows_each_warning_once_in_its_own_way() -> None:
    log = logging.getLogger("invented.crm.rights")
    with collected_warnings("invented") as messages:
        for _ in range(2):
            log.warning("%s may hide records", "sharing")
        log.info("a call")
        with root_log(logging.WARNING) as records:
            log.warning("again")
        assert not records
    assert list(messages) == ["sharing may hide records", "again"]
    with root_log(logging.WARNING) as records:
        log.warning("later")
    assert [record.getMessage() for record in records] == ["later"]
