"""The loop that an engineer writes in an afternoon: `python -m campaign_sync_tests.benchmarks.afternoon FILE …`.

The same CRM, lists and rows as ours, by the driver, httpx and lxml: for each list one query, batches of 1,000 over
four connections, codes compared, and with `--read-back` every row compared. It knows this CRM's spellings, and lacks:
ledger, snapshot, checks, consents asked again, the vendor's unsubscribe list and blocklist, rejections, resume, alarms.
What it took is written to the file as JSON. The other contestants of `day` use its query and its calls.
"""

import json
import sqlite3
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from html import escape
from pathlib import Path

import psycopg2  # type: ignore[import-untyped]

from campaign_sync_tests.benchmarks.plain_vendor import Vendor
from campaign_sync_tests.benchmarks.separate_process import cpu_seconds, peak_mib

_ATTRIBUTE_COLUMNS = {
    "Vorname": "first_name",
    "Nachname": "last_name",
    "Ort": "city",
    "Straße": "street",
    "PLZ": "postal_code",
    "Land": "country",
    "Sprache": "language",
    "Firma": "company",
    "Anrede": "salutation",
    "Kundennummer": "customer_number",
}
COLUMNS = list(_ATTRIBUTE_COLUMNS.values())
_TECHNICAL = ("opt-in-id", "description", "media-type", "entity-type", "entity-id")
BATCH, CONNECTIONS, _PAGE = 1_000, 4, 5_000

_NEWEST = {
    "sqlite": "SELECT entity_id, kind, max(occurred_at) FROM consent_event WHERE {0} GROUP BY entity_id",
    "postgresql": "SELECT DISTINCT ON (entity_id) entity_id, kind FROM consent_event WHERE {0} "
    "ORDER BY entity_id, occurred_at DESC, kind DESC",
}
_QUERY = f"""
SELECT contact.email, contact.id, {", ".join(f"contact.{column}" for column in COLUMNS)}
FROM marketing_list_member AS member JOIN contact ON contact.id = member.entity_id
JOIN ({{newest}}) AS newest ON newest.entity_id = contact.id
WHERE member.marketing_list_id = 'nord' AND member.entity_type = 'contact' AND newest.kind <> 'withdrawn'
AND lower(contact.email) NOT IN (SELECT address FROM address_state WHERE bounce_kind <> 'soft')
ORDER BY contact.id
"""
_NEWSLETTER = "entity_type = 'contact' AND opt_in_id = 'newsletter-nord'"

Row = list[str]


def query(crm: str) -> str:
    """Return the query of the people who may be written to: address, id, and the columns of the list."""
    newest = _NEWEST["sqlite" if Path(crm).is_file() else "postgresql"]
    return _QUERY.format(newest=newest.format(_NEWSLETTER))


def recipient(email: str, entity_id: str, *values: str | None) -> tuple[str, Row]:
    """Return the address and the attributes to send of a row of the query."""
    address = email.strip().lower()
    if not address.isascii():
        local, _, domain = address.partition("@")
        address = f"{local}@{domain.encode('idna').decode()}"
    technical = ("newsletter-nord", "News", "email", "contact", entity_id)
    return address, [*technical, *((value or "").strip() for value in values)]


def select(crm: str) -> dict[str, Row]:
    """Return the values to send by address."""
    people: dict[str, Row] = {}
    with sqlite3.connect(crm) if Path(crm).is_file() else psycopg2.connect(crm) as connection:
        cursor = connection.cursor()
        cursor.execute(query(crm))
        for person in cursor:
            address, row = recipient(*person)
            people.setdefault(address, row)
    return people


class RecipientList:
    """The vendor's operations on a recipient list, as far as this loop needs them."""

    def __init__(self, vendor: Vendor, list_id: int) -> None:
        self._vendor, self._list_id = vendor, f"<in1>{list_id}</in1>"

    def clear(self) -> None:
        """Empty the list."""
        self._vendor.call("Recipient", "clear", self._list_id)

    def add(self, rows: Sequence[tuple[str, Row]]) -> None:
        """Add rows to the list."""
        ids = _array("in3", [address for address, _ in rows]) + _array("in4", [address for address, _ in rows])
        values = "".join(f"<i>{_items(row)}</i>" for _, row in rows)
        body = f'<in6 xsi:type="soapenc:Array" soapenc:arrayType="xsd:string[][{len(rows)}]">{values}</in6>'
        arguments = f"{self._list_id}<in2>0</in2>{ids}{_array('in5', ATTRIBUTES)}{body}"
        answer = self._vendor.call("Recipient", "addAll3", arguments)
        codes = [element.text for element in answer.getroottree().iter("multiRef")]
        if codes != ["0"] * len(rows):
            raise RuntimeError(f"{len(rows)} rows, codes {set(codes)}")

    def page(self, start: int) -> list[Row]:
        """Return the rows of a page."""
        order = "<in3>0</in3><in4>entity-id</in4><in5>true</in5>"
        arguments = f"{_array('in2', ATTRIBUTES)}{order}<in6>{start}</in6><in7>{_PAGE}</in7>"
        rows = self._vendor.call("Recipient", "getAllAdvanced", self._list_id + arguments)[0]
        return [[cell.text or "" for cell in row] for row in rows]


ATTRIBUTES = [*_TECHNICAL, *_ATTRIBUTE_COLUMNS]


def _items(texts: Sequence[str]) -> str:
    return f"<i>{'</i><i>'.join([escape(text, quote=False) for text in texts])}</i>"


def _array(name: str, texts: Sequence[str]) -> str:
    array_type = f'xsi:type="soapenc:Array" soapenc:arrayType="xsd:string[{len(texts)}]"'
    return f"<{name} {array_type}>{_items(texts)}</{name}>"


class Steps:
    """The CPU seconds of a contestant's steps."""

    def __init__(self) -> None:
        self._ended = 0.0
        self._seconds: dict[str, float] = {}

    def end(self, name: str) -> None:
        """Count what was used since the end of the last step."""
        ended = cpu_seconds()
        self._seconds[name] = self._seconds.get(name, 0) + ended - self._ended
        self._ended = ended

    def write(self, file: str, rows: int, version: str = "") -> None:
        """Write the measurements of this process, and the version of the tool."""
        measured = {"cpu": self._seconds, "peak": peak_mib(), "rows": rows, "version": version}
        Path(file).write_text(json.dumps(measured), encoding="ascii")


def main() -> None:
    """Replace each list, and write what it took."""
    file, crm, base_url, *list_ids = sys.argv[1:]
    is_read_back = list_ids[-1] == "--read-back" and bool(list_ids.pop())
    steps, sent = Steps(), 0
    steps.end("start")
    vendor = Vendor(base_url)
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        for list_id in list_ids:
            people = select(crm)
            steps.end("select")
            recipients, rows = RecipientList(vendor, int(list_id)), list(people.items())
            sent += len(rows)
            recipients.clear()
            list(pool.map(recipients.add, [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]))
            steps.end("fill")
            if is_read_back:
                expected = {row[4]: row for row in people.values()}
                for page in pool.map(recipients.page, range(0, len(rows) + 1, _PAGE)):
                    for row in page:
                        if expected.pop(row[4]) != row:
                            raise RuntimeError(f"{row[4]} differs")
                if expected:
                    raise RuntimeError(f"{len(expected)} rows are missing")
                steps.end("read back")
    steps.write(file, sent)


if __name__ == "__main__":
    main()
