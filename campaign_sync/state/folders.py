"""What can be known of a folder without touching it."""

import os
from pathlib import Path


def can_be_written(folder: Path) -> bool:
    """Whether `folder` takes new files, or could be made: its nearest parent that exists decides."""
    folder = folder.absolute()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)
