"""Database URLs: how they are read, and what of one may be shown."""

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from campaign_sync.domain.url import ENCODING_HINT, is_ambiguous
from campaign_sync.errors import CampaignSyncError


class DatabaseUrlError(CampaignSyncError, ValueError):
    """A text isn't a database URL that can be read. The message holds nothing of it."""


def read_database_url(text: str) -> URL:
    """The URL, if it can be read without doubt.

    Raises:
        DatabaseUrlError: it can't.
    """
    if is_ambiguous(text):
        raise DatabaseUrlError(f"the URL can be read in several ways; {ENCODING_HINT}")
    try:
        return make_url(text)
    except (ArgumentError, ValueError):
        pass
    # Out here, because the caught exception has the URL in it.
    raise DatabaseUrlError(
        "a database URL is expected, like postgresql://user@host/name or sqlite:///folder/file.db; if it is one, "
        + ENCODING_HINT
    )


def location(url: URL) -> str:
    """Where a database is, without user, password and options: they may hold secrets."""
    if url.get_backend_name() == "sqlite":
        return url.database or ":memory:"
    host = url.host or url.query.get("host") or "localhost"
    return f"{host}{f':{url.port}' if url.port else ''}/{url.database or ''}"
