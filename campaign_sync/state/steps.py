"""The steps of a replace, each written down before and after the call it stands for."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Engine, func, select, update

from campaign_sync.state.tables import replace_step

CLEAR = "clear"
"""The step that empties the list."""


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
    ended_at: datetime | None


class StepLog:
    """The steps of one replace. Safe to use from many threads at once."""

    def __init__(self, engine: Engine, replace_id: str, now: Callable[[], datetime]) -> None:
        self._engine, self._replace_id, self._now = engine, replace_id, now
        self._lock = threading.Lock()
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
        with self._lock:
            self._last = number = self._last + 1
        begun = {"replace_id": self._replace_id, "number": number, "step": name, "part": part}
        with self._engine.begin() as connection:
            connection.execute(replace_step.insert().values(**begun, rows=rows, digest=digest, begun_at=self._now()))
        details: list[str] = []
        outcome = StepOutcome.DONE
        try:
            yield details
        except BaseException as error:
            unknown = getattr(error, "outcome_unknown", True)
            outcome = StepOutcome.UNKNOWN if unknown else StepOutcome.FAILED
            details.append(type(error).__name__)
            raise
        finally:
            ended = {"outcome": outcome, "detail": "; ".join(details) or None, "ended_at": self._now()}
            with self._engine.begin() as connection:
                connection.execute(
                    update(replace_step)
                    .where(replace_step.c.replace_id == self._replace_id, replace_step.c.number == number)
                    .values(**ended)
                )

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
