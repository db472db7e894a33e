"""What is known of a mandator's lists, and whether they may be mailed to now."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from campaign_sync.config import Configuration
from campaign_sync.domain.feedback_age import Freshness
from campaign_sync.domain.list_drift import ListDrift
from campaign_sync.domain.readiness import Attempt, ReadinessFacts, ReadinessStatus, assess_readiness
from campaign_sync.feedback.freshness import judge_age
from campaign_sync.storage.replacements import ReplacementState
from campaign_sync.storage.state_view import StateView

STILL_FRESH = timedelta(hours=12)
"""A list proven this recently, late on the day before, counts for today as well."""


@dataclass(frozen=True)
class Expected:
    """What a mandator may expect of its lists at some moment."""

    is_current: Callable[[datetime], bool]
    """Whether a list that was proven at that moment needn't be proven anew yet."""
    pause: timedelta = timedelta(0)
    """How old feedback may be without anything being wrong."""


def of_today(zone: ZoneInfo, now: datetime) -> Expected:
    """Return what mailings of today may expect: lists of today, and feedback of the last day."""
    today = now.astimezone(zone).date()
    return Expected(lambda at: at.astimezone(zone).date() == today or now - at <= STILL_FRESH)


@dataclass(frozen=True)
class Judged:
    """A list, its readiness, and what was found of it since its proof."""

    name: str
    status: ReadinessStatus
    drift: ListDrift | None
    """None for a list that was never proven."""
    attempt: Attempt | None
    """The newest run that was to replace it; None if none is known."""


def judge_lists(
    configuration: Configuration,
    mandator: str,
    view: StateView,
    attempts: Mapping[str, Attempt] | None,
    now: datetime,
    expected: Expected | None = None,
) -> list[Judged]:
    """Judge each list of a mandator.

    Args:
        configuration: of everything.
        mandator: its key.
        view: what the product remembers.
        attempts: the newest run that was to replace each list, by the list's key; None where Dagster couldn't be asked.
        now: the moment that is asked about.
        expected: what may be expected then; what mailings of today may, by default.
    """
    settings = configuration.mandators[mandator]
    feedback = settings.feedback
    expected = expected or of_today(settings.zone, now)
    age = judge_age(mandator, feedback.readers, feedback.age_limits, view.feedback_until(mandator), now)
    if age.age is not None and age.age <= expected.pause:
        age = replace(age, freshness=Freshness.FRESH)
    judged = []
    for name, list_id in settings.recipient_list_ids.items():
        state = view.of_list(mandator, name, list_id)
        unfinished, proven_at = state.incomplete, state.proven_at
        facts = ReadinessFacts(
            proven_at=proven_at,
            is_current=proven_at is not None and expected.is_current(proven_at),
            incomplete_since=state.incomplete_since,
            in_progress=unfinished is not None
            and unfinished.state is not ReplacementState.FAILED
            and unfinished.recipient_list_id in view.locks.living,
            attempt=(attempts or {}).get(name),
            attempts_known=attempts is not None,
            feedback=age,
            drift=state.drift,
            partial_fill_since=state.partial_fill.found_at if state.partial_fill else None,
        )
        judged.append(Judged(name, assess_readiness(facts, now), state.drift, facts.attempt))
    return judged
