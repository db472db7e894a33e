"""The incidents of each mandator, and what each channel has sent about them."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from sqlalchemy import ColumnElement, Engine, Row, select, update

from campaign_sync.domain.incident import (
    Incident,
    IncidentChanges,
    IncidentKind,
    Notice,
    NoticeKind,
    Subject,
    compare_incidents,
)
from campaign_sync.storage.tables import incident as _table
from campaign_sync.storage.tables import incident_check, notice
from campaign_sync.storage.upsert import insert_missing, upsert

_ALL_CLEAR_WITHIN = timedelta(days=7)
"""How long after the end of an incident its all-clear is still sent."""

_FIELDS = [field.name for field in fields(Incident)]


class Incidents:
    """Open and cleared incidents. A notice is sent once, whichever process sends it and whichever dies meanwhile."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def open(self, mandator: str) -> dict[Subject, Incident]:
        """Return the open incidents of a mandator by their subject."""
        is_open = (_table.c.mandator == mandator) & _table.c.cleared_at.is_(None)
        return {Subject.parse(row.subject): _incident(row) for row in self._rows(is_open)}

    def reconcile(
        self, mandator: str, incidents: Iterable[Incident], in_progress: Collection[Subject], now: datetime
    ) -> IncidentChanges:
        """Record which incidents are new, worse or over. Return these changes.

        Args:
            mandator: whose incidents these are.
            incidents: all its incidents now.
            in_progress: subjects whose incidents can't be over yet, because a run is at work on them.
            now: when these were detected.
        """
        changed = compare_incidents(self.open(mandator), incidents, in_progress)
        is_open = (_table.c.mandator == mandator) & _table.c.cleared_at.is_(None)
        with self._engine.begin() as connection:
            for incident in changed.worse:
                values = {name: getattr(incident, name) for name in ("kind", "what", "remedy", "page")}
                connection.execute(
                    update(_table).where(is_open, _table.c.subject == str(incident.subject)).values(values)
                )
            for subject in changed.resolved:
                connection.execute(
                    update(_table).where(is_open, _table.c.subject == str(subject)).values(cleared_at=now)
                )
            for incident in changed.new:  # last: the same subject may have had an incident that is over
                connection.execute(
                    _table.insert().values(
                        id=str(uuid4()), noticed_at=now, **vars(incident) | {"subject": str(incident.subject)}
                    )
                )
            check = {"mandator": mandator, "checked_at": now}
            upsert(connection, incident_check, [check], update=("checked_at",))
        return changed

    def last_checked(self, mandator: str) -> datetime | None:
        """Return when a mandator was last checked for incidents; None for never."""
        query = select(incident_check.c.checked_at).where(incident_check.c.mandator == mandator)
        with self._engine.connect() as connection:
            checked_at: datetime | None = connection.execute(query).scalar()
        return checked_at

    def unsent(self, mandator: str, channel: str, now: datetime) -> list[Notice]:
        """Return the notices of a mandator that a channel has yet to send, oldest first.

        An incident that was over before the channel sent anything about it needs no notice.
        """
        recent = _table.c.cleared_at.is_(None) | (_table.c.cleared_at > now - _ALL_CLEAR_WITHIN)
        rows = self._rows((_table.c.mandator == mandator) & recent)
        sent = self._sent_stages(channel, [row.id for row in rows])
        notices = []
        for row in rows:
            already = sent.get(row.id, set())
            if row.cleared_at is not None:
                if already and NoticeKind.ALL_CLEAR not in already:
                    notices.append(Notice(NoticeKind.ALL_CLEAR, _incident(row), row.cleared_at, row.id))
            elif row.kind not in already:
                notices.append(Notice(NoticeKind.WORSE if already else NoticeKind.ALARM, _incident(row), None, row.id))
        return notices

    def require_writable(self, pending: Notice) -> None:
        """Make sure that `mark_sent` can be written for a notice. Changes nothing.

        Raises:
            StateError: it can't, because the disk is full or the database takes no changes.
        """
        with self._engine.begin() as connection:
            connection.execute(update(_table).where(_table.c.id == pending.id).values(id=pending.id))

    def mark_sent(self, sent: Notice, channel: str, now: datetime) -> None:
        """Record that a channel has sent a notice."""
        stage = sent.incident.kind if sent.until is None else NoticeKind.ALL_CLEAR
        values = {"incident_id": sent.id, "channel": channel, "stage": str(stage), "sent_at": now}
        with self._engine.begin() as connection:
            insert_missing(connection, notice, [values])

    def _rows(self, condition: ColumnElement[bool]) -> list[Row[Any]]:
        with self._engine.connect() as connection:
            return list(connection.execute(select(_table).where(condition).order_by(_table.c.noticed_at)))

    def _sent_stages(self, channel: str, ids: Sequence[str]) -> dict[str, set[str]]:
        stages: dict[str, set[str]] = {}
        query = select(notice).where(notice.c.channel == channel, notice.c.incident_id.in_(ids))
        with self._engine.connect() as connection:
            for row in connection.execute(query):
                stages.setdefault(row.incident_id, set()).add(row.stage)
        return stages


def _incident(row: Row[Any]) -> Incident:
    values = {name: row._mapping[name] for name in _FIELDS}
    return Incident(**{**values, "subject": Subject.parse(values["subject"]), "kind": IncidentKind(values["kind"])})
