"""The removal of erased people from the file storage."""

import hashlib
import io
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath
from typing import TypeAlias
from uuid import uuid4

import pandas as pd
import pyarrow.parquet as pq

from campaign_sync.domain.erasure import Erasure
from campaign_sync.domain.membership import list_members
from campaign_sync.erasure.places import (
    FEEDBACK,
    LAST_RUN,
    RESPONSES,
    SENT_PEOPLE,
    SNAPSHOTS,
    UNFINISHED,
    PlaceOutcome,
)
from campaign_sync.erasure.redacted_content import (
    Note,
    RedactedContent,
    UnsearchableError,
    readable,
    redact_csv,
    redact_frame,
    redact_raw,
    redaction_notes,
    replace_subjects,
)
from campaign_sync.erasure.searched_files import SearchedFiles
from campaign_sync.erasure.subjects import ErasedSubjects
from campaign_sync.storage import expired_files
from campaign_sync.storage.files import RAW, FileStorage, FileStorageError
from campaign_sync.storage.redactions import RecordedFile, RedactedKind, Redaction
from campaign_sync.storage.state import State

OnFile: TypeAlias = Callable[[str, int, int], None]

_NOTES = "redactions"
"""The key of a manifest that says which files its file has replaced."""

_SUPPRESSION = {"kind", "since", "source"}
"""Columns by which a stored suppression frame is recognized."""


def restored_erasures(files: FileStorage, state: State) -> set[str]:
    """Return the erasures whose people are in files again that had been replaced, and were restored.

    Raises:
        FileStorageError: the files can't be listed.
    """
    journal = state.redactions.by_replaced_file()
    folders = (expired_files.SNAPSHOTS, "feedback", expired_files.RESPONSES) if journal else ()
    present = journal.keys() & {name for folder in folders for name in files.names(folder)}
    return {entry.erasure_id for name in present for entry in journal[name]}


@dataclass(frozen=True)
class FileRemoval:
    """Removes erased people from all files of the storage.

    A file whose digest is recorded is written anew under another name, then recorded, then the old one is removed.
    Wherever this ends, every reader finds what is recorded.

    Args:
        files: the file storage.
        state: has what is recorded of the files.
        subjects: who was erased.
        kept_words: texts in feedback that name no person.
        now: the current time.
        searched: which files earlier attempts have searched.
    """

    files: FileStorage
    state: State
    subjects: ErasedSubjects
    kept_words: Collection[str]
    now: datetime
    searched: SearchedFiles
    on_file: OnFile = lambda *_: None
    """Receives the place, how many of its files were searched, and how many there are."""
    hindrance: Callable[[], str | None] = lambda: None
    """Returns why no further file may be searched; None while it may."""

    def all(self) -> Iterator[PlaceOutcome]:
        """Yield what was done in each place."""
        yield self._snapshots()
        yield self._rows_as_received(FEEDBACK, "feedback", RedactedKind.FEEDBACK)
        yield self._responses()
        yield self._last_run()
        yield self._sent_people()
        yield self._unfinished()

    def _snapshots(self) -> PlaceOutcome:
        outcome = PlaceOutcome(SNAPSHOTS)
        with outcome.attempt():
            recorded = {
                name: entry
                for kind in (RedactedKind.SNAPSHOT, RedactedKind.PLAN)
                for name, entry in self.state.redactions.files(kind).items()
            }
            names = [name for name in self.files.names(expired_files.SNAPSHOTS) if name.endswith(".parquet")]
            for entry in self._restored(recorded, names, self._frame_notes):
                recorded[entry.file] = entry
            for name in self._counted(outcome, self._settle_replaced(recorded, names, outcome)):
                with outcome.attempt():
                    self._redact_recorded(name, recorded.get(name), outcome, self._redacted_frame)
        return outcome

    def _counted(self, outcome: PlaceOutcome, names: Sequence[str]) -> Iterator[str]:
        """Yield names, and report each that is done; if there is a hindrance, it is the problem of the others.

        Those that an earlier attempt has searched aren't yielded.
        """
        for number, name in enumerate(names, 1):
            if not self.searched.covers(name):
                if hindrance := self.hindrance():
                    outcome.problem = outcome.problem or hindrance
                    break
                yield name
            self.on_file(outcome.place, number, len(names))
        self.searched.save()

    def _redacted_frame(self, name: str, content: bytes) -> RedactedContent | None:
        with readable(name):
            return redact_frame(content, self.subjects)

    def _frame_notes(self, name: str) -> Sequence[Note]:
        with readable(name):
            return redaction_notes(self.files.read_document(name))

    def _restored(
        self, recorded: Mapping[str, RecordedFile], names: Sequence[str], notes_of: Callable[[str], Sequence[Note]]
    ) -> list[RecordedFile]:
        """Record again which files replaced those that a restored, older state database has on record."""
        lost = {name: recorded[name] for name in recorded.keys() - set(names)}
        again = []
        for name in names if lost else ():
            notes = [] if name in recorded else list(notes_of(name))
            while notes and ((former := lost.get(notes[0]["file"])) is None or former.digest != notes[0]["digest"]):
                del notes[0]
            if not notes:
                continue
            former = lost[notes[0]["file"]]
            digest = self.files.digest_of(name, self.files.read_document(name))
            steps = [*((note["file"], note["digest"]) for note in notes), (name, digest)]
            entries = [
                Redaction(
                    erasure_id, former.kind, former.owner_id, rows, members, *steps[number], *steps[number + 1],
                    datetime.fromisoformat(note["redacted_at"]),
                )
                for number, note in enumerate(notes)
                for erasure_id, rows, members in note["erasures"]
            ]  # fmt: skip
            again.append(RecordedFile(former.kind, former.owner_id, name, digest))
            self.state.redactions.replace(former, again[-1], entries)
        return again

    def _settle_replaced(
        self, recorded: dict[str, RecordedFile], names: Sequence[str], outcome: PlaceOutcome
    ) -> list[str]:
        """Return the files that are to be searched, without those that were replaced and are still there, or again.

        Such a file is removed, unless the one that replaced it was lost: then it is recorded again.
        """
        by_owner, present = {(entry.kind, entry.owner_id): entry for entry in recorded.values()}, set(names)
        by_id = {erasure.id: erasure for erasure in self.subjects.erasures}
        journal, searched = self.state.redactions.by_replaced_file(), []
        for name in names:
            entries = [] if name in recorded else journal.get(name, [])
            current = by_owner.get((entries[0].kind, entries[0].owner_id)) if entries else None
            if current and self.files.is_intact(name, entries[0].digest_before):
                if current.file in present and self.files.is_intact(current.file, current.digest):
                    self.files.remove_rows(name)
                    known = [entry for entry in entries if entry.erasure_id in by_id]
                    outcome.rows.update({by_id[entry.erasure_id]: entry.rows for entry in known})
                    continue
                restored = RecordedFile(current.kind, current.owner_id, name, entries[0].digest_before)
                self.state.redactions.take_back(restored, current)
                recorded[name] = by_owner[current.kind, current.owner_id] = restored
            searched.append(name)
        return searched

    def _redact_recorded(
        self,
        name: str,
        recorded: RecordedFile | None,
        outcome: PlaceOutcome,
        redact: Callable[[str, bytes], RedactedContent | None],
    ) -> None:
        content = self.files.read_document(name)
        redacted = redact(name, content)
        if redacted is None:
            self.searched.add(name)
            return
        digest = self.files.digest_of(name, content)
        if recorded and recorded.digest != digest:
            raise FileStorageError(f"{name} in storage.frames isn't what was written there; restore it, or remove it")
        members = self._members(recorded, content, redacted) if recorded else Counter()
        counts = [(erasure.id, rows, members[erasure]) for erasure, rows in redacted.rows.items()]
        note: Note = {"file": name, "digest": digest, "redacted_at": self.now.isoformat(), "erasures": counts}
        write = self._write_frame if name.endswith(".parquet") else self._write_rows
        new = write(name, redacted, note)
        if recorded:
            owner = (recorded.kind, recorded.owner_id)
            entries = [
                Redaction(erasure_id, *owner, rows, in_list, name, digest, *new, self.now)
                for erasure_id, rows, in_list in counts
            ]
            self.state.redactions.replace(recorded, RecordedFile(*owner, *new), entries)
        self.files.remove_rows(name)
        self.searched.add(new[0])
        outcome.rows.update(redacted.rows)

    def _members(self, recorded: RecordedFile, content: bytes, redacted: RedactedContent) -> Counter[Erasure]:
        """Return how many of the erased rows were in the list that was last proven by the snapshot."""
        history = self.state.replacement_history
        proven = history.proven_by(recorded.owner_id) if recorded.kind is RedactedKind.SNAPSHOT else None
        if proven is None:
            return Counter()
        frame = pd.read_parquet(io.BytesIO(content), columns=["entity_type", "entity_id"])
        in_list = set(list_members(frame, proven, history.rejected_rows(proven)).rows.index)
        return Counter(erasure for position, erasure in redacted.matches if position in in_list)

    def _write_frame(self, name: str, redacted: RedactedContent, note: Note) -> tuple[str, str]:
        path, content = PurePosixPath(name), redacted.write(note)
        time = path.stem.rpartition("-")[0] or path.stem
        new = f"{path.parent}/{time}-{uuid4().hex[:8]}.parquet"
        self.files.write_document(new, content)
        return new, hashlib.sha256(content).hexdigest()

    def _write_rows(self, name: str, redacted: RedactedContent, note: Note) -> tuple[str, str]:
        return self.files.rewrite_rows(name, redacted.content, {_NOTES: [*self._row_notes(name), note]})

    def _row_notes(self, name: str) -> Sequence[Note]:
        notes: Sequence[Note] = self.files.manifest(name).get(_NOTES, [])
        return notes

    def _rows_as_received(self, place: str, folder: str, kind: RedactedKind) -> PlaceOutcome:
        outcome = PlaceOutcome(place)
        with outcome.attempt():
            recorded = self.state.redactions.files(kind)
            names = [name for name in self.files.names(folder) if name.endswith((".csv", RAW))]
            for entry in self._restored(recorded, names, self._row_notes):
                recorded[entry.file] = entry
            for name in self._counted(outcome, self._settle_replaced(recorded, names, outcome)):
                with outcome.attempt():
                    self._redact_recorded(name, recorded.get(name), outcome, self._redacted_rows)
        return outcome

    def _redacted_rows(self, name: str, content: bytes) -> RedactedContent | None:
        with readable(name):
            if name.endswith(RAW):
                return self._redacted_raw(name, content)
            return redact_csv(content, self.subjects, self.kept_words)

    def _redacted_raw(self, name: str, content: bytes) -> RedactedContent | None:
        try:
            return redact_raw(content, self.subjects)
        except UnsearchableError:
            raise FileStorageError(
                f"{name} in storage.frames is packed, and cut off or damaged, so that not all of it can be searched. "
                "Have the vendor deliver it again, give this one up (`campaign-sync feedback dismiss`), and remove it"
            ) from None

    def _responses(self) -> PlaceOutcome:
        outcome = self._rows_as_received(RESPONSES, "responses", RedactedKind.RESPONSES)
        with outcome.attempt():
            for name in self.files.names("responses"):
                if name.endswith(".parquet"):
                    self._redact_in_place(name, outcome)
        return outcome

    def _last_run(self) -> PlaceOutcome:
        outcome = PlaceOutcome(LAST_RUN)
        with outcome.attempt():
            for name in self.files.names("assets"):
                if name.endswith(".parquet"):
                    self._redact_in_place(name, outcome)
        return outcome

    def _redact_in_place(self, name: str, outcome: PlaceOutcome) -> None:
        """Replace a file whose digest isn't recorded."""
        with outcome.attempt(), readable(name):
            content = self.files.read_document(name)
            is_suppression = set(pq.read_schema(io.BytesIO(content)).names) >= _SUPPRESSION
            redacted = (replace_subjects if is_suppression else redact_frame)(content, self.subjects)
            if redacted:
                self.files.write_document(name, redacted.content)
                outcome.rows.update(redacted.rows)

    def _sent_people(self) -> PlaceOutcome:
        """Remove the index of whom each snapshot has: it is made again from the snapshots."""
        outcome = PlaceOutcome(SENT_PEOPLE)
        with outcome.attempt():
            for name in self.files.names(expired_files.SENT_PEOPLE):
                self.files.remove_frame(name)
                outcome.rows.update(self.subjects.erasures)
        return outcome

    def _unfinished(self) -> PlaceOutcome:
        """Remove what processes left that died while they wrote; none is running now."""
        outcome = PlaceOutcome(UNFINISHED)
        with outcome.attempt():
            for name in self.files.unfinished():
                self.files.remove_frame(name)
                outcome.rows.update(self.subjects.erasures)
        return outcome
