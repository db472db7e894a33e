"""Replacements that are killed at a point and run again: the outcome is the same as without the kill.

One more run is enough after every point; none needs a second. Until then, the journal says that the list is
incomplete.

The first scenario is killed at every point with `--long`, otherwise at every eighth; the others after each change.
`python -m campaign_sync_tests.faults` takes about half an hour for all points of all scenarios on both databases.
"""

import sys
from collections.abc import Callable, Sequence

import pytest

from campaign_sync_tests.faults.installations import Database
from campaign_sync_tests.faults.survey import Survey, change_points, write_points
from campaign_sync_tests.faults.vendor_states import DIFFERENTIAL, FIRST_DAY, RESUMED, Scenario

Surveys = Callable[[Scenario, Database], Survey]
PARTS = 8
in_parts = pytest.mark.parametrize(
    "part", [part if part == 0 else pytest.param(part, marks=pytest.mark.long) for part in range(PARTS)]
)


@in_parts
def test_a_kill_at_any_point_does_not_change_the_outcome(surveys: Surveys, part: int) -> None:
    survey = surveys(FIRST_DAY, "sqlite")
    assert len(survey.points) >= 120, "points are missing: does kill_points.py still record all calls and writes?"

    assert_survived(survey, survey.points[part::PARTS])


@in_parts
def test_a_kill_within_or_after_any_write_on_postgresql_does_not_change_the_outcome(
    surveys: Surveys, part: int
) -> None:
    survey = surveys(FIRST_DAY, "postgresql")
    points = write_points(survey.points)
    assert len(points) >= 60, "points are missing: does kill_points.py still record all calls and writes?"

    assert_survived(survey, points[part::PARTS])


@in_parts
@pytest.mark.parametrize("scenario", [DIFFERENTIAL, RESUMED], ids=lambda scenario: scenario.name)
def test_a_kill_after_any_change_does_not_change_the_outcome(surveys: Surveys, scenario: Scenario, part: int) -> None:
    survey = surveys(scenario, "sqlite")
    points = change_points(survey.points)
    assert len(survey.points) >= 60
    assert len(points) >= 15

    assert_survived(survey, points[part::PARTS])


def test_there_are_points_before_and_after_calls_and_writes_of_every_kind(surveys: Surveys) -> None:
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
    """Check that a replacement that is killed at any of these points is completed by one more run."""
    survivals = list(survey.kill_at(points))

    sys.stdout.write(f"killed {survey.scenario.name} on {survey.database} at {len(points)} of its points\n")
    assert [survival.point for survival in survivals] == list(points)
    assert [str(survival) for survival in survivals if survival.problems] == []
    assert [survival.point for survival in survivals if survival.reruns > 1] == []
