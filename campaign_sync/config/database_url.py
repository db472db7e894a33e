"""Parsing of database URLs, and the part of them that may be shown."""

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from campaign_sync.domain.url import ENCODING_HINT, is_ambiguous
from campaign_sync.errors import CampaignSyncError


class DatabaseUrlError(CampaignSyncError, ValueError):
    """A text isn't a valid database URL. The message contains nothing of it."""


def read_database_url(text: str) -> URL:
    """Return the parsed URL.

    Raises:
        DatabaseUrlError: it is ambiguous or no database URL.
    """
    if is_ambiguous(text):
        raise DatabaseUrlError(f"the URL can be read in several ways; {ENCODING_HINT}")
    try:
        return make_url(text)
    except (ArgumentError, ValueError):
        pass
    # Raised outside of the handler, because the caught exception contains the URL.
    raise DatabaseUrlError(
        "a database URL is expected, like postgresql://user@host/name or sqlite:///folder/file.db; if it is one, "
        + ENCODING_HINT
    )


def location(url: URL) -> str:
    """Return the location of a database, without user, password and options, which may be secret."""
    if url.get_backend_name() == "sqlite":
        return url.database or ":memory:"
    host = url.host or url.query.get("host") or "localhost"
    return f"{host}{f':{url.port}' if url.port else ''}/{url.database or ''}"
