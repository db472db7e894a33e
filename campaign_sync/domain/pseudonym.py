"""Pseudonyms of people for logs, metadata and messages."""

import base64
import hmac


class Pseudonyms:
    """Replaces an address or CRM id by a short token that can be traced back only with the key.

    A keyed HMAC: unlike a plain hash, it can't be reversed by hashing a list of known addresses.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) < 16:
            raise ValueError("a pseudonym key has at least 16 bytes")
        self._hmac = hmac.new(key, digestmod="sha256")

    def of(self, value: str) -> str:
        """Return the token of `value`, which is always the same with the same key."""
        keyed = self._hmac.copy()  # a third of the time of `hmac.digest`: there may be millions
        keyed.update(value.encode("utf-8", "surrogatepass"))
        return "p_" + keyed.digest()[:6].hex()

    def derived_key(self, purpose: str) -> str:
        """Return a key of 16 characters for another keyed hash. Neither this one nor tokens can be derived from it."""
        keyed = self._hmac.copy()
        keyed.update(f"\0{purpose}".encode())
        return base64.b64encode(keyed.digest()[:12]).decode()
