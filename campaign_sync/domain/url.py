"""URLs with credentials: which are ambiguous, and which must not be shown."""

import re

OBJECT_STORE_EXTRAS = {
    "s3": "s3",
    "s3a": "s3",
    "gs": "gcs",
    "gcs": "gcs",
    "az": "azure",
    "abfs": "azure",
    "abfss": "azure",
}
"""The extra of this package that installs the driver of an object store, by URL scheme."""

ENCODING_HINT = (
    "percent-encode characters with a meaning in URLs in user, password, database and options: "
    "@ as %40, / as %2F, # as %23, ? as %3F, % as %25"
)
"""The remedy for an ambiguous URL."""


def is_ambiguous(url: str) -> bool:
    """Return whether a URL can be parsed in several ways, so that a part of its password could seem host or path.

    An `@` is allowed once in the authority, before the host, and nowhere after it: an unencoded `@`, `/`, `#` or `?` in
    user or password always leaves another one.
    """
    authority, rest = _authority(url)
    return bool(authority) and (authority.count("@") > 1 or "@" in rest)


def may_hold_password(location: str) -> bool:
    """Return whether a path or URL, or a part of a chained one, seems to have a user and a password, even mistyped."""
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
