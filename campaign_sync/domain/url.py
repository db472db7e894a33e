"""URLs with a login in them: which can be read without doubt, and which may not be shown."""

import re

ENCODING_HINT = (
    "percent-encode what has a meaning in URLs wherever it stands in user, password, database or options: "
    "@ as %40, / as %2F, # as %23, ? as %3F, % as %25"
)
"""What to do about an ambiguous URL."""


def is_ambiguous(url: str) -> bool:
    """Whether a URL may be read in several ways, so that a piece of its password could be taken for host or path.

    Where there is an authority, an `@` may stand in it once, before the host, and nowhere after it: an unencoded `@`,
    `/`, `#` or `?` in user or password always leaves one behind.
    """
    authority, rest = _authority(url)
    return bool(authority) and (authority.count("@") > 1 or "@" in rest)


def may_hold_password(location: str) -> bool:
    """Whether a path or URL, or a part of a chained one, has something like a user and a password, however mistyped."""
    return any(_has_login(part) for part in location.split("::"))


def _has_login(location: str) -> bool:
    if "://" not in location:
        return re.match(r"[a-z][a-z0-9+.-]+:.*:.*@", location, re.IGNORECASE | re.DOTALL) is not None
    rest = location.partition("://")[2]
    return not rest.startswith("/") and re.match(r"[^:@]*:.*@", rest, re.DOTALL) is not None


def _authority(url: str) -> tuple[str, str]:
    rest = url.partition("://")[2]
    end = re.search(r"[/?#]", rest)
    return (rest[: end.start()], rest[end.start() :]) if end else (rest, "")
