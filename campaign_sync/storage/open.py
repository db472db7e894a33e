"""The state database as the configuration describes it, with the erasures that it shares with the file storage."""

from campaign_sync.config import Configuration
from campaign_sync.storage.files import FileStorage
from campaign_sync.storage.state import State


def open_state(configuration: Configuration, *, url: str | None = None, remembers: bool = True) -> State:
    """Open the state database where erased people must be recognized.

    Args:
        configuration: the whole configuration.
        url: of another database than the configured one.
        remembers: see `State`.

    Raises:
        RevisionError, StateError: it can't be opened.
        FileStorageError: no driver exists for the URL of the file storage, or of the copies of erasures.
    """
    key, copies = configuration.erasure.key, configuration.erasure.copies
    return State(
        url or configuration.storage.state_url.get_secret_value(),
        remembers=remembers,
        erasure_key=key.get_secret_value if key else None,
        files=FileStorage(configuration.storage.frames),
        erasure_copies=open_copies(copies) if copies else None,
    )


def open_copies(location: str) -> FileStorage:
    """Open the place where erasures are kept once more.

    Raises:
        FileStorageError: no driver exists for its URL.
    """
    return FileStorage(location, "erasure.copies")
