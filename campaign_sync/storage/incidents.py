"""The incidents of each mandator, and what each channel has sent about them."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, Engine, Insert, Row, Update, and_, bindparam, insert, select, update

from campaign_sync.domain.incident import (
    DetectedIncidents,
    Incident,
    IncidentKind,
    Notice,
    NoticeKind,
    Subject,
    compare_incidents,
)
from campaign_sync.storage.tables import incident as _table
from campaign_sync.storage.tables import incident_check, notice
from campaign_sync.storage.upsert import insert_missing

_ALL_CLEAR_WITHIN = timedelta(days=7)
"""How long after the end of an incident its all-clear is still sent."""

_IS_OPEN = and_(
    _table.c.cleared_at.is_(None),
    _table.c.mandator == bindparam("of_mandator"),
    _table.c.subject == bindparam("of_subject"),
)

_FIELDS = [field.name for field in fields(Incident)]


@dataclass(frozen=True)
class UnsentNotices:
    """The incidents that are open or were over lately, and what has been sent about them."""

    incidents: Sequence[Row[Any]]
    stages: Mapping[tuple[str, str], Collection[str]]
    """The stages that were sent, by incident and channel."""

    def of(self, mandator: str, channel: str) -> list[Notice]:
        """Return the notices of a mandator that a channel has yet to send, oldest first.

        An incident that was over before the channel sent anything about it needs no notice.
        """
        notices = []
        for row in self.incidents:
            already = self.stages.get((row.id, channel), ())
            if row.mandator != mandator:
                continue
            if row.cleared_at is not None:
                if already and NoticeKind.ALL_CLEAR not in already:
                    notices.append(Notice(NoticeKind.ALL_CLEAR, _incident(row), row.cleared_at, row.id))
            elif row.kind not in already:
                notices.append(Notice(NoticeKind.WORSE if already else NoticeKind.ALARM, _incident(row), None, row.id))
        return notices


class Incidents:
    """Open and cleared incidents. A notice is sent once, whichever process sends it and whichever dies meanwhile."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def reconcile(self, detected: Mapping[str, DetectedIncidents], now: datetime) -> dict[str, dict[Subject, Incident]]:
        """Record which incidents of these mandators are new, worse or over. Return what is open now, by mandator.

        Args:
            detected: all incidents of each mandator that was checked.
            now: when these were detected.
        """
        open_now, new, worse, resolved = {}, [], [], []
        with self._engine.begin() as connection:
            known = read_open_incidents(connection)
            for mandator, of_mandator in detected.items():
                changes = compare_incidents(known.get(mandator, {}), of_mandator.incidents, of_mandator.in_progress)
                open_now[mandator] = changes.apply(known.get(mandator, {}))
                worse += [_of_subject(mandator, incident.subject) | _wording(incident) for incident in changes.worse]
                resolved += [_of_subject(mandator, subject) | {"cleared_at": now} for subject in changes.resolved]
                new += [_row(incident, now) for incident in changes.new]
            _execute(connection, update(_table).where(_IS_OPEN), worse)
            _execute(connection, update(_table).where(_IS_OPEN), resolved)
            _execute(connection, insert(_table), new)  # last: the same subject may have had one that is over
            _note_checks(connection, detected, now)
        return open_now

    def end(self, mandator: str, subject: Subject, now: datetime) -> None:
        """Record that the incident of a subject is over, if one is open."""
        with self._engine.begin() as connection:
            _execute(connection, update(_table).where(_IS_OPEN), [_of_subject(mandator, subject) | {"cleared_at": now}])

    def last_checks(self) -> dict[str, datetime]:
        """Return when each mandator was last checked for incidents; one is absent if never."""
        with self._engine.connect() as connection:
            return {row.mandator: row.checked_at for row in connection.execute(select(incident_check))}

    def unsent(self, now: datetime) -> UnsentNotices:
        """Return what of all incidents has yet to be sent."""
        recent = _table.c.cleared_at.is_(None) | (_table.c.cleared_at > now - _ALL_CLEAR_WITHIN)
        with self._engine.connect() as connection:
            incidents = connection.execute(select(_table).where(recent).order_by(_table.c.noticed_at)).all()
            sent = connection.execute(select(notice).join(_table, _table.c.id == notice.c.incident_id).where(recent))
            stages: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
            for row in sent:
                stages[row.incident_id, row.channel].add(row.stage)
        return UnsentNotices(incidents, stages)

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


def read_open_incidents(connection: Connection) -> dict[str, dict[Subject, Incident]]:
    """Return all open incidents, by mandator and subject; the newest where a subject has several."""
    incidents: defaultdict[str, dict[Subject, Incident]] = defaultdict(dict)
    for row in connection.execute(select(_table).where(_table.c.cleared_at.is_(None)).order_by(_table.c.noticed_at)):
        incidents[row.mandator][Subject.parse(row.subject)] = _incident(row)
    return dict(incidents)


def _of_subject(mandator: str, subject: Subject) -> dict[str, object]:
    return {"of_mandator": mandator, "of_subject": str(subject)}


def _wording(incident: Incident) -> dict[str, object]:
    return {name: getattr(incident, name) for name in ("kind", "what", "remedy", "page")}


def _row(incident: Incident, now: datetime) -> dict[str, object]:
    return {"id": str(uuid4()), "noticed_at": now, **vars(incident), "subject": str(incident.subject)}


def _execute(connection: Connection, statement: Update | Insert, rows: Sequence[dict[str, object]]) -> None:
    """Execute a statement for all rows. An update sets the columns that the rows name."""
    if rows:
        connection.execute(statement, rows)


def _note_checks(connection: Connection, mandators: Collection[str], now: datetime) -> None:
    of_them = update(incident_check).where(incident_check.c.mandator.in_(mandators)).values(checked_at=now)
    if connection.execute(of_them).rowcount < len(mandators):
        insert_missing(
            connection, incident_check, [{"mandator": mandator, "checked_at": now} for mandator in mandators]
        )


def _incident(row: Row[Any]) -> Incident:
    values = {name: row._mapping[name] for name in _FIELDS}
    return Incident(**{**values, "subject": Subject.parse(values["subject"]), "kind": IncidentKind(values["kind"])})
