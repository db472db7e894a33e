"""The state of the simulated vendor, in one SQLite file: mandators, lists, recipients, opt-outs, exports, calls.

The services read and write it as the vendor's server would. Demonstrations and tests use the methods of `VendorState`
to set up mandators and lists, to let recipients unsubscribe, to publish feedback and to make calls fail.
"""

import json
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple, NotRequired, TypedDict

from campaign_sync.sandbox.list_order import Orders
from campaign_sync.sandbox.stored_attributes import layouts, unpacked
from campaign_sync.sqlite import PATIENCE_SECONDS, use_write_ahead_log

_CACHE_KIBIBYTES = 64 * 1024
_CHECKPOINT_PAGES = 20_000
"""For long lists: their ids are in random order, so a call changes nearly one page of the index per recipient."""

FaultKind = Literal["fault", "expire", "delay", "drop", "truncate"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS mandator (mandator_id INTEGER PRIMARY KEY, username TEXT, password TEXT);
CREATE TABLE IF NOT EXISTS session (
    session_id TEXT PRIMARY KEY, mandator_id INTEGER, expires_at REAL, locale TEXT, media_type TEXT);
CREATE TABLE IF NOT EXISTS recipient_list (
    list_id INTEGER PRIMARY KEY, mandator_id INTEGER, name TEXT, description TEXT, attributes TEXT,
    opt_in_list INTEGER, test INTEGER);
CREATE TABLE IF NOT EXISTS recipient (
    position INTEGER PRIMARY KEY, list_id INTEGER, key TEXT, id TEXT, address TEXT, attributes TEXT, created_at REAL,
    UNIQUE (list_id, key));
CREATE INDEX IF NOT EXISTS recipient_order ON recipient (list_id, position);
CREATE TABLE IF NOT EXISTS layout (layout_id INTEGER PRIMARY KEY, names TEXT UNIQUE);
CREATE TABLE IF NOT EXISTS list_version (list_id INTEGER PRIMARY KEY, version TEXT);
CREATE TRIGGER IF NOT EXISTS recipient_added AFTER INSERT ON recipient
    BEGIN DELETE FROM list_version WHERE list_id = NEW.list_id; END;
CREATE TRIGGER IF NOT EXISTS recipient_changed AFTER UPDATE ON recipient
    BEGIN DELETE FROM list_version WHERE list_id IN (OLD.list_id, NEW.list_id); END;
CREATE TRIGGER IF NOT EXISTS recipient_removed AFTER DELETE ON recipient
    BEGIN DELETE FROM list_version WHERE list_id = OLD.list_id; END;
CREATE TABLE IF NOT EXISTS unsubscribed (mandator_id INTEGER, key TEXT, id TEXT, PRIMARY KEY (mandator_id, key));
CREATE TABLE IF NOT EXISTS unsubscribe_list (list_id INTEGER PRIMARY KEY);
CREATE TABLE IF NOT EXISTS list_unsubscribed (list_id INTEGER, key TEXT, id TEXT, PRIMARY KEY (list_id, key));
CREATE TABLE IF NOT EXISTS bounced (mandator_id INTEGER, key TEXT, PRIMARY KEY (mandator_id, key));
CREATE TABLE IF NOT EXISTS refused (mandator_id INTEGER, key TEXT, code INTEGER, PRIMARY KEY (mandator_id, key));
CREATE TABLE IF NOT EXISTS blocked (mandator_id INTEGER, pattern TEXT, reason TEXT, PRIMARY KEY (mandator_id, pattern));
CREATE TABLE IF NOT EXISTS export_row (
    position INTEGER PRIMARY KEY, mandator_id INTEGER, reader TEXT, published_at INTEGER, cells TEXT);
CREATE INDEX IF NOT EXISTS export_order ON export_row (mandator_id, reader, published_at, position);
CREATE TABLE IF NOT EXISTS response_field (
    mandator_id INTEGER, position INTEGER, name TEXT, PRIMARY KEY (mandator_id, position));
CREATE TABLE IF NOT EXISTS mailing (
    mailing_id INTEGER PRIMARY KEY, mandator_id INTEGER, name TEXT, type TEXT, status TEXT, list_ids TEXT,
    scheduled_at TEXT);
CREATE TABLE IF NOT EXISTS call (
    position INTEGER PRIMARY KEY, service TEXT, operation TEXT, mandator_id INTEGER, list_id INTEGER, rows INTEGER);
CREATE TABLE IF NOT EXISTS fault (
    position INTEGER PRIMARY KEY, operation TEXT, kind TEXT, times INTEGER, skip INTEGER, arg TEXT);
"""


class RecordedCall(NamedTuple):
    """One received call, without personal data. `rows` is its number of recipients or entries."""

    service: str
    operation: str
    mandator_id: int | None
    list_id: int | None
    rows: int


class Recipient(TypedDict):
    """A recipient in a list."""

    id: str
    address: NotRequired[str]
    attributes: NotRequired[dict[str, str | None]]


@dataclass(frozen=True)
class Fault:
    """The failure to simulate for a call."""

    position: int
    kind: FaultKind
    arg: str | None


class VendorState:
    """The vendor's state in the file at `path`, which is created if missing. Threads and processes may share it.

    Ids and addresses are compared without regard to case, as the vendor does.

    Args:
        path: the SQLite file; its folder must exist.
        clock: seconds since the epoch; sessions and file times follow it.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self.path, self.clock, self.orders = path, clock, Orders()
        self._lock = threading.RLock()
        self._database = sqlite3.connect(path, timeout=PATIENCE_SECONDS, isolation_level=None, check_same_thread=False)
        use_write_ahead_log(self._database)
        self._database.execute("PRAGMA synchronous=OFF")  # survives a killed process, which is enough for a sandbox
        self._database.execute(f"PRAGMA cache_size=-{_CACHE_KIBIBYTES}")
        self._database.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}")
        self._database.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._database.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Open a transaction, which an exception rolls back."""
        with self._lock:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")

    def add_mandator(self, mandator_id: int, username: str, password: str) -> None:
        """Add a mandator with a single API user, or change its credentials."""
        self._write("INSERT OR REPLACE INTO mandator VALUES (?, ?, ?)", [(mandator_id, username, password)])

    def add_list(
        self,
        mandator_id: int,
        list_id: int,
        name: str,
        attributes: Sequence[str],
        *,
        opt_in_list: bool = False,
        test: bool = False,
    ) -> None:
        """Add an empty recipient list, or redefine one and keep its recipients.

        The system's own attributes (created, opt-in date, …) are implied.
        """
        row = (list_id, mandator_id, name, "", json.dumps(list(attributes)), opt_in_list, test)
        self._write("INSERT OR REPLACE INTO recipient_list VALUES (?, ?, ?, ?, ?, ?, ?)", [row])

    def put(self, list_id: int, rows: Iterable[Recipient]) -> None:
        """Put recipients into a list without any rules. The address defaults to the id."""
        now = self.clock()
        self._write(
            "INSERT OR REPLACE INTO recipient (list_id, key, id, address, attributes, created_at) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            [
                (
                    list_id,
                    row["id"].lower(),
                    row["id"],
                    row.get("address", row["id"]),
                    json.dumps(row.get("attributes", {})),
                    now,
                )
                for row in rows
            ],
        )

    def recipients(self, list_id: int) -> list[Recipient]:
        """Return the recipients of a list, in the order of insertion."""
        rows = self._read("SELECT id, address, attributes FROM recipient WHERE list_id = ? ORDER BY position", list_id)
        with self._lock:
            known = layouts(self._database)  # after the rows: another process may add layouts, and never removes one
        return [Recipient(id=key, address=address, attributes=unpacked(kept, known)) for key, address, kept in rows]

    def unsubscribe(self, mandator_id: int, recipient_id: str) -> None:
        """Unsubscribe a recipient from everything that this mandator sends. Lists keep it."""
        row = (mandator_id, recipient_id.lower(), recipient_id)
        self._write("INSERT OR IGNORE INTO unsubscribed VALUES (?, ?, ?)", [row])

    def unsubscribe_from_list(self, list_id: int, *recipient_ids: str) -> None:
        """Unsubscribe recipients from one list, which thereby gets its own unsubscribe list."""
        self._write("INSERT OR IGNORE INTO unsubscribe_list VALUES (?)", [(list_id,)])
        rows = [(list_id, recipient_id.lower(), recipient_id) for recipient_id in recipient_ids]
        self._write("INSERT OR IGNORE INTO list_unsubscribed VALUES (?, ?, ?)", rows)

    def unsubscribed_from_list(self, list_id: int) -> list[str]:
        """Return the recipient ids on a recipient list's own unsubscribe list, sorted."""
        return [i for (i,) in self._read("SELECT id FROM list_unsubscribed WHERE list_id = ? ORDER BY key", list_id)]

    def unsubscribed(self, mandator_id: int) -> list[str]:
        """Return the recipient ids on the mandator's unsubscribe list, sorted."""
        return [i for (i,) in self._read("SELECT id FROM unsubscribed WHERE mandator_id = ? ORDER BY key", mandator_id)]

    def bounce(self, mandator_id: int, recipient_id: str) -> None:
        """Let the mail of a recipient bounce until the mandator's limit is exceeded."""
        self._write("INSERT OR IGNORE INTO bounced VALUES (?, ?)", [(mandator_id, recipient_id.lower())])

    def block(self, mandator_id: int, pattern: str, reason: str = "") -> None:
        """Add a blocklist entry: an address, with `*` for one or more characters and `?` for exactly one."""
        self._write("INSERT OR IGNORE INTO blocked VALUES (?, ?, ?)", [(mandator_id, pattern, reason)])

    def refuse(self, mandator_id: int, recipient_id: str, code: Literal[6, 7]) -> None:
        """Have `addAll3` answer 6 (filtered) or 7 (general error) for a recipient. The vendor gives no reason."""
        self._write("INSERT OR REPLACE INTO refused VALUES (?, ?, ?)", [(mandator_id, recipient_id.lower(), code)])

    def publish(
        self, mandator_id: int, reader: str, rows: Sequence[Sequence[str]], published_at: datetime | None = None
    ) -> None:
        """Write one export file for a closed-loop reader such as `getUnsubscribes`.

        The vendor's default rows are recipient id and epoch milliseconds, without a header.

        Args:
            mandator_id: whose feedback it is.
            reader: the operation that will return the rows.
            rows: the file's rows.
            published_at: the file's time, by which readers select; now by default.
        """
        milliseconds = int((published_at.timestamp() if published_at else self.clock()) * 1000)
        self._write(
            "INSERT INTO export_row (mandator_id, reader, published_at, cells) VALUES (?, ?, ?, ?)",
            [(mandator_id, reader, milliseconds, json.dumps(list(row))) for row in rows],
        )

    def agree_on_response_fields(self, mandator_id: int, names: Sequence[str]) -> None:
        """Have responses include these list fields from now on, after their own columns."""
        with self.transaction() as database:
            database.execute("DELETE FROM response_field WHERE mandator_id = ?", [mandator_id])
            rows = [(mandator_id, position, name) for position, name in enumerate(names)]
            database.executemany("INSERT INTO response_field VALUES (?, ?, ?)", rows)

    def respond(
        self,
        mandator_id: int,
        reader: str,
        list_id: int,
        cells: Sequence[str],
        published_at: datetime | None = None,
    ) -> None:
        """Publish a response of a recipient of a list, with the agreed list fields and their current values.

        Args:
            mandator_id: whose feedback it is.
            reader: the operation that will return the row.
            list_id: the recipient list of the mailing; the fields are empty for a recipient that isn't in it.
            cells: the row's own columns, the recipient id first.
            published_at: see `publish`.
        """
        query = "SELECT name FROM response_field WHERE mandator_id = ? ORDER BY position"
        names = [name for (name,) in self._read(query, mandator_id)]
        held = [
            recipient["attributes"]
            for recipient in self.recipients(list_id)
            if recipient["id"].lower() == cells[0].lower()
        ]
        attributes = held[0] if held else {}
        self.publish(mandator_id, reader, [[*cells, *(attributes.get(name) or "" for name in names)]], published_at)

    def add_mailing(
        self,
        mandator_id: int,
        mailing_id: int,
        name: str,
        *,
        mailing_type: str = "regular",
        status: str,
        list_ids: Sequence[int],
        scheduled_at: datetime | None = None,
    ) -> None:
        """Add a mailing, or redefine one.

        Args:
            mandator_id: the mandator of the mailing.
            mailing_id: the vendor's id.
            name: the name shown in Campaign.
            mailing_type: the vendor has `regular`, `event`, `confirmation`, `template`, `campaign` and `split`.
            status: the vendor has `NEW`, `SENDING`, `PAUSED`, `DONE` and `CANCELED`; see `set_mailing_status`.
            list_ids: its recipient lists.
            scheduled_at: when it is scheduled, with a time zone; None if it isn't.
        """
        moment = scheduled_at and scheduled_at.astimezone(UTC).isoformat()
        row = (mailing_id, mandator_id, name, mailing_type, status, json.dumps(list(list_ids)), moment)
        self._write("INSERT OR REPLACE INTO mailing VALUES (?, ?, ?, ?, ?, ?, ?)", [row])

    def set_mailing_status(self, mailing_id: int, status: str) -> None:
        """Change the status of a mailing."""
        self._write("UPDATE mailing SET status = ? WHERE mailing_id = ?", [(status, mailing_id)])

    def fault(
        self, operation: str, kind: FaultKind, times: int = 1, skip: int = 0, arg: str | float | None = None
    ) -> None:
        """Make coming calls of an operation fail (`clear`, `Unsubscribe.getCount`, or `*` for any).

        Args:
            operation: which calls.
            kind: `fault` answers a SOAP fault with `arg` in its message; `expire` ends the caller's session first;
                `delay` takes `arg` more seconds, or until `repair`; `drop` does the work and hangs up without an
                answer; `truncate` does it and hangs up in the middle of the answer.
            times: the number of calls that fail.
            skip: the number of matching calls that succeed before.
            arg: see `kind`.
        """
        row = (operation, kind, times, skip, None if arg is None else str(arg))
        self._write("INSERT INTO fault (operation, kind, times, skip, arg) VALUES (?, ?, ?, ?, ?)", [row])

    def repair(self) -> None:
        """Remove all faults, and end the delay of pending calls."""
        self._write("DELETE FROM fault", [()])

    def delay(self, fault: Fault) -> None:
        """Wait for the delay of a fault."""
        end = time.monotonic() + float(fault.arg or 1)
        still = "SELECT 1 FROM fault WHERE position = ?"
        while (left := end - time.monotonic()) > 0 and self._read(still, fault.position):
            time.sleep(min(left, 0.1))

    def calls(self, operation: str | None = None) -> list[RecordedCall]:
        """Return the received calls, oldest first; of one operation (`clear` or `Unsubscribe.getCount`), or all."""
        rows = self._read("SELECT service, operation, mandator_id, list_id, rows FROM call ORDER BY position")
        calls = [RecordedCall(*row) for row in rows]
        return [call for call in calls if operation in (None, call.operation, f"{call.service}.{call.operation}")]

    def record(self, call: RecordedCall) -> Fault | None:
        """Record a call, and return the fault to simulate for it, if any."""
        with self.transaction() as database:
            database.execute(
                "INSERT INTO call (service, operation, mandator_id, list_id, rows) VALUES (?, ?, ?, ?, ?)", call
            )
            names = ("*", call.operation, f"{call.service}.{call.operation}")
            faults = database.execute(
                "SELECT position, kind, skip, arg FROM fault WHERE operation IN (?, ?, ?) AND times > 0 "
                "ORDER BY position",
                names,
            )
            for position, kind, skip, arg in faults.fetchall():
                if skip == 0:
                    database.execute("UPDATE fault SET times = times - 1 WHERE position = ?", [position])
                    return Fault(position, kind, arg)
                database.execute("UPDATE fault SET skip = skip - 1 WHERE position = ?", [position])
            return None

    def _write(self, statement: str, rows: Iterable[Sequence[object]]) -> None:
        with self.transaction() as database:
            database.executemany(statement, rows)

    def _read(self, statement: str, *arguments: object) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._database.execute(statement, arguments).fetchall()


def blocked_patterns(database: sqlite3.Connection, mandator_id: int) -> tuple[str, ...]:
    """Return the entries of the mandator's blocklist."""
    rows = database.execute("SELECT pattern FROM blocked WHERE mandator_id = ? ORDER BY pattern", [mandator_id])
    return tuple(pattern for (pattern,) in rows)


def blocklist(database: sqlite3.Connection, mandator_id: int) -> Callable[[str], bool]:
    """Return a function that matches an address against the mandator's blocklist."""
    patterns = blocked_patterns(database, mandator_id)
    if not patterns:
        return lambda address: False
    expression = _expression(patterns)
    return lambda address: expression.fullmatch(address) is not None


@lru_cache(maxsize=64)
def _expression(patterns: tuple[str, ...]) -> re.Pattern[str]:
    """Compile one expression for all patterns."""
    wildcards = {"*": ".+", "?": "."}
    alternatives = ("".join(wildcards.get(c, re.escape(c)) for c in pattern) for pattern in patterns)
    return re.compile("|".join(alternatives), re.IGNORECASE | re.DOTALL)
