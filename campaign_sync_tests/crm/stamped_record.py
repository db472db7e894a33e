"""A record of a CRM that notes when it was changed."""

from datetime import UTC, datetime
from typing import Any


class StampedRecord(dict[str, Any]):
    """A record whose stamp is the present moment after every change, unless the change names another one.

    Args:
        stamp: the name of the stamp.
        values: the first values. Without a stamp among them it is the present moment.
    """

    def __init__(self, stamp: str, **values: Any) -> None:
        super().__init__(values)
        self._stamp = stamp
        self._touch(values)

    def __setitem__(self, name: str, value: Any) -> None:
        super().__setitem__(name, value)
        self._touch([name])

    def update(self, *values: Any, **named: Any) -> None:
        changes = dict(*values, **named)
        super().update(changes)
        self._touch(changes)

    def __ior__(self, values: Any) -> "StampedRecord":  # type: ignore[override,misc]
        self.update(values)
        return self

    def _touch(self, changed: Any) -> None:
        if self._stamp not in changed:
            super().__setitem__(self._stamp, f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}")
