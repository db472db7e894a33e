"""Ticks of the sensors that serve all mandators: a failure of one mandator never touches the others.

What can't be done for a mandator keeps its cursor as it was, and makes the tick red. A red tick loses its requests,
events and cursors, so where there are any, the error is logged instead and the next tick is red.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from traceback import extract_tb
from typing import TypeVar

import dagster as dg

from campaign_sync.domain.mandator_cursors import format_cursors, parse_cursors
from campaign_sync.errors import CampaignSyncError

Result = TypeVar("Result")

SEPARATOR = " · "
"""Between the parts of a message."""


class MandatorTickError(CampaignSyncError):
    """A tick failed for some mandators. The message names them, what is wrong, and the remedy."""


@dataclass(frozen=True)
class MandatorTick:
    """What a tick does for a mandator."""

    summary: str = ""
    """In a few words, why no run is started."""
    cursor: str | None = None
    """The cursor from now on."""
    requests: tuple[dg.RunRequest, ...] = ()
    events: tuple[dg.AssetCheckEvaluation, ...] = ()
    problem: str = ""
    """What is wrong and what helps, if anything is."""


class Cursors:
    """The cursors of a tick: those that it begins with."""

    def __init__(self, context: dg.SensorEvaluationContext, mandators: Iterable[str]) -> None:
        """Read the cursors. One that can't be read begins anew, and the log says so."""
        known = parse_cursors(context.cursor, set(mandators))
        if known is None:
            context.log.warning(
                "The cursor of this sensor can't be read, as after an upgrade from an older version: it begins anew. "
                "Nothing has to be done."
            )
        self.saved = context.cursor
        self._cursors = known or {}

    def get(self, mandator: str) -> str | None:
        """Return the cursor of a mandator; None if it has none."""
        return self._cursors.get(mandator)

    def after(self, ticks: Mapping[str, MandatorTick]) -> str:
        """Return the text of the cursors from now on."""
        return format_cursors({mandator: tick.cursor for mandator, tick in ticks.items() if tick.cursor is not None})


def evaluate_mandators(
    context: dg.SensorEvaluationContext,
    mandators: Iterable[str],
    evaluate: Callable[[str, str | None], MandatorTick],
) -> dg.SensorResult:
    """Evaluate a tick for each mandator and return the result for all.

    Args:
        context: of the tick.
        mandators: keys of the configuration.
        evaluate: returns what the tick does for a mandator, given its cursor. What it raises concerns this mandator.

    Raises:
        MandatorTickError: it failed for some mandators, and nothing is lost by a red tick.
    """
    names = list(mandators)
    cursors = Cursors(context, names)
    ticks = {name: outcome(partial(evaluate, name, cursors.get(name))) for name in names}
    return combine_ticks(context, cursors, ticks)


def outcome(work: Callable[[], Result]) -> Result | Exception:
    """Return the result of work for a mandator, or the error that it raised."""
    try:
        return work()
    except Exception as error:  # noqa: BLE001 - whatever it is, the other mandators go on
        return error


def combine_ticks(
    context: dg.SensorEvaluationContext, cursors: Cursors, outcomes: Mapping[str, MandatorTick | Exception]
) -> dg.SensorResult:
    """Return the result of a tick for all mandators.

    Args:
        context: of the tick.
        cursors: those that it began with.
        outcomes: what it does for each mandator, or why that isn't known.

    Raises:
        MandatorTickError: it failed for some mandators, and nothing is lost by a red tick.
    """
    ticks = {
        mandator: MandatorTick(cursor=cursors.get(mandator), problem=describe_error(tick))
        if isinstance(tick, Exception)
        else tick
        for mandator, tick in outcomes.items()
    }
    requests = [request for tick in ticks.values() for request in tick.requests]
    events = [event for tick in ticks.values() for event in tick.events]
    cursor = cursors.after(ticks)
    problems = SEPARATOR.join(f"{mandator}: {tick.problem}" for mandator, tick in ticks.items() if tick.problem)
    if problems:
        if not requests and not events and cursor == (cursors.saved or format_cursors({})):
            raise MandatorTickError(problems)
        context.log.error("%s", problems)
    return dg.SensorResult(
        run_requests=requests,
        asset_events=events,
        skip_reason=None if requests else summarize(ticks),
        cursor=cursor,
    )


def summarize(ticks: Mapping[str, MandatorTick]) -> str:
    """Return why no run is started, with the names of the mandators only where they differ."""
    names: defaultdict[str, list[str]] = defaultdict(list)
    for mandator, tick in ticks.items():
        if text := tick.problem or tick.summary:
            names[text].append(mandator)
    if len(names) == 1 and len(*names.values()) == len(ticks):
        return next(iter(names))
    return SEPARATOR.join(f"{', '.join(mandators)}: {text}" for text, mandators in names.items())


def describe_error(error: Exception) -> str:
    """Return an error's message if it is ours, else its kind and place: other messages may quote personal data."""
    if isinstance(error, CampaignSyncError):
        return str(error)
    frames = extract_tb(error.__traceback__)
    place = f" in {Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{place}; this is unexpected, so please report it"
