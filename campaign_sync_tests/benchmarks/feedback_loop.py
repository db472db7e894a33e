"""The loop that an engineer writes in an afternoon: `python -m campaign_sync_tests.benchmarks.feedback_loop FILE …`.

The same vendor, rows and CRM as ours, by sqlite3, httpx and lxml: pages of 1,000, the newest bounce of each address,
and one `executemany` for each reader. It knows this CRM's spellings, and lacks: the rows as received, windows and a
watermark, rows that move while they are read, addresses in other spellings, strangers that the CRM has tomorrow, the
opt-in that an unsubscribe is about (it withdraws all), and any record of what it wrote.
"""

import json
import sqlite3
import sys
import uuid
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from campaign_sync_tests.benchmarks.plain_vendor import Vendor
from campaign_sync_tests.benchmarks.separate_process import cpu_seconds, peak_mib

_PAGE = 1_000
_BOUNCES = """INSERT INTO address_state (address, bounce_kind, bounced_at, mandator, source)
VALUES (?, 'limit', ?, 'nord', 'loop') ON CONFLICT (address) DO UPDATE
SET bounce_kind = excluded.bounce_kind, bounced_at = excluded.bounced_at WHERE bounced_at < excluded.bounced_at"""
_WITHDRAWALS = """INSERT OR IGNORE INTO consent_event (id, entity_type, entity_id, opt_in_id, kind, occurred_at, source)
VALUES (?, 'contact', ?, ?, 'withdrawn', ?, 'loop')"""


def rows_of(vendor: Vendor, reader: str, since: datetime, until: datetime) -> Iterator[tuple[str, str]]:
    """Yield the address and the time of each row, as the CRM writes it."""
    window = "".join(
        f"<in{number}>{int(moment.timestamp() * 1000)}</in{number}>" for number, moment in enumerate((since, until), 1)
    )
    start, rows = 0, _PAGE
    while rows:
        page = vendor.call("ClosedLoop", reader, f"{window}<in3>{start}</in3><in4>{_PAGE}</in4>")[0]
        rows = len(page)
        start += rows
        for row in page:
            moment = datetime.fromtimestamp(int(row[1].text or "") / 1000, UTC)
            yield (row[0].text or "").strip().lower(), f"{moment:%Y-%m-%d %H:%M:%S.%f}"


def main() -> None:
    """Import everything, and write what it took."""
    file, crm, base_url = sys.argv[1:]
    begun = cpu_seconds()
    vendor, until = Vendor(base_url), datetime.now(UTC)
    since = until - timedelta(days=1)
    with sqlite3.connect(crm) as connection:
        people = defaultdict(list)
        for email, entity_id in connection.execute("SELECT email, id FROM contact"):
            people[email.strip().lower()].append(entity_id)
        count, bounced = 0, dict[str, str]()
        for address, moment in rows_of(vendor, "getOutBounces", since, until):
            count += 1
            if address in people and bounced.get(address, "") < moment:
                bounced[address] = moment
        connection.executemany(_BOUNCES, bounced.items())
        left = defaultdict(set)
        for address, moment in rows_of(vendor, "getUnsubscribes", since, until):
            count += 1
            for entity_id in people.get(address, ()):
                left[entity_id].add(moment)
        opt_ins = defaultdict(set)
        for entity_id, opt_in_id in connection.execute("SELECT DISTINCT entity_id, opt_in_id FROM consent_event"):
            if entity_id in left:
                opt_ins[entity_id].add(opt_in_id)
        connection.executemany(
            _WITHDRAWALS,
            (
                (str(uuid.uuid5(uuid.NAMESPACE_OID, f"{entity_id} {opt_in_id} {moment}")), entity_id, opt_in_id, moment)
                for entity_id, moments in left.items()
                for moment in moments
                for opt_in_id in opt_ins[entity_id]
            ),
        )
    measured = {"cpu": cpu_seconds() - begun, "peak": peak_mib(), "rows": count}
    Path(file).write_text(json.dumps(measured), encoding="ascii")


if __name__ == "__main__":
    main()
