"""The adapter for a CRM in a SQL database: tables or views that have the names of the contract in docs/crm.md.

What belongs here: all SQL on the CRM. The product's own tables are in `storage`.
"""

from typing import TYPE_CHECKING

from campaign_sync.config.crm import SqlSettings
from campaign_sync.crm.adapter import CrmAdapter, CrmContext

if TYPE_CHECKING:
    from campaign_sync.crm.port import Crm


def _open(settings: SqlSettings, _context: CrmContext) -> "Crm":
    from campaign_sync.crm.sql.adapter import SqlCrm  # only now: it imports pandas

    return SqlCrm(settings.url.get_secret_value(), settings.consent_kinds.words)


ADAPTER = CrmAdapter(SqlSettings, _open)
"""The entry point `sql`."""
