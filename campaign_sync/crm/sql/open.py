"""The choice how a CRM in a SQL database is read: where it is, or from a copy."""

from campaign_sync.config import SqlSettings
from campaign_sync.config.database_url import location, read_database_url
from campaign_sync.crm.adapter import CrmContext
from campaign_sync.crm.mirror.adapter import MirrorCrm
from campaign_sync.crm.port import Crm
from campaign_sync.crm.sql.adapter import SqlCrm
from campaign_sync.crm.sql.source import SqlSource


def is_copied(settings: SqlSettings) -> bool:
    """Return whether a CRM is copied: it is mapped, or in MariaDB or MySQL. Otherwise it is read where it is."""
    return settings.is_mapped or settings.is_mysql


def open_sql(settings: SqlSettings, context: CrmContext) -> Crm:
    """Return the CRM in a SQL database.

    Raises:
        CrmError: the URL can't be used, or names a SQLite file that doesn't exist.
    """
    if not is_copied(settings):
        return SqlCrm(settings.url.get_secret_value(), settings.consent_kinds.words)
    place = location(read_database_url(settings.url.get_secret_value()))
    return MirrorCrm(SqlSource(settings), settings, context, place)
