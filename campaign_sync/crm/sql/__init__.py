"""The adapter for a CRM in a SQL database: the tables of the contract in docs/crm.md, or others mapped to them.

What belongs here: all SQL on the CRM. The product's own tables are in `storage`.
"""

from typing import TYPE_CHECKING

from campaign_sync.config.crm_sql import SqlSettings
from campaign_sync.crm.adapter import CrmAdapter, CrmContext

if TYPE_CHECKING:
    from campaign_sync.crm.port import Crm


def _open(settings: SqlSettings, context: CrmContext) -> "Crm":
    from campaign_sync.crm.sql.open import open_sql  # only now: it imports pandas

    return open_sql(settings, context)


ADAPTER = CrmAdapter(SqlSettings, _open)
"""The entry point `sql`."""
