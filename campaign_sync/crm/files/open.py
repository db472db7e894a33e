"""Opens a CRM that delivers files."""

from campaign_sync.config.crm_files import FilesSettings
from campaign_sync.crm.adapter import CrmContext
from campaign_sync.crm.files.source import FilesSource
from campaign_sync.crm.mirror.adapter import MirrorCrm
from campaign_sync.crm.port import Crm


def open_files(settings: FilesSettings, context: CrmContext) -> Crm:
    """Return the CRM: a copy of its newest complete delivery, and files for what is written to it."""
    return MirrorCrm(FilesSource(settings, context.folder), settings, context, settings.url)
