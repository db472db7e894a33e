"""What a bounce reader's row means."""

import pytest

from campaign_sync.domain.feedback import FINAL_BOUNCES, KIND_OF_READER, BounceKind, FeedbackKind, bounce_kind


@pytest.mark.parametrize(
    ("category", "kind"),
    [
        ("hardbounce", BounceKind.HARD),
        ("Hard Bounce", BounceKind.HARD),
        ("SOFT_BOUNCE", BounceKind.SOFT),
        ("soft", BounceKind.SOFT),
        ("autoresponder", None),
        ("unknown", None),
        ("bounce", None),
        ("", None),
        (None, None),
    ],
)
def test_a_response_is_a_bounce_by_its_category_only(category: str | None, kind: BounceKind | None) -> None:
    assert bounce_kind("getResponses", category) is kind


@pytest.mark.parametrize(
    ("category", "kind"), [(None, BounceKind.LIMIT), ("soft", BounceKind.LIMIT), ("hard", BounceKind.HARD)]
)
def test_whoever_is_over_the_vendors_limit_bounced_for_good(category: str | None, kind: BounceKind) -> None:
    assert bounce_kind("getOutBounces", category) is kind
    assert kind in FINAL_BOUNCES


def test_every_kind_of_feedback_has_a_reader() -> None:
    assert set(KIND_OF_READER.values()) == set(FeedbackKind)
