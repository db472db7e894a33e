"""Changes of records, which are refused if a record has changed since it was read."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from campaign_sync.crm.dataverse.api import record_path
from campaign_sync.crm.dataverse.batch import Operation
from campaign_sync.crm.dataverse.metadata import Table
from campaign_sync.crm.dataverse.pages import Record
from campaign_sync.domain.instant import CLOCK_TOLERANCE


def change(table: Table, record: Record, changes: Mapping[str, Any]) -> Operation:
    """Return the change of a record."""
    path = record_path(table.entity_set, record[table.key])
    return Operation("PATCH", path, changes, {"If-Match": record.get("@odata.etag", "*")})


def is_newer(granted_at: datetime, withdrawn_at: datetime) -> bool:
    """Return whether a grant is newer than a withdrawal. One of the future is none yet, and must never become one."""
    return withdrawn_at < granted_at <= datetime.now(UTC) + CLOCK_TOLERANCE
