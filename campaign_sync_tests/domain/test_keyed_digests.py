"""Digests that are stored: equal ones are recognized with the key, and nothing is said without it."""

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from campaign_sync.domain.keyed_digests import KeyedDigests

DIGESTS = st.binary(max_size=3).map(lambda row: hashlib.sha256(row).hexdigest())
KEYS = st.lists(st.binary(min_size=16, max_size=32), min_size=1, max_size=3, unique=True)


@given(DIGESTS, DIGESTS, KEYS, KEYS)
def test_digests_are_compared_as_long_as_their_key_is_known(
    first: str, second: str, old: list[bytes], new: list[bytes]
) -> None:
    stored = KeyedDigests(old).of(first)
    assert len(stored) == 64
    assert KeyedDigests(old).are_equal(stored, second) is (first == second)
    assert KeyedDigests([*new, *old]).are_equal(stored, second) is (first == second)
    others = [key for key in new if key != old[0]]
    if others:
        assert KeyedDigests(others).are_equal(stored, second) is None
        assert KeyedDigests(others).of(first)[8:] != stored[8:]
    assert KeyedDigests(old).are_equal(first, first) is None, "one without a key"
