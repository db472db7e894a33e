"""The adapter for Dynamics 365, by the Web API of Dataverse.

What belongs here: its login, FetchXML, metadata, and where consents and bounces are. What doesn't: what all web APIs
have in common (`web_api`), and what is done with the rows (`mirror`).
"""

from typing import TYPE_CHECKING

from campaign_sync.config.crm_dataverse import DataverseLogin, DataverseSettings
from campaign_sync.crm.adapter import CrmAdapter, CrmContext

if TYPE_CHECKING:
    from campaign_sync.crm.outline import CrmOutline
    from campaign_sync.crm.port import Crm


def _open(settings: DataverseSettings, context: CrmContext) -> "Crm":
    from campaign_sync.crm.dataverse.open import open_dataverse  # only now: it imports the clients

    return open_dataverse(settings, context)


def _outline(login: DataverseLogin) -> "CrmOutline":
    from campaign_sync.crm.dataverse.outline import outline_environment

    return outline_environment(login)


ADAPTER = CrmAdapter(DataverseSettings, _open, DataverseLogin, _outline)
"""The entry point `dataverse`."""
