"""The optional table in which a CRM in a SQL database lists its finished exports."""

from datetime import UTC, datetime

from sqlalchemy import Engine, select

from campaign_sync.crm.port import CrmError
from campaign_sync.crm.sql.engine import crm_errors, read_only
from campaign_sync.crm.sql.reader import SqlReader
from campaign_sync.crm.sql.schema import export_log
from campaign_sync.domain.instant import CLOCK_TOLERANCE, parse_instant
from campaign_sync.domain.text import normalize_text


def last_export(engine: Engine, name: str) -> datetime | None:
    """Return when the CRM last finished an export. See `Crm.last_export`."""
    with crm_errors(engine, f"looking for the export {name!r}"), read_only(engine) as connection:
        query = select(*[export_log.c.name, SqlReader(connection).moment(export_log.c.finished_at)])
        rows = connection.execute(query).all()
    times = [parse_instant(row[1]) for row in rows if normalize_text(str(row[0])) == normalize_text(name)]
    known = [moment for moment in times if moment is not None]
    if times and not known:
        raise CrmError(
            f"export_log.finished_at of {name!r} holds no time in {len(times)} rows; write it like 2026-03-01 12:00:00"
        )
    latest = datetime.now(UTC) + CLOCK_TOLERANCE
    return max((moment for moment in known if moment <= latest), default=None)
