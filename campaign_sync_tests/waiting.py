"""Waiting for something to become true, on a machine of any speed."""

import time
from collections.abc import Callable

PATIENCE = 3600.0
"""Seconds after which a test that waits gives up. It ends a hang; no machine is so slow that it decides a test."""


def until(holds: Callable[[], bool], still_possible: Callable[[], bool] = lambda: True) -> None:
    """Wait until it holds; no longer once what would make it so has ended, such as a process."""
    end = time.monotonic() + PATIENCE
    while not holds():
        possible = still_possible()
        if holds():  # it may have become true before that end
            return
        assert possible, "it can't come to that any more"
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.3)
