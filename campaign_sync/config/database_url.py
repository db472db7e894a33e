"""Parsing of database URLs, and the part of them that may be shown.

SQLAlchemy is imported when a URL is parsed: commands that need no database start without it.
"""

import re
from typing import TYPE_CHECKING

from campaign_sync.domain.url import ENCODING_HINT, is_ambiguous
from campaign_sync.errors import CampaignSyncError

if TYPE_CHECKING:
    from sqlalchemy import URL

PSYCOPG2_OPTIONS = {"executemany_mode": "values_plus_batch", "executemany_batch_page_size": 500}
"""Options of an engine with psycopg2: without them, each row of an upsert or of an update would be a round trip."""


class DatabaseUrlError(CampaignSyncError, ValueError):
    """A text isn't a valid database URL. The message contains nothing of it."""


def read_database_url(text: str) -> "URL":
    """Return the parsed URL.

    Raises:
        DatabaseUrlError: it is ambiguous or no database URL.
    """
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

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


def usable_database_url(text: str) -> str:
    """Return the URL with the driver that is installed, and a password where SQLAlchemy masks it.

    Raises:
        ValueError: SQLAlchemy can't use the URL. The message contains nothing of it.
    """
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    # SQLAlchemy's default driver may change, and hosting providers use `postgres:`.
    text = re.sub(r"^postgres(ql)?://", "postgresql+psycopg2://", text)
    problem = None
    try:
        url = read_database_url(text)
        url.get_dialect()
        if isinstance(password := url.query.get("password"), str):  # SQLAlchemy masks only the user's password
            url = url.set(password=password).difference_update_query(["password"])
            text = url.render_as_string(hide_password=False)
    except DatabaseUrlError as error:
        problem = str(error)
    except NoSuchModuleError:
        problem = "SQLAlchemy has no such kind of database; use one like postgresql:// or sqlite:///"
    except (ArgumentError, ValueError):
        problem = (
            "SQLAlchemy can't use this URL; a database URL is like postgresql://user@host/name or sqlite:///file.db"
        )
    if problem:  # raised here, because SQLAlchemy's message contains the URL
        raise ValueError(problem)
    return text


def location(url: "URL") -> str:
    """Return the location of a database, without user, password and options, which may be secret."""
    if url.get_backend_name() == "sqlite":
        return url.database or ":memory:"
    host = url.host or url.query.get("host") or "localhost"
    return f"{host}{f':{url.port}' if url.port else ''}/{url.database or ''}"
