"""The adapter for a CRM that delivers files: SAP, CAS, or any other that can export its tables.

What belongs here: which delivery is complete, its files on this machine, and the contract's tables in them. What
doesn't: folders, SFTP servers and object stores themselves (`delivered_files`).
"""

from typing import TYPE_CHECKING

from campaign_sync.config.crm_files import FilesSettings
from campaign_sync.crm.adapter import CrmAdapter, CrmContext

if TYPE_CHECKING:
    from campaign_sync.crm.port import Crm


def _open(settings: FilesSettings, context: CrmContext) -> "Crm":
    from campaign_sync.crm.files.open import open_files  # only now: it imports pandas

    return open_files(settings, context)


ADAPTER = CrmAdapter(FilesSettings, _open)
"""The entry point `files`."""
