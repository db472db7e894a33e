"""Waiting for a condition, on a machine of any speed."""

import time
from collections.abc import Callable

PATIENCE = 3600.0
"""Seconds after which a waiting test fails. It only ends a hang: no machine is slow enough to reach it."""


def until(holds: Callable[[], bool], still_possible: Callable[[], bool] = lambda: True) -> None:
    """Wait until `holds` returns true, but only while `still_possible` does, for example while a process runs."""
    end = time.monotonic() + PATIENCE
    while not holds():
        possible = still_possible()
        if holds():  # it may have become true just before
            return
        assert possible, "it can't become true any more"
        assert time.monotonic() < end, "it never became true"
        time.sleep(0.3)
