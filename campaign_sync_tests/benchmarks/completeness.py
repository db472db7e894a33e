"""The cost of comparing rows with the CRM's count: `python -m campaign_sync_tests.benchmarks.completeness [ROWS]`.

A selection, who consents, and the suppressions of a CRM on SQLite and on PostgreSQL. One in ten has withdrawn.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

from rich.console import Console
from rich.table import Column, Table
from sqlalchemy import Connection, Select, insert, text

from campaign_sync.crm.port import Pick
from campaign_sync.crm.sql import crm_snapshot, schema
from campaign_sync.crm.sql.adapter import SqlCrm
from campaign_sync.crm.sql.crm_snapshot import SqlSnapshot
from campaign_sync.crm.sql.engine import crm_engine
from campaign_sync.crm.sql.reader import AnyRow, SqlReader
from campaign_sync_tests import databases
from campaign_sync_tests.benchmarks.arguments import parse_numbers
from campaign_sync_tests.installation import LONG_AGO

_AT_ONCE = 10_000

_COLUMNS = ["first_name", "last_name", "city"]


class TimedReader(SqlReader):
    """Measures how long counting takes."""

    counting = 0.0

    def rows(self, query: Select[Any], doing: str) -> list[AnyRow]:
        """Return the rows."""
        begin = time.perf_counter()
        rows = super().rows(query, doing)
        if doing.startswith("counting after"):
            TimedReader.counting += time.perf_counter() - begin
        return rows


WORK: dict[str, Callable[[SqlSnapshot], object]] = {
    "select": lambda crm: sum(len(frame) for frame in crm.select(Pick("marketing_list", "All"), "news", _COLUMNS)),
    "consenting": lambda crm: sum(map(len, crm.consenting("news"))),
    "suppression": lambda crm: len(crm.suppression("nord")),
}


def fill(url: str, rows: int) -> None:
    """Create a CRM with that many people in one list."""
    schema.create_crm(url)
    with crm_engine(url).begin() as connection:
        connection.execute(
            insert(schema.opt_in),
            {"opt_in_id": "news", "mandator": "nord", "description": "News", "media_type": "email"},
        )
        connection.execute(insert(schema.marketing_list), {"id": "all", "name": "All", "kind": "static"})
        for start in range(0, rows, _AT_ONCE):
            _add_people(connection, range(start, min(rows, start + _AT_ONCE)))
    with crm_engine(url).connect() as connection:
        connection.execute(text("ANALYZE"))
        connection.commit()


def _add_people(connection: Connection, numbers: range) -> None:
    people = [
        {
            "id": f"n{number}",
            "email": f"n{number}@example.org",
            "first_name": "Jürgen",
            "last_name": "Groß",
            "city": "Köln",
        }
        for number in numbers
    ]
    members = [{"marketing_list_id": "all", "entity_type": "contact", "entity_id": f"n{number}"} for number in numbers]
    event = {"entity_type": "contact", "opt_in_id": "news", "occurred_at": LONG_AGO, "source": "form"}
    events = [
        {"id": f"{kind}{number}", "entity_id": f"n{number}", "kind": kind, **event}
        for number in numbers
        for kind in (("granted", "withdrawn") if number % 10 == 0 else ("granted",))
    ]
    for table, values in (
        (schema.contact, people),
        (schema.marketing_list_member, members),
        (schema.consent_event, events),
    ):
        connection.execute(insert(table), values)


def compare(database: str, crm: SqlCrm, table: Table) -> None:
    """Add the rows of a database to the table."""
    for name, work in WORK.items():
        TimedReader.counting = 0.0
        with mock.patch.object(crm_snapshot, "SqlReader", TimedReader), crm.snapshot() as snapshot:
            begin = time.perf_counter()
            work(snapshot)
            whole = time.perf_counter() - begin
        uncounted = whole - TimedReader.counting
        table.add_row(database, name, f"{uncounted:.2f}", f"{TimedReader.counting:.2f}", f"{whole / uncounted:.2f}")


def main() -> None:
    """Print the table."""
    (rows,) = parse_numbers(__doc__, rows=1_000_000)
    columns = [Column(title, justify="right") for title in ("read, s", "count, s", "whole by read")]
    table = Table("CRM", "read", *columns, title=f"{rows:,} people")
    folder = databases.prepare_server_folder()
    try:
        with TemporaryDirectory(prefix="campaign-sync-benchmark-") as path:
            url = f"sqlite:///{Path(path, 'crm.db')}"
            fill(url, rows)
            compare("SQLite", SqlCrm(url), table)
        with databases.fresh_database() as url:
            fill(url, rows)
            compare("PostgreSQL", SqlCrm(url), table)
    finally:
        databases.stop_server(folder)
    Console(width=max(80, int(os.environ.get("COLUMNS", "80")))).print(table)


if __name__ == "__main__":
    main()
