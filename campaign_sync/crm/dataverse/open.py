"""Opens Dynamics 365."""

from campaign_sync.config.crm_dataverse import DataverseSettings
from campaign_sync.crm.adapter import CrmContext
from campaign_sync.crm.dataverse.source import DataverseSource
from campaign_sync.crm.mirror.adapter import MirrorCrm
from campaign_sync.crm.port import Crm


def open_dataverse(settings: DataverseSettings, context: CrmContext) -> Crm:
    """Return the CRM: a copy of what the Web API yields."""
    return MirrorCrm(DataverseSource(settings, context.needs, context.folder), settings, context, settings.place)
