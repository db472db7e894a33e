"""Kinds of bounces by the rows of bounce readers."""

import pytest

from campaign_sync.domain.feedback import FINAL_BOUNCES, READER_KINDS, BounceKind, FeedbackKind, bounce_kind


@pytest.mark.parametrize(
    ("category", "kind"),
    [
        ("hardbounce", BounceKind.HARD),
        ("Hard Bounce", BounceKind.HARD),
        ("SOFT_BOUNCE", BounceKind.SOFT),
        ("soft", BounceKind.SOFT),
        ("hard bounces", BounceKind.HARD),
        ("Bounce (hard)", BounceKind.HARD),
        ("autoresponder", None),
        ("Auto-Responder", None),
        ("unknown", None),
        ("Abwesenheit", None),
    ],
)
def test_a_response_is_a_bounce_by_its_category_only(category: str | None, kind: BounceKind | None) -> None:
    assert bounce_kind("getResponses", category, ["abwesenheit"]) is kind


@pytest.mark.parametrize("category", ["HB", "bounce", "", None, "person1@example.org"])
def test_an_unknown_category_is_refused_because_it_might_be_a_bounce(category: str | None) -> None:
    with pytest.raises(ValueError, match="isn't known"):
        bounce_kind("getResponses", category)


@pytest.mark.parametrize(
    ("category", "kind"), [(None, BounceKind.LIMIT), ("soft", BounceKind.LIMIT), ("hard", BounceKind.HARD)]
)
def test_an_address_over_the_vendors_limit_has_a_final_bounce(category: str | None, kind: BounceKind) -> None:
    assert bounce_kind("getOutBounces", category) is kind
    assert kind in FINAL_BOUNCES


def test_every_kind_of_feedback_has_a_reader() -> None:
    assert set(READER_KINDS.values()) == set(FeedbackKind)
