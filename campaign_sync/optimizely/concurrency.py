"""The adaptive limit of simultaneous calls: fewer while the vendor fails or is slow."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class ConcurrencyLimiter:
    """Halves the number of simultaneous calls when one fails or is slow; adds one after a good round.

    Safe to use from many threads at once.

    Args:
        most: the upper limit of simultaneous calls.
        slow_seconds: an answer that takes longer means that the vendor is overloaded.
        clock: a monotonic clock, in seconds.
    """

    def __init__(self, most: int, slow_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.allowed = most
        """The current limit."""
        self._most, self._slow_seconds, self._clock = most, slow_seconds, clock
        self._changed = threading.Condition()
        self._under_way = self._successes = 0
        self._slowed_at = clock()

    def limit(self, call: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
        """Wrap `call` so that it waits until the limit allows it."""

        def in_turn(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
            with self._changed:
                self._changed.wait_for(lambda: self._under_way < self.allowed)
                self._under_way += 1
            try:
                return call(*args, **kwargs)
            finally:
                with self._changed:
                    self._under_way -= 1
                    self._changed.notify_all()

        return in_turn

    @contextmanager
    def observe(self, transient: type[Exception]) -> Iterator[None]:
        """Adjust the limit by the outcome of one exchange; `transient` is the kind of error that a retry may clear."""
        begun = self._clock()
        try:
            yield
        except transient:
            self._adjust(begun, succeeded=False)
            raise
        else:
            self._adjust(begun, succeeded=self._clock() - begun <= self._slow_seconds)

    def _adjust(self, begun: float, *, succeeded: bool) -> None:
        with self._changed:
            if succeeded:
                self._successes += 1
                if self._successes >= self.allowed and self.allowed < self._most:
                    self.allowed, self._successes = self.allowed + 1, 0
                    self._changed.notify_all()
            elif begun >= self._slowed_at:  # simultaneous calls fail together: halve only once
                self.allowed, self._successes, self._slowed_at = max(1, self.allowed // 2), 0, self._clock()
