"""The troubles of each mandator, and which channel was told what of them."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from sqlalchemy import ColumnElement, Engine, Row, select, update

from campaign_sync.domain.incident import Changes, Incident, IncidentKind, Notice, Stage, changes
from campaign_sync.storage.tables import alarm_look, notice, trouble
from campaign_sync.storage.upsert import insert_missing, upsert

_STILL_NEWS = timedelta(days=7)
"""How long after a trouble is over its all-clear is worth telling."""

_FIELDS = [field.name for field in fields(Incident)]


class Incidents:
    """What is wrong, written down so that it is told once, whatever process tells it and whatever dies meanwhile."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def open(self, mandator: str) -> dict[str, Incident]:
        """The open troubles of a mandator by their subject."""
        is_open = (trouble.c.mandator == mandator) & trouble.c.cleared_at.is_(None)
        return {row.subject: _trouble(row) for row in self._rows(is_open)}

    def reconcile(self, mandator: str, found: Iterable[Incident], unsettled: Collection[str], now: datetime) -> Changes:
        """Write down what is wrong now, and what isn't any more.

        Args:
            mandator: whose troubles these are.
            found: all that is wrong with it now.
            unsettled: subjects whose troubles can't be over yet, for somebody is working at them.
            now: when this was found.
        """
        changed = changes(self.open(mandator), found, unsettled)
        is_open = (trouble.c.mandator == mandator) & trouble.c.cleared_at.is_(None)
        with self._engine.begin() as connection:
            for one in changed.worse:
                values = {name: getattr(one, name) for name in ("kind", "what", "remedy", "page")}
                connection.execute(update(trouble).where(is_open, trouble.c.subject == one.subject).values(values))
            for subject in changed.over:
                connection.execute(update(trouble).where(is_open, trouble.c.subject == subject).values(cleared_at=now))
            for one in changed.new:  # last, for the same subject may have had another one
                connection.execute(trouble.insert().values(id=str(uuid4()), noticed_at=now, **vars(one)))
            look = {"mandator": mandator, "looked_at": now}
            upsert(connection, alarm_look, [look], update=("looked_at",))
        return changed

    def last_checked(self, mandator: str) -> datetime | None:
        """When somebody last looked what is wrong with a mandator; None for never."""
        query = select(alarm_look.c.looked_at).where(alarm_look.c.mandator == mandator)
        with self._engine.connect() as connection:
            found: datetime | None = connection.execute(query).scalar()
        return found

    def unsent(self, mandator: str, channel: str, now: datetime) -> list[Notice]:
        """What a channel has yet to tell of a mandator, oldest first.

        What was over before the channel could tell of it, it needn't tell any more.
        """
        lately = trouble.c.cleared_at.is_(None) | (trouble.c.cleared_at > now - _STILL_NEWS)
        rows = self._rows((trouble.c.mandator == mandator) & lately)
        told = self._told(channel, [row.id for row in rows])
        notices = []
        for row in rows:
            already = told.get(row.id, set())
            if row.cleared_at is not None:
                if already and Stage.ALL_CLEAR not in already:
                    notices.append(Notice(Stage.ALL_CLEAR, _trouble(row), row.cleared_at, row.id))
            elif row.kind not in already:
                notices.append(Notice(Stage.WORSE if already else Stage.ALARM, _trouble(row), None, row.id))
        return notices

    def require_writable(self, one: Notice) -> None:
        """Make sure that it can be written down what is told of a trouble; nothing changes.

        Raises:
            StateError: it can't, for the disk is full, or the database takes no changes.
        """
        with self._engine.begin() as connection:
            connection.execute(update(trouble).where(trouble.c.id == one.id).values(id=one.id))

    def mark_sent(self, one: Notice, channel: str, now: datetime) -> None:
        """The channel has told of it."""
        stage = one.trouble.kind if one.until is None else Stage.ALL_CLEAR
        values = {"trouble_id": one.id, "channel": channel, "stage": str(stage), "sent_at": now}
        with self._engine.begin() as connection:
            insert_missing(connection, notice, [values])

    def _rows(self, condition: ColumnElement[bool]) -> list[Row[Any]]:
        with self._engine.connect() as connection:
            return list(connection.execute(select(trouble).where(condition).order_by(trouble.c.noticed_at)))

    def _told(self, channel: str, ids: Sequence[str]) -> dict[str, set[str]]:
        told: dict[str, set[str]] = {}
        query = select(notice).where(notice.c.channel == channel, notice.c.trouble_id.in_(ids))
        with self._engine.connect() as connection:
            for row in connection.execute(query):
                told.setdefault(row.trouble_id, set()).add(row.stage)
        return told


def _trouble(row: Row[Any]) -> Incident:
    values = {name: row._mapping[name] for name in _FIELDS}
    return Incident(**{**values, "kind": IncidentKind(values["kind"])})
