"""Threads for what may wait for others: folders, CRMs, mail servers."""

import threading
import time
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from campaign_sync.errors import CampaignSyncError

Key = TypeVar("Key")
Result = TypeVar("Result")

PATIENCE_SECONDS = 40.0
"""How long a tick waits for all its threads: Dagster gives up a tick after a minute, with all that it has done."""

_NO_ANSWER = (
    f"there is no answer within {PATIENCE_SECONDS:.0f} seconds; make sure that what it waits for can be reached. It "
    "isn't asked again before it has answered"
)


class NoAnswerError(CampaignSyncError):
    """A tick waits no longer for an answer. The message says how long it waited."""


class PatientThreads(Generic[Key, Result]):
    """Work in threads, one for each key, that delays nothing else. What is still at work isn't begun a second time."""

    def __init__(self) -> None:
        self._at_work: dict[Key, threading.Thread] = {}

    def run(self, keys: Iterable[Key], work: Callable[[Key], Result]) -> dict[Key, Result | Exception]:
        """Return the result for each key, or the error; `NoAnswerError` for what takes too long."""
        results: dict[Key, Result | Exception] = {}

        def run(key: Key) -> None:
            try:
                results[key] = work(key)
            except Exception as error:  # noqa: BLE001 - whatever it is, the others go on
                results[key] = error

        wanted, until = list(keys), time.monotonic() + PATIENCE_SECONDS
        for key in wanted:
            if key not in self._at_work or not self._at_work[key].is_alive():
                self._at_work[key] = threading.Thread(target=run, args=[key], daemon=True)
                self._at_work[key].start()
        for key in wanted:
            self._at_work[key].join(max(0.0, until - time.monotonic()))
        return {key: results.get(key, NoAnswerError(_NO_ANSWER)) for key in wanted}
