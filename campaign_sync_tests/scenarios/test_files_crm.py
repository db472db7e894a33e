"""The days of a CRM that exports files over SFTP: its deliveries decide, and feedback comes back as files."""

import csv
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from sqlalchemy import select

from campaign_sync.cli.prove import print_proof
from campaign_sync.cli.run import problems
from campaign_sync.crm.sql import schema
from campaign_sync_tests import terminal
from campaign_sync_tests.crm.files.deliveries import deliver
from campaign_sync_tests.delivered_files.sftp_server import PASSWORD, USERNAME, SftpServer, serve_sftp
from campaign_sync_tests.installation import ADDRESSES, Installation
from campaign_sync_tests.reports.pages import report_of

TABLES = ("contact", "lead", "account", "opt_in", "consent_event", "address_state", "marketing_list",
          "marketing_list_member", "report")  # fmt: skip


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SftpServer]:
    (tmp_path / "sap" / "outbox" / "in").mkdir(parents=True)
    with serve_sftp(tmp_path / "sap") as running:
        yield running


@pytest.fixture
def outbox(installation: Installation, server: SftpServer) -> Path:
    """Configure the installation for files over SFTP, and deliver its CRM; return the folder of deliveries."""
    installation.environment |= {"SAP_USER": USERNAME, "SAP_PASSWORD": PASSWORD}
    installation.settings["crm"] = {
        "adapter": "files",
        "url": server.url,
        "write_back": f"{server.url}/in",
        "username": {"env": "SAP_USER"},
        "password": {"env": "SAP_PASSWORD"},
        "known_hosts": server.known_hosts(server.folder / "known_hosts"),
        "complete": "*/manifest.json",
        "tables": {name: {} for name in TABLES},
    }
    export(installation, server.folder / "outbox")
    return server.folder / "outbox"


def export(installation: Installation, outbox: Path, at: datetime | None = None) -> None:
    """Deliver the whole CRM into a new subfolder, as its export does."""
    moment = at or datetime.now(UTC)
    tables: dict[str, list[list[str]]] = {}
    with installation.crm() as crm:
        for name in TABLES:
            table = schema.metadata.tables[name]
            rows = crm.execute(select(table)).all()
            tables[name] = [list(table.c.keys()), *([_text(value) for value in row] for row in rows)]
    tables["report_contact"] = tables["contact"]
    deliver(outbox / f"{moment:%Y%m%dT%H%M%S%f}", tables, moment)


def _text(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str("" if value is None else value)


def withdrawals(outbox: Path) -> list[str]:
    """Return whom the files of withdrawals are about."""
    entity_ids: list[str] = []
    for file in sorted((outbox / "in").glob("withdrawals_*.csv")):
        with file.open(encoding="utf-8", newline="") as stream:
            entity_ids += [row["entity_id"] for row in csv.DictReader(stream)]
    return entity_ids


def test_a_delivery_fills_the_list_and_feedback_comes_back_as_a_file(installation: Installation, outbox: Path) -> None:
    result = installation.day()
    assert installation.addresses() == ADDRESSES
    [selection] = result.asset_materializations_for_node("nord__newsletter_selection")
    assert {"people of", "consents of"} <= set(selection.metadata)
    [proof] = [evaluation for evaluation in result.get_asset_check_evaluations() if evaluation.check_name == "proof"]
    assert {"people of", "consents of", "age of the data"} <= set(proof.metadata)
    reported = report_of(installation).lists[0].proof
    assert reported is not None
    assert reported.data_of is not None
    assert reported.data_of.timestamp() == proof.metadata["people of"].value
    shown = StringIO()
    print_proof(
        installation.configuration, "contact:c1", [("nord", "newsletter")], None, Console(file=shown, width=300)
    )
    assert "from people of" in shown.getvalue()

    installation.leave(ADDRESSES[0])
    export(installation, outbox)
    installation.day()
    assert installation.addresses() == ADDRESSES[1:]
    assert withdrawals(outbox) == ["c1"]

    export(installation, outbox)  # the CRM hasn't imported the file yet
    installation.day()
    assert installation.addresses() == ADDRESSES[1:]
    assert withdrawals(outbox) == ["c1"]


@pytest.mark.long
def test_who_opts_out_in_the_crm_is_out_with_the_next_delivery(installation: Installation, outbox: Path) -> None:
    installation.day()
    installation.consent("c2", "newsletter-nord", "withdrawn", datetime.now(UTC) - timedelta(minutes=1))
    export(installation, outbox)
    installation.day()
    assert installation.addresses() == [ADDRESSES[0], *ADDRESSES[2:]]


def test_a_delivery_that_is_cut_short_leaves_the_list_as_it_is(installation: Installation, outbox: Path) -> None:
    installation.day()
    export(installation, outbox)
    newest = max(folder for folder in outbox.iterdir() if folder.name != "in")
    content = (newest / "contact.csv").read_bytes()
    (newest / "contact.csv").write_bytes(content[: len(content) // 2])
    clears = installation.clears()
    result = installation.run()
    assert not result.success
    assert f"{newest.name}/contact.csv isn't the file that the manifest describes" in str(problems(result))
    assert installation.addresses() == ADDRESSES
    assert installation.clears() == clears


def test_check_says_of_when_the_delivery_is_and_that_an_old_one_isnt_used(
    installation: Installation, outbox: Path
) -> None:
    said = check(installation)
    assert "the newest delivery is complete, and feedback can be left for the CRM" in said
    assert f"its people and lists are of {datetime.now(UTC):%Y-%m-%d}" in said, said
    for folder in outbox.glob("2*"):
        (folder / "manifest.json").unlink()
    export(installation, outbox, datetime.now(UTC) - timedelta(hours=27))
    assert "older than crm.max_age (26 h)" in (said := check(installation)), said


def check(installation: Installation) -> str:
    """Return what `campaign-sync check` prints, in one line."""
    assert installation.configuration  # writes the file
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("DAGSTER_", "CAMPAIGN_SYNC_"))}
    done = terminal.run(("check",), installation.folder, inherited | installation.environment | {"COLUMNS": "150"})
    return " ".join(done.stdout.replace("│", " ").split())
