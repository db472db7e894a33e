"""Pseudonyms of people."""

import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaign_sync.domain.pseudonym import Pseudonyms

KEY = b"0123456789abcdef"


@given(st.text(st.characters()))
def test_a_pseudonym_is_stable_short_and_depends_on_the_key(value: str) -> None:
    token = Pseudonyms(KEY).of(value)
    assert token == Pseudonyms(KEY).of(value) != Pseudonyms(KEY[::-1]).of(value)
    assert token.startswith("p_")
    assert len(token) == 14
    assert token[2:] == hmac.digest(KEY, value.encode("utf-8", "surrogatepass"), "sha256").hex()[:12]


@given(st.emails(), st.emails())
def test_different_people_have_different_pseudonyms(value: str, other: str) -> None:
    pseudonyms = Pseudonyms(KEY)
    assert (pseudonyms.of(value) == pseudonyms.of(other)) is (value == other)


def test_a_key_too_short_to_keep_a_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 16 bytes"):
        Pseudonyms(KEY[:15])
