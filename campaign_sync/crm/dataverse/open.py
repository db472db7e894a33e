"""Opens Dynamics 365."""

from campaign_sync.config.crm_dataverse import DataverseSettings
from campaign_sync.crm.adapter import CrmContext
from campaign_sync.crm.dataverse.pages import PAGE_ROWS
from campaign_sync.crm.dataverse.source import DataverseSource
from campaign_sync.crm.mirror.adapter import MirrorCrm
from campaign_sync.crm.port import Crm


def open_dataverse(settings: DataverseSettings, context: CrmContext, page_rows: int = PAGE_ROWS) -> Crm:
    """Return the CRM: a copy of what the Web API yields.

    Args:
        settings: the section `crm`.
        context: what the lists need, the memory, and where copies are stored.
        page_rows: how many rows are read with one call.
    """
    source = DataverseSource(settings, context.needs, page_rows)
    return MirrorCrm(source, settings, context, settings.url)
