"""The speed of filling a list: `python -m campaign_sync_tests.benchmarks.push [ROWS …]`.

Lists of 15 attributes go to a server that answers at once, each contestant in a process of its own: ours (prepare
while the list is still full; then clear and fill, with lease and journal, in a SQLite state), a plain loop of zeep in
batches of 1,000 (`addAll3Flat`, the only form that it can write), and the bound: the same bytes as ours, written
beforehand, posted over as many connections. zeep gets 20,000 rows of each list, for its time per row doesn't change.
"""

import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Column, Table

from campaign_sync.domain.row_digests import column_chunks
from campaign_sync.optimizely.client import connect
from campaign_sync.optimizely.service_definition import ServiceDefinition
from campaign_sync.optimizely.soap_encoding import Columns
from campaign_sync.optimizely.transport import Transport
from campaign_sync.replacement.list_settings import ListSettings, list_settings
from campaign_sync.replacement.list_writer import ListWriter, prepare
from campaign_sync.replacement.plan import refill
from campaign_sync.sandbox.wsdl import namespace
from campaign_sync.storage.replacements import Replacement, ReplacementState
from campaign_sync.storage.state import State
from campaign_sync_tests.benchmarks.arguments import parse_sizes
from campaign_sync_tests.benchmarks.people import CONTRACT, people
from campaign_sync_tests.benchmarks.sending import post_all
from campaign_sync_tests.benchmarks.separate_process import Measured, apart, cpu_seconds
from campaign_sync_tests.benchmarks.simultaneous_calls import BATCH_ROWS, LIST, MANDATOR, serve
from campaign_sync_tests.benchmarks.zeep_loop import zeep_client
from campaign_sync_tests.installation import Installation

ZEEP_ROWS = 20_000
COLUMNS = ["recipient_id", "address", *CONTRACT.list_columns]
CONNECTIONS = 4
"""The default of `optimizely.parallel_calls`."""


def one_list(folder: Path, base_url: str) -> tuple[ListSettings, str]:
    """Return the list to fill, and the URL of its own state."""
    state_url = f"sqlite:///{folder / 'state.db'}"
    rig = Installation(folder, None, base_url, f"sqlite:///{folder / 'crm.db'}", state_url)  # type: ignore[arg-type]
    configured = list_settings(rig.configuration, "nord", "newsletter")
    return replace(configured, schema=CONTRACT), state_url


@dataclass(frozen=True)
class Part:
    """The measurements of a part of the work."""

    wall: float
    cpu: float


def ours(base_url: str, rows: int) -> Callable[[], Any]:
    """Return the work that prepares, then clears and fills, and returns the measurements of both."""
    frame = people(rows)
    folder = Path(tempfile.mkdtemp(prefix="campaign-sync-benchmark-"))
    listed, state_url = one_list(folder, base_url)
    stack = ExitStack()
    state = stack.enter_context(State(state_url))
    vendor = stack.enter_context(
        connect(base_url, MANDATOR, "user", "password", parallel_calls=listed.optimizely.parallel_calls)
    )
    vendor.recipients.count(LIST)  # the service definition is fetched at the first use
    lease = stack.enter_context(state.locks.acquire(LIST, "run"))
    now = datetime.now(UTC)
    steps = state.replacements.start(
        Replacement("nord", "newsletter", LIST, "run", "snapshot", ReplacementState.FILLING, now, "replace")
    )

    def work() -> tuple[Part, Part]:
        moments = [(time.monotonic(), cpu_seconds())]
        plan = refill(frame)
        batches = prepare(listed, vendor, frame, plan.send)
        moments.append((time.monotonic(), cpu_seconds()))
        ListWriter(listed, vendor, steps, lease).carry_out(plan, frame, batches, lambda _: None)
        moments.append((time.monotonic(), cpu_seconds()))
        stack.close()
        return (
            Part(moments[1][0] - moments[0][0], moments[1][1] - moments[0][1]),
            Part(moments[2][0] - moments[1][0], moments[2][1] - moments[1][1]),
        )

    return work


def zeep_arrays(client: Any, chunk: pd.DataFrame) -> list[Any]:
    """Return the four arrays of `addAll3Flat` in the type that zeep demands instead of lists."""
    array = client.get_type(f"{{{namespace('Recipient')}}}ArrayOf_xsd_string")
    ids = chunk["recipient_id"].tolist()
    flat = chunk[CONTRACT.list_columns].to_numpy().ravel().tolist()
    return [array(texts) for texts in (ids, ids, list(CONTRACT.list_attributes), flat)]


def by_zeep(base_url: str, rows: int) -> Callable[[], Any]:
    """Return a plain loop of zeep calls, as in zeep's documentation."""
    frame = people(rows)
    client, service = zeep_client(base_url)

    def work() -> None:
        service.clear("session", LIST)
        for start in range(0, rows, BATCH_ROWS):
            chunk = frame.iloc[start : start + BATCH_ROWS]
            codes = service.addAll3Flat("session", LIST, 0, *zeep_arrays(client, chunk))
            assert codes == [0] * len(chunk)

    return work


def bound(base_url: str, rows: int) -> Callable[[], Any]:
    """Return the work that posts encoded requests and waits for the answers."""
    requests = written(base_url, rows)

    def work() -> int:
        post_all(base_url, requests, CONNECTIONS)
        return sum(map(len, requests))

    return work


def written(base_url: str, rows: int) -> list[bytes]:
    """Encode the requests that fill a list."""
    transport = Transport(base_url, parallel_calls=1, timeout_seconds=60)
    contract = ServiceDefinition("Recipient", base_url, transport.get)
    names = list(CONTRACT.list_attributes)
    return [
        contract.request(contract.operation("addAll3"), ("session", LIST, 0, *chunk[:2], names, columns))
        for chunk in column_chunks(people(rows), COLUMNS, BATCH_ROWS)
        for columns in [Columns(chunk[2:], len(chunk[0]))]
    ]


def main() -> None:
    """Measure and print."""
    console = Console(width=120)
    for rows in parse_sizes(__doc__, (100_000, 1_000_000))[0]:
        with serve() as base_url:
            least = apart(bound, base_url, rows)
            mine = apart(ours, base_url, rows)
            least_again = apart(bound, base_url, rows)
            zeeps = apart(by_zeep, base_url, min(rows, ZEEP_ROWS))
        console.print(_table(rows, mine, zeeps, min(least, least_again, key=lambda measured: measured.wall)))


def _table(rows: int, mine: Measured, zeeps: Measured, least: Measured) -> Table:
    names = ("wall, s", "wall / bound", "CPU, s", "CPU, µs a row", "zeep / CPU", "peak, MiB")
    columns = [Column(name, justify="right") for name in names]
    table = Table("what", *columns, title=f"{rows:,} rows of {len(CONTRACT.list_attributes)} attributes")
    prepared, filled = mine.result
    factor = rows / min(rows, ZEEP_ROWS)

    def add(what: str, wall: float, cpu: float, peak: str) -> None:
        ratios = f"{wall / least.wall:.2f}", f"{zeeps.cpu * factor / cpu:.1f}"
        table.add_row(what, f"{wall:.2f}", ratios[0], f"{cpu:.2f}", f"{cpu / rows * 1e6:.1f}", ratios[1], peak)

    add("bound", least.wall, least.cpu, f"{least.peak:,.0f}")
    add("ours: prepare, the list still full", prepared.wall, prepared.cpu, "")
    add("ours: clear and fill", filled.wall, filled.cpu, "")
    add("ours, all of it", mine.wall, mine.cpu, f"{mine.peak:,.0f}")
    add(f"zeep{f' (from {ZEEP_ROWS:,} rows)' if factor > 1 else ''}", zeeps.wall * factor, zeeps.cpu * factor, "")
    table.caption = f"{least.result / 1e6:,.0f} MB, {least.result / rows:.0f} bytes a row"
    return table


if __name__ == "__main__":
    main()
