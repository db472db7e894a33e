# /// script
# requires-python = ">=3.11"
# dependencies = ["dlt[sql_database]==1.31.0", "pyarrow", "numpy", "psycopg2-binary", "httpx", "lxml"]
# ///
"""The list by dlt: `python -m campaign_sync_tests.benchmarks.dlt_pipeline FILE CRM URL LIST`.

Its source of SQL databases, by columns, and a `@dlt.destination` for this API: batches of 1,000 over four connections.
The query and the calls are those of the afternoon's loop. Rows are extracted and normalized before the list is cleared.
"""

import os
import sys
import threading
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dlt
from dlt.sources.sql_database import sql_table
from sqlalchemy import text
from sqlalchemy.exc import SAWarning

from campaign_sync_tests.benchmarks.afternoon import (
    BATCH,
    COLUMNS,
    CONNECTIONS,
    RecipientList,
    Row,
    Steps,
    query,
    recipient,
)
from campaign_sync_tests.benchmarks.plain_vendor import Vendor

_SETTINGS = {
    "RUNTIME__DLTHUB_TELEMETRY": "false",
    "RUNTIME__LOG_LEVEL": "ERROR",
    "EXTRACT__DATA_WRITER__FILE_MAX_ITEMS": "25000",  # files are sent at the same time
}


class Destination:
    """A recipient list. dlt calls it in several threads."""

    def __init__(self, recipients: RecipientList) -> None:
        self._recipients = recipients
        self._addresses: set[str] = set()
        self._lock = threading.Lock()

    def send(self, items: Any) -> None:
        """Send a batch."""
        rows: list[tuple[str, Row]] = []
        for item in items.to_pylist():
            address, row = recipient(item["email"], item["id"], *(item[column] for column in COLUMNS))
            with self._lock:
                if address not in self._addresses:
                    self._addresses.add(address)
                    rows.append((address, row))
        self._recipients.add(rows)

    @property
    def sent(self) -> int:
        """The number of recipients."""
        return len(self._addresses)


def main() -> None:
    """Replace the list, and write what it took."""
    file, crm, base_url, list_id = sys.argv[1:]
    steps = Steps()
    warnings.simplefilter("ignore", SAWarning)  # an index on an expression
    url = f"sqlite:///{crm}" if Path(crm).is_file() else crm.replace("postgresql:", "postgresql+psycopg2:", 1)
    recipients = RecipientList(Vendor(base_url), int(list_id))
    destination = Destination(recipients)
    with TemporaryDirectory() as folder:
        os.environ |= {"HOME": folder, "DLT_DATA_DIR": folder, **_SETTINGS}

        @dlt.destination(  # type: ignore[untyped-decorator]
            batch_size=BATCH,
            loader_file_format="parquet",
            max_parallel_load_jobs=CONNECTIONS,
            loader_parallelism_strategy="parallel",
        )
        def recipient_list(items: Any, _: object) -> None:
            destination.send(items)

        pipeline = dlt.pipeline("newsletter", pipelines_dir=folder, destination=recipient_list)
        people = sql_table(url, table="contact", backend="pyarrow", query_adapter_callback=lambda *_: text(query(crm)))
        steps.end("start")
        pipeline.extract(people)
        pipeline.normalize()
        steps.end("select")
        recipients.clear()
        pipeline.load().raise_on_failed_jobs()
        steps.end("fill")
    steps.write(file, destination.sent, dlt.__version__)


if __name__ == "__main__":
    main()
