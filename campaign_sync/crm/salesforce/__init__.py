"""The adapter for Salesforce, by its REST and Bulk 2.0 APIs.

What belongs here: login, SOQL, jobs, and where consents and bounces are. What doesn't: what all web APIs have in common
(`web_api`), and what is done with the rows (`mirror`).
"""

from typing import TYPE_CHECKING

from campaign_sync.config.crm_salesforce import SalesforceLogin, SalesforceSettings
from campaign_sync.crm.adapter import CrmAdapter, CrmContext

if TYPE_CHECKING:
    from campaign_sync.crm.outline import CrmOutline
    from campaign_sync.crm.port import Crm


def _open(settings: SalesforceSettings, context: CrmContext) -> "Crm":
    from campaign_sync.crm.mirror.adapter import MirrorCrm  # only now: it imports pandas
    from campaign_sync.crm.salesforce.source import SalesforceSource

    source = SalesforceSource(settings, context.needs, context.folder)
    return MirrorCrm(source, settings, context, settings.place)


def _outline(login: SalesforceLogin) -> "CrmOutline":
    from campaign_sync.crm.salesforce.outline import outline_org

    return outline_org(login)


ADAPTER = CrmAdapter(SalesforceSettings, _open, SalesforceLogin, _outline)
"""The entry point `salesforce`."""
