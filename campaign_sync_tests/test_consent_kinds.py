"""The CRM's own words for what happens to a consent, in the configuration."""

import pytest
from pydantic import ValidationError

from campaign_sync.config.crm import ConsentKindSettings
from campaign_sync.domain.consent import ConsentKind


def test_declared_words_are_understood_in_any_spelling() -> None:
    words = ConsentKindSettings(granted=("Opt-In",), withdrawn=(" REVOKED",), ignored=("requested",)).words
    assert [words.kind_of(raw) for raw in ("opt-in ", "Revoked", "Requested", "granted", "maybe")] == [
        *(ConsentKind.GRANTED, ConsentKind.WITHDRAWN, None, ConsentKind.GRANTED, ConsentKind.UNCLEAR)
    ]


@pytest.mark.parametrize(
    "declared", [{"ignored": ["Withdrawn"]}, {"granted": ["yes"], "ignored": [" Yes"]}, {"granted": ["yes", "YES"]}]
)
def test_a_word_has_one_meaning(declared: dict[str, list[str]]) -> None:
    with pytest.raises(ValidationError, match=r"has its meaning already|is declared twice"):
        ConsentKindSettings(**declared)
