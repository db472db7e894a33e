"""What is recorded and shown of an error that ends a replacement."""

from datetime import UTC, datetime

import pytest

from campaign_sync.errors import CampaignSyncError
from campaign_sync.replacement.list_replacer import still_incomplete
from campaign_sync.replacement.list_settings import list_settings
from campaign_sync.storage.replacements import Replacement, ReplacementState
from campaign_sync_tests.orchestration.settings import configuration

NEWSLETTER = list_settings(configuration(), "nord", "newsletter")
UNFINISHED = Replacement(
    mandator="nord",
    list="newsletter",
    recipient_list_id=11,
    run_id="run",
    snapshot_id="snapshot",
    state=ReplacementState.FAILED,
    started_at=datetime(2026, 11, 24, 3, 30, tzinfo=UTC),
    id="replacement",
)


class AddedLaterError(CampaignSyncError):
    """An error that the replacement was not written for."""

    retryable = True


def raised(error: Exception) -> Exception:
    with pytest.raises(type(error)) as caught:
        raise error
    return caught.value


def test_the_message_and_the_retry_of_any_error_of_ours_are_kept() -> None:
    error = still_incomplete(NEWSLETTER, UNFINISHED, raised(AddedLaterError("the disk is full; free some space")))
    assert "the disk is full; free some space" in str(error)
    assert error.retryable


def test_of_other_errors_only_kind_and_place_are_kept() -> None:
    error = still_incomplete(NEWSLETTER, UNFINISHED, raised(ValueError("anna@example.org")))
    assert "ValueError at test_list_replacer.py:" in str(error)
    assert "anna" not in str(error)
    assert not error.retryable
