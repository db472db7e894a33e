"""Whether requests may be sent gzipped: only to a host that offers it, and only once it has shown that it can."""

import gzip

_WORTH_BYTES = 10_000
"""Below this, it isn't worth the time."""


class Gzipping:
    """What is known of a host. HTTP has no question for it: a host may tell by `Accept-Encoding` in its answers.

    Such a header might as well come from a proxy that knows nothing of the host (RFC 7694 is from 2015, and Axis 1.4
    from 2006). So the first gzipped request is one that may be repeated, and with the first that goes wrong it ends.
    A replace asks about everybody before it clears the list, so the list never waits for this to be found out.
    """

    def __init__(self) -> None:
        self._offered = self._shown = self._failed = False

    def offered(self, accept_encoding: str) -> None:
        """Take note of an answer's header `Accept-Encoding`, empty where it has none."""
        self._offered = "gzip" in accept_encoding.lower()

    def packed(self, body: bytes, *, repeatable: bool) -> bytes | None:
        """The body gzipped; None where it is to be sent as it is."""
        usable = self._offered and not self._failed and (self._shown or repeatable)
        return gzip.compress(body, compresslevel=1) if usable and len(body) >= _WORTH_BYTES else None

    def answered(self, *, understood: bool) -> None:
        """Take note of whether a gzipped request was understood."""
        self._shown |= understood
        self._failed |= not understood
