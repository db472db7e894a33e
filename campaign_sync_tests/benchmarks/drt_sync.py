# /// script
# requires-python = ">=3.11"
# dependencies = ["drt-core==1.2.1", "psycopg2-binary", "httpx", "lxml"]
# ///
"""The list by drt, the reverse-ETL tool: `python -m campaign_sync_tests.benchmarks.drt_sync FILE CRM URL LIST`.

`drt run` with its sources of SQLite and PostgreSQL, and a destination for this API as its guide describes one: batches
of 1,000. The query and the calls are those of the afternoon's loop.
"""

import os
import sys
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from drt.cli.main import app
from drt.config.base import GenericDestinationConfig
from drt.connectors.registry import register_destination
from drt.destinations.base import SyncResult
from psycopg2.extensions import parse_dsn  # type: ignore[import-untyped]

from campaign_sync_tests.benchmarks.afternoon import BATCH, COLUMNS, RecipientList, Row, Steps, query, recipient
from campaign_sync_tests.benchmarks.plain_vendor import Vendor


class ListConfig(GenericDestinationConfig):  # type: ignore[misc]
    """The destination's settings in the file of a sync."""

    base_url: str
    list_id: int

    def _describe_detail(self) -> str:
        return str(self.list_id)


class ListDestination:
    """A recipient list. The engine calls `load` for one batch after the other; the first one clears the list."""

    sent = 0

    def __init__(self) -> None:
        self._recipients: RecipientList | None = None
        self._addresses: set[str] = set()

    def load(self, records: list[dict[str, Any]], config: ListConfig, _: object) -> SyncResult:
        """Send a batch."""
        if not self._recipients:
            self._recipients = RecipientList(Vendor(config.base_url), config.list_id)
            self._recipients.clear()
        rows: dict[str, Row] = {}
        for record in records:
            address, row = recipient(record["email"], record["id"], *(record[column] for column in COLUMNS))
            if address not in self._addresses:
                rows.setdefault(address, row)
        self._addresses.update(rows)
        self._recipients.add(list(rows.items()))
        ListDestination.sent += len(rows)
        return SyncResult(success=len(rows), skipped=len(records) - len(rows))


def _write_project(folder: Path, crm: str, base_url: str, list_id: str) -> None:
    source = {"type": "sqlite", "database": crm} if Path(crm).is_file() else {"type": "postgres", **parse_dsn(crm)}
    sync = {
        "name": "newsletter",
        "model": "ref('newsletter')",
        "destination": {"type": "recipient_list", "base_url": base_url, "list_id": int(list_id)},
        "sync": {"mode": "full", "batch_size": BATCH, "on_error": "fail"},
    }
    documents = {
        ".drt/profiles.yml": {"crm": source},
        "drt_project.yml": {"name": "newsletter", "version": "1.0", "profile": "crm"},
        "syncs/newsletter.yml": sync,
    }
    for name, document in documents.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(yaml.safe_dump(document), encoding="utf-8")
    (folder / "syncs/models").mkdir()
    (folder / "syncs/models/newsletter.sql").write_text(query(crm), encoding="utf-8")


def main() -> None:
    """Replace the list, and write what it took."""
    file, crm, base_url, list_id = sys.argv[1:]
    steps = Steps()
    register_destination("recipient_list", ListConfig, ListDestination)
    with TemporaryDirectory() as folder:
        _write_project(Path(folder), crm, base_url, list_id)
        os.environ |= {"HOME": folder, "DO_NOT_TRACK": "1"}  # ~/.drt/profiles.yml
        os.chdir(folder)
        steps.end("start")
        if app(["run"], standalone_mode=False):
            raise SystemExit("drt failed")
    steps.end("select and fill")
    steps.write(file, ListDestination.sent, version("drt-core"))


if __name__ == "__main__":
    main()
