"""Digests of people's rows that are stored. They are keyed, so that whose row it is can't be tried out with them."""

import hmac
from collections.abc import Sequence
from typing import Final

_KEY_LETTERS: Final = 8
"""How much of a stored digest says which key it was made with."""


class KeyedDigests:
    """Makes what is stored in place of digests, and compares it.

    Args:
        keys: those that stored digests may have been made with. New ones are made with the first.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._keys = {hmac.digest(key, b"name", "sha256").hex()[:_KEY_LETTERS]: key for key in keys}
        self._newest = next(iter(self._keys))

    def of(self, digest: str) -> str:
        """Return what is stored in place of a digest: 64 hexadecimal characters."""
        return self._made_with(self._newest, digest)

    def are_equal(self, stored: str, digest: str) -> bool | None:
        """Return whether `stored` was made of this digest; None if its key isn't known any more."""
        name = stored[:_KEY_LETTERS]
        return stored == self._made_with(name, digest) if name in self._keys else None

    def _made_with(self, name: str, digest: str) -> str:
        keyed = name + hmac.digest(self._keys[name], f"digest {digest}".encode(), "sha256").hex()
        return keyed[:64]
