"""Erasures of people: in the state database, and once more as small files, so that a restore of one loses none."""

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Engine, select, update

from campaign_sync.domain.erasure import NO_ERASURES, Erased, Erasure, ErasureKey, Subject, SubjectKind
from campaign_sync.domain.message import Message, day_text
from campaign_sync.errors import CampaignSyncError
from campaign_sync.storage.erasure_tables import erasure, erasure_subject
from campaign_sync.storage.errors import ErasureKeyError
from campaign_sync.storage.files import FileStorage, FileStorageError
from campaign_sync.storage.upsert import insert_missing

FOLDER = "erasures"
"""Where the files are in the file storage."""


@dataclass(frozen=True)
class RecordedErasure:
    """An erasure, and whether its removals are done."""

    erasure: Erasure
    done_at: datetime | None
    """When everything was removed that had to be; None while something is pending."""


class Erasures:
    """Erased people, by keyed hashes.

    Args:
        engine: of the state database.
        secret: returns the configured key; None where there is none. It is called only where it is needed.
        files: the file storage; None for a state without one.
        copies: where the files of erasures are kept once more; None for nowhere.
    """

    def __init__(
        self,
        engine: Engine,
        secret: Callable[[], str] | None,
        files: FileStorage | None,
        copies: FileStorage | None = None,
    ) -> None:
        self._engine, self._secret, self._files = engine, secret, files
        self._stores = [store for store in (copies, files) if store is not None]

    def key(self) -> ErasureKey:
        """Return the key of all hashes.

        Raises:
            ErasureKeyError: it isn't configured, can't be read, is too short, or isn't the one of earlier erasures.
        """
        return self._key(self.everything())

    def erased(self) -> Erased:
        """Return everybody who was erased, as far as the state or a file knows. Records nothing.

        Raises:
            ErasureKeyError: people were erased, and can't be recognized without their key.
            FileStorageError: the files can't be read.
        """
        erasures = self.everything()
        return Erased.of(self._key(erasures), erasures) if erasures else NO_ERASURES

    def key_problem(self) -> str | None:
        """Return in one sentence why erased people can't be recognized; None if they can, and without erasures."""
        try:
            self.erased()
        except ErasureKeyError as error:
            return error.message
        return None

    def record(self, new: Erasure) -> None:
        """Record an erasure, in its files first. From then on the person is suppressed."""
        for store in self._stores:
            store.write_document(_file(new.id), _document(new))
        with self._engine.begin() as connection:
            _insert(connection, [new])

    def all(self) -> list[RecordedErasure]:
        """Return the erasures that the state knows, oldest first."""
        subjects: defaultdict[str, set[Subject]] = defaultdict(set)
        with self._engine.connect() as connection:
            rows = connection.execute(select(erasure).order_by(erasure.c.erased_at, erasure.c.id)).all()
            # Those of an erasure that is recorded meanwhile belong to none of the rows.
            for row in connection.execute(select(erasure_subject)) if rows else ():
                subjects[row.erasure_id].add(Subject(SubjectKind(row.kind), row.digest))
        return [
            RecordedErasure(
                Erasure(row.id, row.erased_at, row.asked_by, row.reason, row.probe, frozenset(subjects[row.id])),
                row.done_at,
            )
            for row in rows
        ]

    def pending(self) -> list[Erasure]:
        """Return the erasures whose removals aren't done, oldest first."""
        return [recorded.erasure for recorded in self.all() if recorded.done_at is None]

    def mark_done(self, erasure_id: str, now: datetime) -> None:
        """Record that everything was removed that had to be."""
        with self._engine.begin() as connection:
            connection.execute(update(erasure).where(erasure.c.id == erasure_id).values(done_at=now))

    def mark_pending(self, erasure_ids: Collection[str]) -> None:
        """Record that something is there again that had been removed."""
        with self._engine.begin() as connection:
            for erasure_id in erasure_ids:
                connection.execute(update(erasure).where(erasure.c.id == erasure_id).values(done_at=None))

    def synchronize(self) -> None:
        """Record everywhere what only the state or a file knows, after one of them was restored.

        What was restored holds the people again, so their removal is pending again.

        Raises:
            FileStorageError: the files can't be read or written.
        """
        known = [recorded.erasure for recorded in self.all()]
        missed = self._only_in_files(known)
        for store in self._stores:
            names = set(store.documents(FOLDER))
            lacking = [past for past in (*known, *missed) if _file(past.id) not in names]
            for past in lacking:
                store.write_document(_file(past.id), _document(past))
            if store is self._files:
                self.mark_pending([past.id for past in lacking])
        with self._engine.begin() as connection:
            _insert(connection, missed)

    def everything(self) -> list[Erasure]:
        """Return the erasures that the state or a file knows.

        Raises:
            FileStorageError: the files can't be read.
        """
        known = [recorded.erasure for recorded in self.all()]
        return [*known, *self._only_in_files(known)]

    def _only_in_files(self, known: Iterable[Erasure]) -> list[Erasure]:
        names = {_file(past.id) for past in known}
        missed: dict[str, Erasure] = {}
        for store in self._stores:
            for name in sorted(set(store.documents(FOLDER)) - names - missed.keys()):
                missed[name] = _parse(name, store)
        return list(missed.values())

    def _key(self, erasures: Iterable[Erasure]) -> ErasureKey:
        by_probe = {past.probe: past for past in erasures}
        if self._secret is None:
            if by_probe:
                raise ErasureKeyError(
                    Message(
                        "erasure.key isn't set, and without it erased people can't be recognized; set it to the "
                        "key that the erasures were made with"
                    )
                )
            raise ErasureKeyError(
                Message(
                    "erasure.key isn't set, and an erasure needs it; make one with `openssl rand -hex 32`, name it "
                    "there as {{env: NAME}} or {{file: PATH}}, and keep a copy apart from the state database"
                )
            )
        try:
            key = ErasureKey(self._secret())
        except CampaignSyncError as error:
            raise ErasureKeyError(error.message) from None
        except ValueError:
            raise ErasureKeyError(
                Message("erasure.key has fewer than 32 characters; make one with `openssl rand -hex 32`")
            ) from None
        for probe, past in by_probe.items():
            if probe != key.probe:
                raise ErasureKeyError(
                    Message(
                        "erasure.key is another one than that of the erasure of {day}, so erased people "
                        "can't be recognized; set it to that key again",
                        day=day_text(past.erased_at),
                    )
                )
        return key


def _insert(connection: Connection, erasures: Iterable[Erasure]) -> None:
    for new in erasures:
        row = {name: value for name, value in vars(new).items() if name != "subjects"}
        insert_missing(connection, erasure, [row])
        subjects = [{"erasure_id": new.id, "digest": digest, "kind": kind} for kind, digest in sorted(new.subjects)]
        insert_missing(connection, erasure_subject, subjects)


def _file(erasure_id: str) -> str:
    return f"{FOLDER}/{erasure_id}.json"


def _document(new: Erasure) -> bytes:
    subjects = [{"kind": kind, "digest": digest} for kind, digest in sorted(new.subjects)]
    return json.dumps({**vars(new), "erased_at": new.erased_at.isoformat(), "subjects": subjects}, indent=2).encode()


def _parse(name: str, store: FileStorage) -> Erasure:
    content = store.read_document(name)
    try:
        value = json.loads(content)
        subjects = frozenset(
            Subject(SubjectKind(subject["kind"]), str(subject["digest"])) for subject in value.pop("subjects")
        )
        parsed = Erasure(**{**value, "erased_at": datetime.fromisoformat(value["erased_at"])}, subjects=subjects)
    except (ValueError, TypeError, KeyError, AttributeError):
        parsed = None
    if parsed is None or _file(parsed.id) != name or parsed.erased_at.tzinfo is None:
        raise FileStorageError(
            f"{name} in {store.setting} isn't an erasure as it was written; restore it from a backup"
        )
    return parsed
