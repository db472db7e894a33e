"""Tables of an earlier version: `campaign-sync db` upgrades them, and until then everything else refuses to start."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest
from sqlalchemy import create_engine, func, select

from campaign_sync.cli import main
from campaign_sync.cli.run import problems
from campaign_sync.crm.sql import schema
from campaign_sync.storage.errors import RevisionError
from campaign_sync.storage.revisions import revisions
from campaign_sync_tests.installation import ENVIRONMENT, Installation, running_installation
from campaign_sync_tests.time_travel import make_tables

EARLIER, NEWEST = revisions()[0], revisions()[-1]
REFUSED = f"is at revision {EARLIER}, and this version of campaign-sync works with revision {NEWEST}"

Command = Callable[..., tuple[int, str]]


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Installation]:
    with running_installation(tmp_path) as built:
        assert built.configuration  # writes the file
        yield built


@pytest.fixture
def campaign_sync(shop: Installation, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Return a function that runs a command in this process and returns its exit code and output."""
    monkeypatch.chdir(shop.folder)
    for name, value in (ENVIRONMENT | {"COLUMNS": "500"}).items():
        monkeypatch.setenv(name, value)

    def call(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["campaign-sync", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return int(ended.value.code or 0), printed.out + printed.err

    return call


def state_url(shop: Installation) -> str:
    url: str = shop.settings["storage"]["state_url"]
    return url


def test_the_revision_is_shown_before_and_after_an_upgrade(shop: Installation, campaign_sync: Command) -> None:
    code, output = campaign_sync("db", "check")
    assert (code, output) == (
        1,
        "the state database will be created by the first run, or now by `campaign-sync db upgrade`\n",
    )
    make_tables(state_url(shop), EARLIER)
    code, output = campaign_sync("db", "check")
    assert code == 1
    assert REFUSED in output

    assert campaign_sync("db", "upgrade") == (
        0,
        f"The state database was upgraded from revision {EARLIER} to {NEWEST}.\n",
    )
    assert campaign_sync("db", "upgrade") == (
        0,
        f"The state database is at revision {NEWEST} already; nothing was changed.\n",
    )
    assert campaign_sync("db", "check") == (0, "The state database has the tables of this version.\n")

    with create_engine(state_url(shop)).begin() as connection:
        connection.exec_driver_sql("ALTER TABLE lease ADD COLUMN remark TEXT")
    code, output = campaign_sync("db", "check")
    assert code == 1
    assert "column lease.remark is there and shouldn't be; undo the changes to them" in output


@pytest.mark.parametrize(
    "command",
    [("run", "nord"), ("replay", "nord", "newsletter"), ("dev", "--port", "47113"), ("why", "a@example.org")],
    ids=" ".join,
)
def test_no_command_begins_on_tables_of_an_earlier_version(
    shop: Installation, campaign_sync: Command, command: tuple[str, ...]
) -> None:
    make_tables(state_url(shop), EARLIER)
    code, output = campaign_sync(*command)
    assert code == 1
    assert f"{shop.folder}/state.db (storage.state_url) {REFUSED}; back it up first" in output
    assert output.count("\n") == 1
    assert not (shop.folder / ".campaign_sync").exists()


def test_check_reports_tables_of_an_earlier_version(shop: Installation, campaign_sync: Command) -> None:
    make_tables(state_url(shop), EARLIER)
    code, output = campaign_sync("check")
    assert code == 1
    assert REFUSED in output
    assert "logged in to mandator 8100" in output


def test_no_run_changes_anything_at_the_vendor_or_in_the_crm_on_tables_of_an_earlier_version(
    shop: Installation,
) -> None:
    make_tables(state_url(shop), EARLIER)
    shop.leave("person1@example.org")
    events = select(func.count()).select_from(schema.consent_event)
    with shop.crm() as crm:
        before = crm.execute(events).scalar_one()

    for assets in (None, [["nord", "audit"]]):
        result = shop.run(assets=assets)
        assert not result.success
        (problem,) = problems(result)
        assert REFUSED in problem

    with shop.crm() as crm:
        assert crm.execute(events).scalar_one() == before
    assert {call.operation for call in shop.vendor.calls()} <= {"login", "logout", "getCurrentTime"}


def test_sensor_ticks_fail_too_but_the_definitions_load(shop: Installation) -> None:
    make_tables(state_url(shop), EARLIER)
    assert shop.definitions.resolve_job_def("nord_daily_replace")
    with dg.DagsterInstance.ephemeral() as instance:
        for sensor in (shop.sensor("repair"), shop.sensor("feedback_watch")):
            with pytest.raises(Exception, match=REFUSED) as caught:
                sensor(dg.build_sensor_context(instance=instance))
            assert isinstance(caught.value.__cause__ or caught.value, RevisionError)


def test_the_definitions_load_while_the_state_database_is_down(shop: Installation) -> None:
    shop.settings["storage"]["state_url"] = "postgresql://user@127.0.0.1:1/state"
    assert shop.definitions.resolve_job_def("nord_daily_replace")
