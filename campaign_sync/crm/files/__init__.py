"""The adapter for a CRM that delivers files: SAP, CAS, or any other that can export its tables.

What belongs here: which delivery is complete, its files on this machine, and the contract's tables in them. What
doesn't: folders, SFTP servers and object stores themselves (`delivered_files`).
"""

from typing import TYPE_CHECKING

from campaign_sync.config.crm_files import FilesLogin, FilesSettings
from campaign_sync.crm.adapter import CrmAdapter, CrmContext

if TYPE_CHECKING:
    from campaign_sync.crm.outline import CrmOutline
    from campaign_sync.crm.port import Crm


_USUAL_TABLES = ("contact", "consent_state", "address_state", "marketing_list", "marketing_list_member")
"""What nearly every CRM can deliver."""


def _open(settings: FilesSettings, context: CrmContext) -> "Crm":
    from campaign_sync.crm.files.open import open_files  # only now: it imports pandas

    return open_files(settings, context)


def _outline(_login: FilesLogin) -> "CrmOutline":
    from campaign_sync.crm.outline import Choice, CrmOutline

    return CrmOutline(
        settings={"tables": {name: {} for name in _USUAL_TABLES}},
        consents=[Choice({}, "newsletter")],
        picks=[Choice({"marketing_list": "NAME_OF_A_LIST"}), Choice({"report": "NAME_OF_A_REPORT"})],
        remarks=["the files that the CRM delivers, by name: what it doesn't deliver is removed from tables"],
    )


ADAPTER = CrmAdapter(FilesSettings, _open, FilesLogin, _outline)
"""The entry point `files`."""
