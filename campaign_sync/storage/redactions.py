"""The journal of redactions: which files were replaced after an erasure, with their digests before and after."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import uuid4

from sqlalchemy import Column, Connection, Engine, Row, Select, Table, func, select, update

from campaign_sync.storage.erasure_tables import redaction
from campaign_sync.storage.tables import feedback_import, list_plan, replace, response_import, snapshot


class RedactedKind(StrEnum):
    """What a replaced file belongs to."""

    SNAPSHOT = "snapshot"
    PLAN = "plan"
    """The rejections of a plan."""
    FEEDBACK = "feedback"
    RESPONSES = "responses"


@dataclass(frozen=True)
class RecordedFile:
    """A file whose name and digest are recorded."""

    kind: RedactedKind
    owner_id: str
    """The id of the snapshot, the plan or the import."""
    file: str
    digest: str


@dataclass(frozen=True)
class Redaction:
    """One replacement of a file."""

    erasure_id: str
    kind: RedactedKind
    owner_id: str
    rows: int
    """How many of its rows were about the erased person."""
    members: int
    """How many of these were in the list that was last proven by this snapshot."""
    file_before: str
    digest_before: str
    file_after: str
    digest_after: str
    redacted_at: datetime


_FIELDS = tuple(Redaction.__dataclass_fields__)


@dataclass(frozen=True)
class ChangedList:
    """A list at the vendor that a replacement changed."""

    mandator: str
    list: str
    recipient_list_id: int


_OWNERS: Mapping[RedactedKind, tuple[Table, str, str]] = {
    RedactedKind.SNAPSHOT: (snapshot, "file", "digest"),
    RedactedKind.PLAN: (list_plan, "rejections_file", "rejections_digest"),
    RedactedKind.FEEDBACK: (feedback_import, "file", "digest"),
    RedactedKind.RESPONSES: (response_import, "file", "digest"),
}


class Redactions:
    """The files that are recorded, and the journal of those that were replaced."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def files(self, kind: RedactedKind) -> dict[str, RecordedFile]:
        """Return the files of a kind that weren't removed, by name."""
        table, file, digest = _OWNERS[kind]
        query = select(table.c.id, table.c[file].label("file"), table.c[digest].label("digest"))
        if "removed_at" in table.c:
            query = query.where(table.c.removed_at.is_(None))
        with self._engine.connect() as connection:
            return {row.file: RecordedFile(kind, row.id, row.file, row.digest) for row in connection.execute(query)}

    def replace(self, old: RecordedFile, new: RecordedFile, entries: Collection[Redaction]) -> None:
        """Record that a file was replaced: from now on the new one counts."""
        table, file, digest = _OWNERS[old.kind]
        is_it = (table.c.id == old.owner_id) & (_column(table, file) == old.file)
        with self._engine.begin() as connection:
            connection.execute(update(table).where(is_it).values({file: new.file, digest: new.digest}))
            rows = [{"id": str(uuid4()), **vars(entry)} for entry in entries]
            if rows:
                connection.execute(redaction.insert(), rows)

    def by_replaced_file(self) -> dict[str, list[Redaction]]:
        """Return the journal by the names of the files that were replaced. None is there, unless it was restored."""
        entries: defaultdict[str, list[Redaction]] = defaultdict(list)
        with self._engine.connect() as connection:
            for row in connection.execute(select(*redaction.c[_FIELDS])):
                entries[row.file_before].append(_redaction(row))
        return dict(entries)

    def take_back(self, restored: RecordedFile, lost: RecordedFile) -> None:
        """Record a file that was restored instead of a later one that was lost, as if this had never replaced it."""
        table, file, digest = _OWNERS[lost.kind]
        of_owner = (redaction.c.kind == lost.kind) & (redaction.c.owner_id == lost.owner_id)
        since = select(func.min(redaction.c.redacted_at)).where(of_owner, redaction.c.file_before == restored.file)
        with self._engine.begin() as connection:
            taken_back = of_owner & (redaction.c.redacted_at >= connection.execute(since).scalar_one())
            connection.execute(redaction.delete().where(taken_back))
            is_it = (table.c.id == lost.owner_id) & (_column(table, file) == lost.file)
            connection.execute(update(table).where(is_it).values({file: restored.file, digest: restored.digest}))

    def changed_lists(self, erasure_id: str) -> Sequence[ChangedList]:
        """Return the lists whose newest replacement sent a snapshot that had the person."""
        newest = (
            select(replace.c.recipient_list_id, func.max(replace.c.started_at).label("started_at"))
            .where(replace.c.cleared_at.is_not(None))
            .group_by(replace.c.recipient_list_id)
            .subquery()
        )
        had_person = select(redaction.c.owner_id).where(
            redaction.c.erasure_id == erasure_id, redaction.c.kind == RedactedKind.SNAPSHOT
        )
        query = (
            select(*replace.c["mandator", "list", "recipient_list_id"])
            .join(
                newest,
                (newest.c.recipient_list_id == replace.c.recipient_list_id)
                & (newest.c.started_at == replace.c.started_at),
            )
            .where(replace.c.snapshot_id.in_(had_person))
            .order_by(replace.c.mandator, replace.c.list)
        )
        with self._engine.connect() as connection:
            return [ChangedList(*row) for row in connection.execute(query)]


def read_redactions(
    connection: Connection, kind: RedactedKind, owner_ids: Select[tuple[str]]
) -> dict[str, list[Redaction]]:
    """Return the redactions of the snapshots, plans or imports that a query names, oldest first, by their ids."""
    by_owner: defaultdict[str, list[Redaction]] = defaultdict(list)
    query = select(*redaction.c[_FIELDS]).where(redaction.c.kind == kind, redaction.c.owner_id.in_(owner_ids))
    for row in connection.execute(query.order_by(redaction.c.redacted_at)):
        by_owner[row.owner_id].append(_redaction(row))
    return dict(by_owner)


def _redaction(row: Row[Any]) -> Redaction:
    return Redaction(**{**row._mapping, "kind": RedactedKind(row.kind)})


def _column(table: Table, name: str) -> Column[str]:
    return table.c[name]
