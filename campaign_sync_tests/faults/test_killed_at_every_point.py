"""Wherever its process is killed, a replace that is run again ends as if nothing had happened.

One more run is enough after every point; none needs a second. A list that isn't whole is known to be incomplete as
long as it isn't.

The first scenario is killed at every point with `--long`, and else at every eighth; the others where something is
different from the point before. `python -m campaign_sync_tests.faults` takes about half an hour for all points of all
of them on both databases.
"""

import sys
from collections.abc import Callable, Sequence

import pytest

from campaign_sync_tests.faults.installations import Database
from campaign_sync_tests.faults.survey import Survey, changing, written
from campaign_sync_tests.faults.vendor_states import DIFFERENTIAL, FIRST_DAY, RESUMED, Scenario

Surveys = Callable[[Scenario, Database], Survey]
PARTS = 8
each_part = pytest.mark.parametrize(
    "part", [part if part == 0 else pytest.param(part, marks=pytest.mark.long) for part in range(PARTS)]
)


@each_part
def test_killed_anywhere_it_ends_as_if_nothing_had_happened(surveys: Surveys, part: int) -> None:
    survey = surveys(FIRST_DAY, "sqlite")
    assert len(survey.points) >= 120, "points went missing: does kill_points.py still reach into all calls and writes?"

    assert_survived(survey, survey.points[part::PARTS])


@each_part
def test_killed_within_or_after_any_write_on_postgresql_it_ends_as_if_nothing_had_happened(
    surveys: Surveys, part: int
) -> None:
    survey = surveys(FIRST_DAY, "postgresql")
    points = written(survey.points)
    assert len(points) >= 60, "points went missing: does kill_points.py still reach into all calls and writes?"

    assert_survived(survey, points[part::PARTS])


@each_part
@pytest.mark.parametrize("scenario", [DIFFERENTIAL, RESUMED], ids=lambda scenario: scenario.name)
def test_killed_after_anything_it_has_changed_it_ends_as_if_nothing_had_happened(
    surveys: Surveys, scenario: Scenario, part: int
) -> None:
    survey = surveys(scenario, "sqlite")
    points = changing(survey.points)
    assert len(survey.points) >= 60
    assert len(points) >= 15

    assert_survived(survey, points[part::PARTS])


def test_the_points_lie_around_calls_and_writes_of_every_kind(surveys: Surveys) -> None:
    points = surveys(FIRST_DAY, "sqlite").points

    assert {
        "before Session.login #1",
        "before insert lease #1",
        "before commit of insert lease #1",
        "after insert lease #1",
        "before Unsubscribe.containsAll #1",
        "after record_unsubscribes #1",
        "before commit of insert consent_event #1",
        "after insert rejection #1",
        "after insert replace #1",
        "after update replace #1",
        "before insert replace_step #1",
        "before Recipient.clear #1",
        "after Recipient.clear #1",
        "after update replace_step #1",
        "before Recipient.addAll3 #4",
        "after Recipient.removeBlacklisted #1",
        "after Recipient.getAllAdvanced #1",
        "after delete lease #1",
        "after Session.logout #1",
    } <= set(points)


def assert_survived(survey: Survey, points: Sequence[str]) -> None:
    """Kill a replace at these points, one after the other."""
    survivals = list(survey.kill_at(points))

    sys.stdout.write(f"killed {survey.scenario.name} on {survey.database} at {len(points)} of its points\n")
    assert [survival.point for survival in survivals] == list(points)
    assert [str(survival) for survival in survivals if survival.problems] == []
    assert [survival.point for survival in survivals if survival.reruns > 1] == []
