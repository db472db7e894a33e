"""MailingWebservice: mailings, their status, schedule and recipient lists."""

import json
from datetime import datetime

from campaign_sync.sandbox.caller import Caller


def ids_in_status(caller: Caller, mailing_type: str, status: str) -> list[int]:
    """Return the mandator's mailings of a type (`regular`, …) in a status (`NEW`, `SENDING`, …), by id."""
    rows = caller.database.execute(
        "SELECT mailing_id FROM mailing WHERE mandator_id = ? AND type = ? AND status = ? ORDER BY mailing_id",
        [caller.mandator_id, mailing_type, status],
    )
    return [mailing_id for (mailing_id,) in rows]


def status(caller: Caller, mailing_id: int) -> str:
    """Return the status of a mailing."""
    return _column(caller, mailing_id, "status")


def name(caller: Caller, mailing_id: int) -> str:
    """Return the name of a mailing."""
    return _column(caller, mailing_id, "name")


def list_ids(caller: Caller, mailing_id: int) -> list[int]:
    """Return the recipient lists of a mailing."""
    ids: list[int] = json.loads(_column(caller, mailing_id, "list_ids"))
    return ids


def schedule_date(caller: Caller, mailing_id: int) -> datetime | None:
    """Return when a mailing is scheduled; None if it isn't."""
    text = _column(caller, mailing_id, "scheduled_at")
    return datetime.fromisoformat(text) if text else None


def _column(caller: Caller, mailing_id: int, column: str) -> str:
    row = caller.database.execute(
        f"SELECT {column} FROM mailing WHERE mandator_id = ? AND mailing_id = ?",  # noqa: S608 - one of our own columns
        [caller.mandator_id, mailing_id],
    ).fetchone()
    if row is None:
        raise caller.fault("Mailing does not exist", mailingId=mailing_id)
    return str(row[0] or "")
