"""The adapter for a CRM in a SQL database: the tables of the contract in docs/crm.md, or others mapped to them.

What belongs here: all SQL on the CRM. The product's own tables are in `storage`.
"""

from typing import TYPE_CHECKING

from campaign_sync.config.crm_sql import SqlLogin, SqlSettings
from campaign_sync.crm.adapter import CrmAdapter, CrmContext

if TYPE_CHECKING:
    from campaign_sync.crm.outline import CrmOutline
    from campaign_sync.crm.port import Crm


def _open(settings: SqlSettings, context: CrmContext) -> "Crm":
    from campaign_sync.crm.sql.open import open_sql  # only now: it imports pandas

    return open_sql(settings, context)


def _outline(login: SqlLogin) -> "CrmOutline":
    from campaign_sync.crm.sql.outline import outline_database

    return outline_database(login)


ADAPTER = CrmAdapter(SqlSettings, _open, SqlLogin, _outline)
"""The entry point `sql`."""
