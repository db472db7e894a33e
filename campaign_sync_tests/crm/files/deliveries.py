"""Deliveries of a CRM as its export writes them, with the manifest last."""

import csv
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from upath import UPath

from campaign_sync.config.crm_files import FilesSettings
from campaign_sync.config.references import ExternalValue
from campaign_sync_tests.delivered_files.sftp_server import PASSWORD, USERNAME, SftpServer

NOW = datetime(2026, 3, 1, 4, 0, tzinfo=UTC)
DELIVERED = NOW - timedelta(hours=1)

Table = Sequence[Sequence[str]]
"""The header and the rows."""

TABLES: dict[str, Table] = {
    "contact": [
        ["id", "email", "first_name", "Ort"],
        ["K1", "Anna.Müller@Example.org", "Anna", "Köln"],
        [" K2 ", "ben@example.org", 'Ben "der Schnelle"; Meier', "Bad\r\nHomburg"],
        ["K3", "", "💌", ""],
    ],
    "lead": [["id", "email"]],
    "opt_in": [["opt_in_id", "mandator", "description", "media_type"], ["newsletter", "nord", "Monthly", "email"]],
    "consent_state": [
        ["entity_type", "entity_id", "opt_in_id", "kind", "changed_at"],
        ["contact", "K1", "newsletter", "granted", "2026-01-01T12:00:00Z"],
        ["contact", "K2", "newsletter", "withdrawn", ""],
    ],
    "address_state": [
        ["address", "bounce_kind", "bounced_at", "mandator", "source"],
        ["carl@example.org", "hard", "2026-02-01T12:00:00Z", "nord", ""],
    ],
    "marketing_list": [["id", "name", "kind"], ["L1", "Newsletter Nord", "static"], ["L2", "Aus Abfrage", "dynamic"]],
    "marketing_list_member": [
        ["marketing_list_id", "entity_type", "entity_id"],
        ["L1", "contact", "K1"],
        ["L2", "contact", "K3"],
        ["L1 ", "contact", "K2"],
    ],
    "report": [["id", "name", "entity_type", "view_name"], ["R1", "Firmen im Norden", "Contact", "north"]],
    "report_north": [["entity_id", "last_order"], ["K2", "2026-02-28"], ["K1", ""]],
}


def settings(url: object, /, **changes: Any) -> FilesSettings:
    tables: dict[str, dict[str, Any]] = {name: {} for name in TABLES if not name.startswith("report_")}
    section = {"url": str(url), "write_back": f"{url}/in", "tables": tables} | changes
    return FilesSettings.model_validate(section)


def sftp_settings(server: SftpServer, folder: Path, password: str = PASSWORD, **changes: Any) -> FilesSettings:
    """Return settings for a server whose host key is trusted; `folder` is where the trust is stored."""
    login = {"username": ExternalValue(USERNAME), "password": ExternalValue(password)}
    return settings(server.url, known_hosts=server.known_hosts(folder / "known_hosts"), **login, **changes)


def encode(table: Table, delimiter: str = ",", encoding: str = "utf-8", line_end: str = "\r\n") -> bytes:
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator=line_end).writerows(table)
    return text.getvalue().encode(encoding)


def manifest(files: Mapping[str, tuple[bytes, int]], delivered_at: datetime = DELIVERED) -> bytes:
    entries = {
        name: {"rows": rows, "sha256": hashlib.sha256(content).hexdigest()} for name, (content, rows) in files.items()
    }
    return json.dumps({"delivered_at": delivered_at.isoformat(), "files": entries}).encode()


@dataclass
class Delivery:
    """A delivery in a folder: files by name, each with its rows without the header."""

    folder: Path | UPath
    delivered_at: datetime = DELIVERED
    files: dict[str, tuple[bytes, int]] = field(default_factory=dict)

    def add(self, tables: Mapping[str, Table], **form: str) -> "Delivery":
        for name, table in tables.items():
            self.files[f"{name}.csv"] = (encode(table, **form), len(table) - 1)
        return self

    def write(self) -> "Delivery":
        """Write all files, and the manifest last."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for name, (content, _) in self.files.items():
            (self.folder / name).write_bytes(content)
        (self.folder / "manifest.json").write_bytes(manifest(self.files, self.delivered_at))
        return self


def deliver(folder: Path | UPath, tables: Mapping[str, Table] = TABLES, delivered_at: datetime = DELIVERED) -> Delivery:
    return Delivery(folder, delivered_at).add(tables).write()
