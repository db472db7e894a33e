"""The loop that an engineer writes in an afternoon: `python -m campaign_sync_tests.benchmarks.afternoon FILE …`.

The same CRM, list and rows as ours, by the driver, httpx and lxml: one query, batches of 1,000 over four connections,
codes compared, and with `--read-back` every row compared. It knows this CRM's spellings, and lacks: ledger, snapshot,
checks, consents asked again at the gate, the vendor's unsubscribe list and blocklist, rejections, resume, alarms.
The CPU seconds of its steps are written to the file as JSON.
"""

import json
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from html import escape
from pathlib import Path

import psycopg2  # type: ignore[import-untyped]

from campaign_sync_tests.benchmarks.plain_vendor import Vendor
from campaign_sync_tests.benchmarks.separate_process import cpu_seconds, peak_mib

_COLUMNS = {
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
_TECHNICAL = ("opt-in-id", "description", "media-type", "entity-type", "entity-id")
_BATCH, _PAGE, _CONNECTIONS = 1_000, 5_000, 4

_NEWEST = {
    "sqlite": "SELECT entity_id, kind, max(occurred_at) FROM consent_event WHERE {0} GROUP BY entity_id",
    "postgresql": "SELECT DISTINCT ON (entity_id) entity_id, kind FROM consent_event WHERE {0} "
    "ORDER BY entity_id, occurred_at DESC, kind DESC",
}
_QUERY = f"""
SELECT contact.email, contact.id, {", ".join(f"contact.{column}" for column in _COLUMNS.values())}
FROM marketing_list_member AS member JOIN contact ON contact.id = member.entity_id
JOIN ({{newest}}) AS newest ON newest.entity_id = contact.id
WHERE member.marketing_list_id = 'nord' AND member.entity_type = 'contact' AND newest.kind <> 'withdrawn'
AND lower(contact.email) NOT IN (SELECT address FROM address_state WHERE bounce_kind <> 'soft')
"""
_NEWSLETTER = "entity_type = 'contact' AND opt_in_id = 'newsletter-nord'"

Row = list[str]


def select(crm: str) -> dict[str, Row]:
    """Return the values to send by address."""
    is_file = Path(crm).is_file()
    query = _QUERY.format(newest=_NEWEST["sqlite" if is_file else "postgresql"].format(_NEWSLETTER))
    people: dict[str, Row] = {}
    with sqlite3.connect(crm) if is_file else psycopg2.connect(crm) as connection:
        cursor = connection.cursor()
        cursor.execute(query)
        for email, entity_id, *values in cursor:
            address = email.strip().lower()
            if not address.isascii():
                local, _, domain = address.partition("@")
                address = f"{local}@{domain.encode('idna').decode()}"
            people.setdefault(
                address,
                [
                    "newsletter-nord",
                    "News",
                    "email",
                    "contact",
                    entity_id,
                    *((value or "").strip() for value in values),
                ],
            )
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
        arguments = f"{self._list_id}<in2>0</in2>{ids}{_array('in5', _ATTRIBUTES)}{body}"
        answer = self._vendor.call("Recipient", "addAll3", arguments)
        codes = [element.text for element in answer.getroottree().iter("multiRef")]
        if codes != ["0"] * len(rows):
            raise RuntimeError(f"{len(rows)} rows, codes {set(codes)}")

    def page(self, start: int) -> Iterator[Row]:
        """Yield the rows of a page."""
        order = "<in3>0</in3><in4>entity-id</in4><in5>true</in5>"
        arguments = f"{_array('in2', _ATTRIBUTES)}{order}<in6>{start}</in6><in7>{_PAGE}</in7>"
        for row in self._vendor.call("Recipient", "getAllAdvanced", self._list_id + arguments)[0]:
            yield [cell.text or "" for cell in row]


_ATTRIBUTES = [*_TECHNICAL, *_COLUMNS]


def _items(texts: Sequence[str]) -> str:
    return f"<i>{'</i><i>'.join([escape(text, quote=False) for text in texts])}</i>"


def _array(name: str, texts: Sequence[str]) -> str:
    array_type = f'xsi:type="soapenc:Array" soapenc:arrayType="xsd:string[{len(texts)}]"'
    return f"<{name} {array_type}>{_items(texts)}</{name}>"


def main() -> None:
    """Replace the list, and write what it took."""
    file, crm, base_url, list_id, *options = sys.argv[1:]
    moments = [cpu_seconds()]
    people = select(crm)
    moments.append(cpu_seconds())
    recipients = RecipientList(Vendor(base_url), int(list_id))
    rows = list(people.items())
    recipients.clear()
    with ThreadPoolExecutor(_CONNECTIONS) as pool:
        list(pool.map(recipients.add, [rows[start : start + _BATCH] for start in range(0, len(rows), _BATCH)]))
        moments.append(cpu_seconds())
        if options == ["--read-back"]:
            expected = {row[4]: row for row in people.values()}
            for page in pool.map(lambda start: list(recipients.page(start)), range(0, len(rows) + 1, _PAGE)):
                for row in page:
                    if expected.pop(row[4]) != row:
                        raise RuntimeError(f"{row[4]} differs")
            if expected:
                raise RuntimeError(f"{len(expected)} rows are missing")
    moments.append(cpu_seconds())
    parts = [after - before for before, after in zip([0.0, *moments], moments, strict=False)]
    named = dict(zip(("start", "select", "fill", "read back"), parts, strict=True))
    Path(file).write_text(json.dumps({"cpu": named, "peak": peak_mib(), "rows": len(rows)}), encoding="ascii")


if __name__ == "__main__":
    main()
