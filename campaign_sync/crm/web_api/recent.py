"""A value that is made anew when it is too old."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Recent(Generic[Value]):
    """Holds a value.

    Args:
        make: makes it.
        max_age: how old it may be.
    """

    def __init__(self, make: Callable[[], Value], max_age: timedelta) -> None:
        self._make, self._max_age = make, max_age
        self._held: tuple[Value, datetime] | None = None

    def value(self) -> Value:
        """Return the value."""
        now = datetime.now(UTC)
        if self._held is None or not timedelta() <= now - self._held[1] < self._max_age:
            self._held = self._make(), now
        return self._held[0]
