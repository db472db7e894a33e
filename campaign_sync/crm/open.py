"""The choice of the adapter for a CRM."""

from campaign_sync.config import SqlSettings
from campaign_sync.crm.port import Crm
from campaign_sync.crm.sql.adapter import SqlCrm


def open_crm(settings: SqlSettings) -> Crm:
    """Return the CRM of a configuration. Only `sql` exists so far.

    Raises:
        CrmError: the URL can't be used, or names a SQLite file that doesn't exist.
    """
    return SqlCrm(settings.url.get_secret_value(), settings.consent_kinds.words)
