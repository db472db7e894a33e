"""The section `retention` of the configuration, and the keys that it replaces."""

import pytest
from pydantic import ValidationError

from campaign_sync.config import FeedbackSettings, ReportSettings, RetentionSettings


def test_every_kind_has_a_limit_without_any_section() -> None:
    assert RetentionSettings().summary == (
        "runs 180 days, events 30 days, ticks 30 days, frames 1100 days, feedback 400 days, plans 30 days, "
        "responses 400 days, write_backs 1100 days, acceptances 1100 days, "
        "inquiries 400 days, reports 400 days"
    )


@pytest.mark.parametrize(
    ("limits", "problem"),
    [
        ({"runs": "6d"}, "at least 7d is expected"),
        ({"events": "23h"}, "at least 1d is expected"),
        ({"frames": "119d"}, "at least 120d is expected: unsubscribes are attributed"),
        ({"runs": "20d"}, "runs is shorter than events"),
        ({"ticks": "0d"}, "a duration is longer than nothing"),
    ],
)
def test_a_limit_that_would_take_what_is_still_needed_is_refused(limits: dict[str, str], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        RetentionSettings.model_validate(limits)


def test_former_keys_are_refused_with_their_new_place() -> None:
    with pytest.raises(ValidationError, match=r"keep_files is retention\.feedback now, for all mandators: move"):
        FeedbackSettings.model_validate({"keep_files": "400d"})
    with pytest.raises(ValidationError, match=r"keep is retention\.reports now, for all mandators: move"):
        ReportSettings.model_validate({"keep": "400d"})
