"""The copy of consents and bounces: read anew for every snapshot, in a file that no other process sees."""

import sqlite3
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from campaign_sync.crm.mirror.loading import (
    complete_columns,
    copy_errors,
    create_table,
    insert_rows,
    require_columns,
    require_unique_ids,
)
from campaign_sync.crm.mirror.memory import ConsentMemory
from campaign_sync.crm.mirror.shared_file import prepare_for_loading
from campaign_sync.crm.mirror.source import ADDRESS_STATE_COLUMNS, EVENT_COLUMNS, SourceReader
from campaign_sync.crm.mirror.states import StateTable
from campaign_sync.crm.port import CrmError
from campaign_sync.domain.consent import ConsentWords, OptIn, normalize_word
from campaign_sync.domain.text import normalize_text
from campaign_sync.storage.private_files import create_private_file

COPIED_EVENT_COLUMNS = (*EVENT_COLUMNS, "text_version", "from_state")
"""`from_state` is 1 for events that a state means; NULL for all others."""

_OPT_IN_COLUMNS = ("opt_in_id", "mandator", "description", "media_type")

_SECONDS_TO_OPEN = 60
"""After this time a file that still has its name belongs to a dead process."""

_INDEXES = (
    "CREATE INDEX consent_event_of_opt_in ON consent_event (opt_in_id, entity_type, entity_id)",
    "CREATE INDEX consent_event_of_entity ON consent_event (entity_type, entity_id)",
    "CREATE INDEX consent_event_kind ON consent_event (kind)",
)


@contextmanager
def private_database(folder: Path) -> Iterator[sqlite3.Connection]:
    """Open an empty database in the folder, which is gone when the context or the process ends.

    Its file loses its name as soon as it is open, so it can't outlive the process.
    """
    file = folder / f".consents.{uuid4().hex}.part"
    with copy_errors("creating a file"):
        create_private_file(file)
        try:
            connection = sqlite3.connect(
                file.absolute().as_uri(), uri=True, isolation_level=None, check_same_thread=False
            )
        finally:
            file.unlink(missing_ok=True)
    try:
        with copy_errors("preparing a file"):
            prepare_for_loading(connection)
        yield connection
    finally:
        connection.close()


def remove_leftovers(folder: Path) -> None:
    """Remove the empty files of processes that died between creating and opening one."""
    for file in folder.glob(".consents.*.part"):
        with suppress(OSError):
            age = datetime.now(UTC).timestamp() - file.stat().st_mtime
            if age > _SECONDS_TO_OPEN:
                file.unlink()


@dataclass(frozen=True)
class ConsentLoader:
    """Loads opt-ins, consent events, states and bounces.

    Args:
        connection: to the copy, with the people attached.
        words: how the CRM calls what happens to a consent.
        opt_ins: those of the configuration.
        memory: turns states into events.
        now: the present moment. What a source has shown for longer is observed as of its own time.
    """

    connection: sqlite3.Connection
    words: ConsentWords
    opt_ins: Sequence[OptIn]
    memory: ConsentMemory
    now: datetime

    def load(self, reader: SourceReader, opt_in_ids: Collection[str] | None) -> None:
        """Load everything completely; only then it is passed to the memory.

        Args:
            reader: yields the rows.
            opt_in_ids: the opt-ins whose consents are needed; all if None. If there are none, no consents are read.

        Raises:
            CrmError: not all rows came, or they contradict themselves.
        """
        self.connection.execute("BEGIN")
        definitions = self._load_opt_ins(reader)
        wanted = None if opt_in_ids is None else frozenset(map(normalize_word, opt_in_ids))
        self._load_events(reader, opt_in_ids, _Relevant(frozenset(definitions), wanted))
        states = StateTable(self.connection, self.words, definitions, wanted)
        rows = None if wanted == frozenset() else reader.consent_states(opt_in_ids)
        if rows is not None:
            states.load(rows)
        self._load_bounces(reader)
        if rows is not None:
            states.add_events(self.memory, min(self.now, reader.as_of))
        for index in _INDEXES:
            self.connection.execute(index)
        self.connection.execute("COMMIT")

    def _load_opt_ins(self, reader: SourceReader) -> dict[str, OptIn]:
        """Load the opt-ins of the CRM and the configuration, and return them by normalized id."""
        opt_ins = list(reader.opt_ins())
        by_id = {normalize_word(opt_in.opt_in_id): opt_in for opt_in in opt_ins}
        for opt_in in self.opt_ins:
            defined = by_id.setdefault(normalize_word(opt_in.opt_in_id), opt_in)
            if _texts(defined) != _texts(opt_in):
                raise CrmError(
                    f"the CRM defines the opt-in {opt_in.opt_in_id!r}, and crm.opt_ins defines it differently; remove "
                    "it from crm.opt_ins"
                )
            if defined is opt_in:
                opt_ins.append(opt_in)
        create_table(self.connection, "opt_in", _OPT_IN_COLUMNS)
        insert_rows(self.connection, "opt_in", _OPT_IN_COLUMNS, map(_texts, opt_ins))
        return by_id

    def _load_events(self, reader: SourceReader, opt_in_ids: Collection[str] | None, relevant: "_Relevant") -> None:
        create_table(self.connection, "consent_event", COPIED_EVENT_COLUMNS)
        rows = None if relevant.wanted == frozenset() else reader.consent_events(opt_in_ids)
        if rows is None:
            return
        require_columns(rows, EVENT_COLUMNS, "consent_event")
        names = tuple(name for name in rows.columns if name in COPIED_EVENT_COLUMNS[:-1])
        positions = [rows.columns.index(name) for name in names]
        for columns in complete_columns(rows, "consent_event", ("occurred_at",)):
            chosen = relevant.rows(columns[EVENT_COLUMNS.index("opt_in_id")])
            kept = zip(*(columns[position] for position in positions), strict=True)
            insert_rows(
                self.connection,
                "consent_event",
                names,
                kept if chosen is None else (row for row, choose in zip(kept, chosen, strict=True) if choose),
            )
        require_unique_ids(self.connection, "consent_event")

    def _load_bounces(self, reader: SourceReader) -> None:
        create_table(self.connection, "address_state", ADDRESS_STATE_COLUMNS)
        rows = reader.address_states()
        require_columns(rows, ADDRESS_STATE_COLUMNS, "address_state")
        size = len(ADDRESS_STATE_COLUMNS)
        for columns in complete_columns(rows, "address_state", ("bounced_at",)):
            insert_rows(self.connection, "address_state", ADDRESS_STATE_COLUMNS, zip(*columns[:size], strict=True))


@dataclass(frozen=True)
class _Relevant:
    """Which rows are about opt-ins that are needed, or about any that the CRM doesn't define: it could be these."""

    defined: frozenset[str]
    wanted: frozenset[str] | None

    def rows(self, opt_in_ids: Sequence[object]) -> list[bool] | None:
        """Return for each row whether it is relevant, by its opt-in; None if all are."""
        if self.wanted is None:
            return None
        spellings = {raw: self._is_relevant(normalize_word(raw), self.wanted) for raw in set(opt_in_ids)}
        return None if all(spellings.values()) else [spellings[raw] for raw in opt_in_ids]

    def _is_relevant(self, key: str, wanted: frozenset[str]) -> bool:
        return key in wanted or key not in self.defined


def _texts(opt_in: OptIn) -> tuple[str, str, str, str]:
    return (normalize_text(opt_in.opt_in_id), normalize_text(opt_in.mandator), opt_in.description, opt_in.media_type)
