"""The steps of a replace, each written down before and after the call it stands for."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Engine, bindparam, func, select, update

from campaign_sync.storage.tables import replace_step

CLEAR = "clear"
"""The step that empties the list."""

_SECONDS_TOGETHER = 0.5
"""So long the ends of calls are collected before they are written down together."""


class StepOutcome(StrEnum):
    """What became of a step."""

    DONE = "done"
    UNKNOWN = "unknown"
    """The call was sent and its answer lost: the vendor may have carried it out."""
    FAILED = "failed"
    """The call came to nothing."""


@dataclass(frozen=True)
class Step:
    """One step. Without `outcome` it was begun and nobody lived to see it end."""

    replace_id: str
    number: int
    step: str
    part: str | None
    rows: int | None
    digest: str | None
    outcome: StepOutcome | None
    detail: str | None
    begun_at: datetime
    """Of one of many calls that hasn't ended: when they were written down."""
    ended_at: datetime | None


@dataclass(frozen=True)
class PlannedCall:
    """A call of many that a replace consists of: which part of the whole it is, its rows, and what is sent."""

    part: str
    rows: int
    digest: str


class StepLog:
    """The steps of one replace. Safe to use from many threads at once."""

    def __init__(self, engine: Engine, replace_id: str, now: Callable[[], datetime]) -> None:
        self._engine, self._replace_id, self._now = engine, replace_id, now
        self._lock = threading.Lock()
        self._to_be_made: set[int] = set()
        self._ended: list[dict[str, Any]] = []
        self._written = time.monotonic()
        with engine.connect() as connection:
            query = select(func.max(replace_step.c.number)).where(replace_step.c.replace_id == replace_id)
            self._last = connection.execute(query).scalar() or 0

    @contextmanager
    def step(
        self, name: str, *, part: str | None = None, rows: int | None = None, digest: str | None = None
    ) -> Iterator[list[str]]:
        """Write down that a step begins, and then how it ended.

        What is appended to the list that the context gives becomes the step's detail: counts and codes, never people.
        An exception ends the step as unknown, unless it knows better (`outcome_unknown`).
        """
        number = self._begin(name, [(part, rows, digest)])[0]
        details: list[str] = []
        with self._end_of(number, details, self._write):
            yield details

    def plan_calls(self, name: str, calls: Sequence[PlannedCall]) -> list[int]:
        """Write down in one go that many calls are about to be made; returns the number of each, for `planned_call`."""
        numbers = self._begin(name, [(call.part, call.rows, call.digest) for call in calls])
        with self._lock:
            self._to_be_made.update(numbers)
        return numbers

    @contextmanager
    def planned_call(self, number: int) -> Iterator[list[str]]:
        """Make one of the calls that `plan_calls` has written down. See `step`.

        How it ended is written down together with the ends of others, when half a second has passed or by
        `finish_calls`: a transaction for each would take longer than the calls. Until then it counts as not known to
        have ended.
        """
        with self._lock:
            self._to_be_made.discard(number)
        details: list[str] = []
        with self._end_of(number, details, self._write_soon):
            yield details

    def finish_calls(self) -> None:
        """Write down how calls have ended for which that was put off, and which of them were never made."""
        now = self._now()
        with self._lock:
            never, self._to_be_made = self._to_be_made, set()
            ended = {"outcome": StepOutcome.FAILED, "detail": "not made", "begun_at": now, "ended_at": now}
            self._ended += [{"of_step": number, **ended} for number in sorted(never)]
        self._write_ends()

    def _write_ends(self) -> None:
        with self._lock:
            ended, self._ended, self._written = self._ended, [], time.monotonic()
        if not ended:
            return
        try:
            self._write(ended)
        except BaseException:
            with self._lock:
                self._ended = ended + self._ended
            raise

    def _begin(self, name: str, calls: Sequence[tuple[str | None, int | None, str | None]]) -> list[int]:
        if not calls:
            return []
        with self._lock:
            numbers = [self._last + position for position in range(1, len(calls) + 1)]
            self._last = numbers[-1]
        begun = {"replace_id": self._replace_id, "step": name, "begun_at": self._now()}
        with self._engine.begin() as connection:
            connection.execute(
                replace_step.insert(),
                [
                    {**begun, "number": number, "part": part, "rows": rows, "digest": digest}
                    for number, (part, rows, digest) in zip(numbers, calls, strict=True)
                ],
            )
        return numbers

    @contextmanager
    def _end_of(
        self, number: int, details: list[str], write: Callable[[Sequence[dict[str, Any]]], None]
    ) -> Iterator[None]:
        begun_at, outcome = self._now(), StepOutcome.DONE
        try:
            yield
        except BaseException as error:
            unknown = getattr(error, "outcome_unknown", True)
            outcome = StepOutcome.UNKNOWN if unknown else StepOutcome.FAILED
            details.append(type(error).__name__)
            raise
        finally:
            detail = "; ".join(details) or None
            ended = {"outcome": outcome, "detail": detail, "begun_at": begun_at, "ended_at": self._now()}
            write([{"of_step": number, **ended}])

    def _write_soon(self, ended: Sequence[dict[str, Any]]) -> None:
        with self._lock:
            self._ended += ended
            due = time.monotonic() - self._written > _SECONDS_TOGETHER
        if due:
            self._write_ends()

    def _write(self, ended: Sequence[dict[str, Any]]) -> None:
        this = (replace_step.c.replace_id == self._replace_id) & (replace_step.c.number == bindparam("of_step"))
        with self._engine.begin() as connection:
            connection.execute(update(replace_step).where(this), list(ended))

    def all(self) -> list[Step]:
        """Every step so far, in the order in which they began."""
        query = (
            select(replace_step).where(replace_step.c.replace_id == self._replace_id).order_by(replace_step.c.number)
        )
        with self._engine.connect() as connection:
            return [
                Step(**{**row._mapping, "outcome": StepOutcome(row.outcome) if row.outcome else None})
                for row in connection.execute(query)
            ]
