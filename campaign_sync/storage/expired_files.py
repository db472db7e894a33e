"""Removal of the files that are kept no longer: snapshots, rows as the vendor sent them, responses, last selections."""

from collections.abc import Collection
from datetime import date, datetime

from campaign_sync.domain.asset_names import OF_LISTS, AssetName
from campaign_sync.domain.response import ResponseKind
from campaign_sync.domain.retention import removable_files
from campaign_sync.storage.expired_rows import COMPARED
from campaign_sync.storage.files import FileStorage
from campaign_sync.storage.import_windows import ImportWindows, WindowT
from campaign_sync.storage.state import State

SNAPSHOTS = "snapshots"
"""The folder of the snapshots, with a folder for each list in that of its mandator."""

SENT_PEOPLE = "sent_people"
"""The folder of the index of the snapshots, with a folder for each recipient list in that of its mandator."""

ASSETS = "assets"
"""The folder of what assets hand to each other, with a folder for each mandator, below the prefix if there is one."""

RESPONSES = "responses"
"""The folder of responses: `<mandator>/<kind>/day=YYYY-MM-DD`, and rows as the vendor sent them."""


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


def remove_plan_files(frames: FileStorage, state: State, mandator: str, before: datetime) -> int:
    """Remove the files of plans of before a moment that no replacement has used. Return how many.

    Raises:
        FileStorageError: a file can't be removed.
        StateError: the state database can't be used.
    """
    planned = set(state.expired_rows.plan_files(mandator, before))
    old = sorted(planned.intersection(frames.frames(f"{SNAPSHOTS}/{mandator}"))) if planned else []
    for name in old:
        frames.remove_frame(name)
    return len(old)


def remove_unfinished(frames: FileStorage, before: datetime) -> int:
    """Remove files that processes began to write before a moment and that died meanwhile. Return how many.

    Raises:
        FileStorageError: a file can't be removed.
    """
    dead = [name for name in frames.unfinished() if frames.was_written_before(name, before)]
    for name in dead:
        frames.remove_frame(name)
    return len(dead)


def remove_responses(frames: FileStorage, mandator: str, first_kept: date) -> int:
    """Remove the days of the dataset of responses before a day, in UTC. Return how many, of all kinds together.

    Raises:
        FileStorageError: a file can't be removed.
    """
    removed = 0
    for kind in ResponseKind:
        folder = f"{RESPONSES}/{mandator}/{kind}"
        for name in frames.folders(folder):
            day = _day(name)
            if day and day < first_kept:
                frames.remove_folder(f"{folder}/{name}")
                removed += 1
    return removed


def _day(folder: str) -> date | None:
    """Return the day of a partition; None for any other folder."""
    try:
        return date.fromisoformat(folder.removeprefix("day=")) if folder.startswith("day=") else None
    except ValueError:
        return None


def remove_last_frames(
    frames: FileStorage, mandator: str, lists: Collection[str] | None, before: datetime, *, prefix: str
) -> int:
    """Remove what the last run left of lists that a mandator has no more. Return how many files.

    Args:
        frames: the file storage.
        mandator: its key.
        lists: the keys of its lists; None if there is no such mandator any more, so that all of its files go.
        before: only what was written before that moment goes.
        prefix: the prefix of names in Dagster, or nothing.

    Raises:
        FileStorageError: a file can't be removed.
    """
    folder = "/".join(filter(None, (ASSETS, prefix, mandator)))
    removed = 0
    for name in frames.file_names(folder, ".parquet"):
        if _is_gone(mandator, name, lists) and frames.was_written_before(f"{folder}/{name}", before):
            frames.remove_frame(f"{folder}/{name}")
            removed += 1
    return removed


def _is_gone(mandator: str, file: str, lists: Collection[str] | None) -> bool:
    try:
        asset = AssetName.parse((mandator, file.removesuffix(".parquet")))
    except ValueError:
        return False
    return lists is None or (asset.kind in OF_LISTS and asset.recipient_list not in lists)
