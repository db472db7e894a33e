"""How many calls are made at once: as many as allowed while the vendor answers well, fewer when it doesn't."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class ConcurrencyLimiter:
    """Halves the number of calls that are made at once when one fails or is slow; adds one after a good round.

    Safe to use from many threads at once.

    Args:
        most: calls at once, at most.
        slow_seconds: an answer that takes longer means that the vendor has too much to do.
        clock: seconds that only grow.
    """

    def __init__(self, most: int, slow_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.allowed = most
        """So many calls may be under way now."""
        self._most, self._slow_seconds, self._clock = most, slow_seconds, clock
        self._changed = threading.Condition()
        self._under_way = self._well = 0
        self._slowed_at = clock()

    def keeping(self, call: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
        """`call`, which waits for its turn before it begins."""

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
    def watching(self, trouble: type[Exception]) -> Iterator[None]:
        """Learn from an exchange with the vendor; `trouble` is what one fails with that could go well later."""
        begun = self._clock()
        try:
            yield
        except trouble:
            self._ended(begun, well=False)
            raise
        else:
            self._ended(begun, well=self._clock() - begun <= self._slow_seconds)

    def _ended(self, begun: float, *, well: bool) -> None:
        with self._changed:
            if well:
                self._well += 1
                if self._well >= self.allowed and self.allowed < self._most:
                    self.allowed, self._well = self.allowed + 1, 0
                    self._changed.notify_all()
            elif begun >= self._slowed_at:  # calls that were under way together are in trouble together: once is enough
                self.allowed, self._well, self._slowed_at = max(1, self.allowed // 2), 0, self._clock()
