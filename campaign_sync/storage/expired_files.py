"""Removal of the files that are kept no longer: snapshots, and rows as the vendor sent them."""

from collections.abc import Collection
from datetime import datetime

from campaign_sync.domain.retention import removable_files
from campaign_sync.storage.files import FileStorage
from campaign_sync.storage.import_windows import ImportWindows, WindowT
from campaign_sync.storage.state import State

SNAPSHOTS = "snapshots"
"""The folder of the snapshots, with a folder for each list in that of its mandator."""

SENT_PEOPLE = "sent_people"
"""The folder of the index of the snapshots, with a folder for each recipient list in that of its mandator."""

COMPARED = 2
"""How many of the newest proven snapshots of a list are compared with each other."""


def remove_snapshots(frames: FileStorage, state: State, mandator: str, lists: Collection[str], before: datetime) -> int:
    """Remove the mandator's snapshots of before a moment, also those of lists that it has no more. Return how many.

    The index of a recipient list whose last snapshot is of before that moment goes with them. What a list was proven to
    hold last, and before that, is never removed, nor what may still be sent to it.

    Args:
        frames: the file storage.
        state: says which are needed.
        mandator: its key.
        lists: the keys of its lists.
        before: the moment, in UTC.

    Raises:
        FileStorageError: a file can't be removed.
        StateError: the state database can't be used.
    """
    needed = {file for name in lists for file in _needed(state, mandator, name)}
    old = removable_files(frames.frames(f"{SNAPSHOTS}/{mandator}"), needed, before)
    for name in old:
        frames.remove_frame(name)
    for name in removable_files(frames.frames(f"{SENT_PEOPLE}/{mandator}"), (), before):
        frames.remove_frame(name)
    return len(old)


def _needed(state: State, mandator: str, name: str) -> list[str]:
    proven = [entry.file for entry in state.replacement_history.proven(mandator, name)[:COMPARED]]
    latest, unfinished = state.snapshots.latest(mandator, name), state.replacements.incomplete(mandator, name)
    sent = state.snapshots.get(unfinished.snapshot_id) if unfinished else None
    return [*proven, *(snapshot.file for snapshot in (latest, sent) if snapshot)]


def remove_raw_rows(
    frames: FileStorage, imports: ImportWindows[WindowT], mandator: str, before: datetime, now: datetime
) -> int:
    """Remove the rows of windows that ended before a moment and are taken completely. Return of how many windows.

    Raises:
        FileStorageError: a file can't be removed.
        StateError: the state database can't be used.
    """
    windows = imports.expired(mandator, before)
    for window in windows:
        frames.remove_rows(window.file)
        imports.mark_removed(window.id, now)
    return len(windows)
