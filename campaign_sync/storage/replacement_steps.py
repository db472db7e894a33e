"""The steps of a replacement, each written down before and after the call that it is about."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Engine, bindparam, func, select, update

from campaign_sync.storage.tables import replace_answer, replace_step
from campaign_sync.storage.upsert import upsert

CLEAR = "clear"
"""The step that empties the list."""

ADD_ALL = "addAll3"
"""A step that sends a batch of rows."""

_SECONDS_BETWEEN_WRITES = 0.5
"""How long the ends of planned calls are collected before they are written in one transaction."""


class StepOutcome(StrEnum):
    """How a step ended."""

    DONE = "done"
    UNKNOWN = "unknown"
    """The call was sent and its answer lost: the vendor may have carried it out."""
    FAILED = "failed"
    """The call had no effect."""


@dataclass(frozen=True)
class Step:
    """One step. Without `outcome` it began and no process recorded its end."""

    replace_id: str
    number: int
    step: str
    part: str | None
    rows: int | None
    digest: str | None
    """Of what is sent, keyed."""
    outcome: StepOutcome | None
    detail: str | None
    begun_at: datetime
    """Of a planned call that hasn't ended: when it was planned."""
    ended_at: datetime | None


@dataclass(frozen=True)
class PlannedCall:
    """A call that will be made: which part of the whole it is (`1 of 20`), its rows, and the digest of what is sent."""

    part: str
    rows: int
    digest: str


@dataclass
class StepNotes:
    """What a call notes while it is made: counts and codes, never people."""

    texts: list[str] = field(default_factory=list)
    answers: Counter[int] = field(default_factory=Counter)

    def add(self, text: str) -> None:
        """Note a text for people."""
        self.texts.append(text)

    def add_answers(self, codes: Iterable[int]) -> None:
        """Note the codes that the vendor answered, one for each row."""
        self.answers.update(codes)

    @property
    def detail(self) -> str | None:
        """All notes as one line for people; None where there are none."""
        answers = ", ".join(f"code {code}: {rows}" for code, rows in sorted(self.answers.items()))
        return "; ".join(filter(None, [answers, *self.texts])) or None


@dataclass(frozen=True)
class _StepEnd:
    number: int
    outcome: StepOutcome
    notes: StepNotes
    begun_at: datetime
    ended_at: datetime


class StepLog:
    """The steps of one replacement. Safe to use from many threads at once.

    Args:
        engine: the state database.
        replace_id: the replacement.
        now: returns the current time.
        keyed: returns what is stored instead of a digest, which may be of a single person's row.
    """

    def __init__(
        self, engine: Engine, replace_id: str, now: Callable[[], datetime], keyed: Callable[[str], str]
    ) -> None:
        self._engine, self._replace_id, self._now, self._keyed = engine, replace_id, now, keyed
        self._lock = threading.Lock()
        self._planned: set[int] = set()
        self._ended: list[_StepEnd] = []
        self._written = time.monotonic()
        with engine.connect() as connection:
            query = select(func.max(replace_step.c.number)).where(replace_step.c.replace_id == replace_id)
            self._last = connection.execute(query).scalar() or 0

    @contextmanager
    def step(
        self, name: str, *, part: str | None = None, rows: int | None = None, digest: str | None = None
    ) -> Iterator[StepNotes]:
        """Write down that a step begins, and then how it ended.

        An exception ends the step as unknown, unless its attribute `outcome_unknown` is False.
        """
        number = self._begin(name, [(part, rows, digest)])[0]
        with self._until_end(number, self._write) as notes:
            yield notes

    def plan_calls(self, name: str, calls: Sequence[PlannedCall]) -> list[int]:
        """Write down in one transaction that calls will be made. Return the number of each, for `planned_call`."""
        numbers = self._begin(name, [(call.part, call.rows, call.digest) for call in calls])
        with self._lock:
            self._planned.update(numbers)
        return numbers

    @contextmanager
    def planned_call(self, number: int) -> Iterator[StepNotes]:
        """Make a call that `plan_calls` has written down, as `step` does.

        Its end is written together with those of other calls, after half a second or by `finish_calls`: a transaction
        for each would take longer than the calls. Until then it isn't known to have ended.
        """
        with self._lock:
            self._planned.discard(number)
        with self._until_end(number, self._write_later) as notes:
            yield notes

    def finish_calls(self) -> None:
        """Write down the ends of planned calls that aren't written yet, and which calls were never made."""
        now = self._now()
        with self._lock:
            never_made, self._planned = self._planned, set()
            self._ended += [
                _StepEnd(number, StepOutcome.FAILED, StepNotes(["not made"]), now, now) for number in sorted(never_made)
            ]
        self._write_ended()

    def _write_ended(self) -> None:
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
                    {**begun, "number": number, "part": part, "rows": rows, "digest": digest and self._keyed(digest)}
                    for number, (part, rows, digest) in zip(numbers, calls, strict=True)
                ],
            )
        return numbers

    @contextmanager
    def _until_end(self, number: int, write: Callable[[Sequence[_StepEnd]], None]) -> Iterator[StepNotes]:
        begun_at, outcome, notes = self._now(), StepOutcome.DONE, StepNotes()
        try:
            yield notes
        except BaseException as error:
            unknown = getattr(error, "outcome_unknown", True)
            outcome = StepOutcome.UNKNOWN if unknown else StepOutcome.FAILED
            notes.add(type(error).__name__)
            raise
        finally:
            write([_StepEnd(number, outcome, notes, begun_at, self._now())])

    def _write_later(self, ended: Sequence[_StepEnd]) -> None:
        with self._lock:
            self._ended += ended
            due = time.monotonic() - self._written > _SECONDS_BETWEEN_WRITES
        if due:
            self._write_ended()

    def _write(self, ended: Sequence[_StepEnd]) -> None:
        is_it = (replace_step.c.replace_id == self._replace_id) & (replace_step.c.number == bindparam("of_step"))
        steps = [
            {
                "of_step": end.number,
                "outcome": end.outcome,
                "detail": end.notes.detail,
                "begun_at": end.begun_at,
                "ended_at": end.ended_at,
            }
            for end in ended
        ]
        answers = [
            {"replace_id": self._replace_id, "number": end.number, "code": code, "rows": rows}
            for end in ended
            if end.outcome is StepOutcome.DONE
            for code, rows in sorted(end.notes.answers.items())
        ]
        with self._engine.begin() as connection:
            connection.execute(update(replace_step).where(is_it), steps)
            upsert(connection, replace_answer, answers, update=("rows",))

    def all(self) -> list[Step]:
        """Return every step so far, in the order in which they began."""
        query = (
            select(replace_step).where(replace_step.c.replace_id == self._replace_id).order_by(replace_step.c.number)
        )
        with self._engine.connect() as connection:
            return [
                Step(**{**row._mapping, "outcome": StepOutcome(row.outcome) if row.outcome else None})
                for row in connection.execute(query)
            ]
