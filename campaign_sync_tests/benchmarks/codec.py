"""The speed of encoding and decoding rows: `python -m campaign_sync_tests.benchmarks.codec [ROWS]`.

Requests of 1,000 recipients with 15 attributes, and pages of 5,000 as Axis answers them. Contestants: ours; zeep as
documented (`addAll3Flat`, `getAllAdvanced`); trees of lxml; and the bound, which copies bytes that were encoded
beforehand. zeep and lxml get a tenth of the rows.
"""

import time
from collections.abc import Callable
from typing import Any

import pandas as pd
from lxml import etree
from rich.console import Console
from rich.table import Column, Table

from campaign_sync.domain.row_digests import column_chunks, digests_of
from campaign_sync.optimizely import soap_encoding
from campaign_sync.optimizely.array_decoder import JoinedRows, ParsedRows
from campaign_sync.optimizely.row_reader import RowList, RowReader
from campaign_sync.optimizely.service_definition import Operation, ServiceDefinition
from campaign_sync.optimizely.soap_encoding import Columns
from campaign_sync.optimizely.transport import Transport
from campaign_sync.sandbox import axis_messages as axis
from campaign_sync.sandbox.wsdl import SERVICES
from campaign_sync_tests.benchmarks.arguments import parse_numbers
from campaign_sync_tests.benchmarks.people import CONTRACT, people
from campaign_sync_tests.benchmarks.push import COLUMNS, zeep_arrays
from campaign_sync_tests.benchmarks.simultaneous_calls import BATCH_ROWS, LIST, serve
from campaign_sync_tests.benchmarks.zeep_loop import zeep_client

PAGE_ROWS = 5000
PIECE_BYTES = 256 * 1024
NAMES = list(CONTRACT.list_attributes)


def write_ours(contract: ServiceDefinition, frame: pd.DataFrame) -> list[bytes]:
    """Encode batches from columns, as the product does."""
    operation = contract.operation("addAll3")
    return [
        contract.request(operation, ("session", LIST, 0, ids, addresses, NAMES, Columns(values, len(ids))))
        for ids, addresses, *values in column_chunks(frame, COLUMNS, BATCH_ROWS)
    ]


def write_zeep(client: Any, service: Any, frame: pd.DataFrame) -> list[bytes]:
    """Encode batches by zeep's `create_message`."""
    requests = []
    for start in range(0, len(frame), BATCH_ROWS):
        chunk = frame.iloc[start : start + BATCH_ROWS]
        message = client.create_message(service, "addAll3Flat", "session", LIST, 0, *zeep_arrays(client, chunk))
        requests.append(etree.tostring(message))
    return requests


def write_lxml(frame: pd.DataFrame) -> list[bytes]:
    """Encode batches as trees of elements."""
    requests = []
    for start in range(0, len(frame), BATCH_ROWS):
        chunk = frame.iloc[start : start + BATCH_ROWS]
        root = etree.Element("addAll3")
        for texts in (chunk["recipient_id"].tolist(), chunk["address"].tolist()):
            array = etree.SubElement(root, "in")
            for text in texts:
                etree.SubElement(array, "i").text = text
        rows = etree.SubElement(root, "in6")
        for row in chunk[CONTRACT.list_columns].itertuples(index=False):
            element = etree.SubElement(rows, "i")
            for text in row:
                etree.SubElement(element, "i").text = text
        requests.append(etree.tostring(root))
    return requests


def read_ours(pages: list[bytes]) -> int:
    """Decode pages to lists of texts, as the product does."""
    rows = 0
    for page in pages:
        sink = RowList()
        _stream(page, RowReader(sink))
        rows += len(sink.rows)
    return rows


def read_back(pages: list[bytes]) -> int:
    """Decode pages to digests of rows, as the product does to prove a list."""
    rows = 0
    for page in pages:
        sink = _Digests()
        _stream(page, RowReader(sink))
        rows += sink.rows
    return rows


def _stream(page: bytes, reader: RowReader) -> None:
    for start in range(0, len(page), PIECE_BYTES):
        reader.feed(page[start : start + PIECE_BYTES])
    soap_encoding.parse(reader.rest())


class _Digests:
    def __init__(self) -> None:
        self.rows = 0

    def append(self, rows: JoinedRows | ParsedRows) -> None:
        self.rows += len(digests_of(rows.texts()))


def read_zeep(operation: Operation, pages: list[bytes]) -> int:
    """Decode pages by zeep's `process_reply`."""
    return sum(len(operation.zeep_operation.process_reply(etree.fromstring(page))) for page in pages)


def read_lxml(pages: list[bytes]) -> int:
    """Decode pages as trees of elements."""
    return sum(len(soap_encoding.rows(soap_encoding.parse(page))) for page in pages)


def copied(written: list[bytes]) -> int:
    """Copy encoded bytes: the bound."""
    return sum(len(bytes(bytearray(request))) for request in written)


def main() -> None:
    """Measure and print."""
    (rows,) = parse_numbers(__doc__, rows=100_000)
    frame, few = people(rows), people(rows // 10)
    names = ("rows / s", "ours / this", "bytes a row", "times ours")
    table = Table(
        "what", *[Column(name, justify="right") for name in names], title=f"{rows:,} rows of {len(NAMES)} attributes"
    )
    with serve() as base_url:
        contract = ServiceDefinition(
            "Recipient", base_url, Transport(base_url, parallel_calls=1, timeout_seconds=60).get
        )
        client, service = zeep_client(base_url)
        written = write_ours(contract, frame)
        size = sum(map(len, written)) / rows
        mine = _speed(lambda: write_ours(contract, frame), rows)
        zeeps = write_zeep(client, service, few)
        contestants = [
            ("write: ours", mine, size),
            (
                "write: zeep",
                _speed(lambda: write_zeep(client, service, few), len(few)),
                sum(map(len, zeeps)) / len(few),
            ),
            ("write: lxml", _speed(lambda: write_lxml(few), len(few)), sum(map(len, write_lxml(few))) / len(few)),
            ("write: bound", _speed(lambda: copied(written), rows), size),
        ]
        for what, speed, bytes_ in contestants:
            table.add_row(what, f"{speed:,.0f}", f"{mine / speed:.2f}", f"{bytes_:,.0f}", f"{bytes_ / size:.1f}")
        table.add_section()
        pages, few_pages = _pages(frame), _pages(few)
        bytes_ = sum(map(len, pages)) / rows
        mine = _speed(lambda: read_ours(pages), rows)
        operation = contract.operation("getAllAdvanced")
        for what, speed in [
            ("read: ours, to lists", mine),
            ("read: ours, to digests", _speed(lambda: read_back(pages), rows)),
            ("read: zeep", _speed(lambda: read_zeep(operation, few_pages), len(few))),
            ("read: lxml", _speed(lambda: read_lxml(few_pages), len(few))),
            ("read: bound", _speed(lambda: copied(pages), rows)),
        ]:
            table.add_row(what, f"{speed:,.0f}", f"{mine / speed:.2f}", f"{bytes_:,.0f}", "")
    Console(width=110).print(table)


def _pages(frame: pd.DataFrame) -> list[bytes]:
    operation = SERVICES["Recipient"]["getAllAdvanced"]
    rows = frame[CONTRACT.list_columns].to_numpy().tolist()
    return [
        axis.answer("Recipient", operation, rows[start : start + PAGE_ROWS]) for start in range(0, len(rows), PAGE_ROWS)
    ]


def _speed(work: Callable[[], object], rows: int) -> float:
    """Return the rows per second of CPU time, the best of three, so that other work on the machine doesn't count."""
    best = float("inf")
    for _ in range(3):
        begun = time.process_time()
        work()
        best = min(best, time.process_time() - begun)
    return rows / best


if __name__ == "__main__":
    main()
