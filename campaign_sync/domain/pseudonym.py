"""Stand-ins for people in logs, metadata and messages."""

import hashlib
import hmac


class Pseudonyms:
    """Turns an address or CRM id into a short token that only the holder of the key can trace back.

    A keyed HMAC: unlike a plain hash it can't be undone by hashing a list of known addresses.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) < 16:
            raise ValueError("a pseudonym key has at least 16 bytes")
        self._key = key

    def of(self, value: str) -> str:
        """The token of `value`, always the same under one key."""
        return "p_" + hmac.new(self._key, value.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:12]
