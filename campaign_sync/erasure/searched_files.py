"""Which files were searched for the people of which erasures, so that a removal that ended early goes on."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Collection
from contextlib import suppress

from campaign_sync.storage.files import FileStorage, FileStorageError

_FOLDER = "erasure_searches"
"""Where this is kept in the file storage: names of files and ids of erasures."""

_SAVED_EVERY = 200
"""How many files are searched until what was done is kept."""


class SearchedFiles:
    """The files of which it is known that none of some erased people is in them.

    A file with a name of its own is written once, so that it stays as it was searched. What was restored has the names
    of files that were replaced, and these are never among those searched.

    Args:
        files: the file storage.
        erasure_ids: the pending erasures. What is known of others only is removed.
    """

    def __init__(self, files: FileStorage, erasure_ids: Collection[str]) -> None:
        self._files, self._pending = files, frozenset(erasure_ids)
        self._known: defaultdict[str, list[frozenset[str]]] = defaultdict(list)
        self._clean: set[str] = set()
        self._unsaved = 0
        own = hashlib.sha256("\n".join(sorted(self._pending)).encode()).hexdigest()[:16]
        self._document = f"{_FOLDER}/{own}.json"
        with suppress(FileStorageError):  # then everything is searched, or fails for the same reason
            for name in files.documents(_FOLDER):
                self._read(name)

    def _read(self, name: str) -> None:
        with suppress(ValueError, TypeError, KeyError):  # what isn't understood is searched again
            document = json.loads(self._files.read_document(name))
            erasures = frozenset(document["erasures"]) & self._pending
            if not erasures:
                self._files.remove_frame(name)
            for file in document["files"] if erasures else ():
                self._known[file].append(erasures)
                if name == self._document:
                    self._clean.add(file)

    def covers(self, file: str) -> bool:
        """Return whether a file is known to have none of the people of all pending erasures."""
        return file in self._clean or self._pending == frozenset[str]().union(*self._known.get(file, ()))

    def add(self, file: str) -> None:
        """Note that a file has none of the people."""
        self._clean.add(file)
        self._unsaved += 1
        if self._unsaved >= _SAVED_EVERY:
            self.save()

    def save(self) -> None:
        """Keep what was noted.

        Raises:
            FileStorageError: it can't be written.
        """
        if self._unsaved:
            content = {"erasures": sorted(self._pending), "files": sorted(self._clean)}
            self._files.write_document(self._document, json.dumps(content).encode())
            self._unsaved = 0
