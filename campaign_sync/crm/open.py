"""The choice of the adapter for a CRM."""

from pathlib import Path

from campaign_sync.config import Configuration
from campaign_sync.config.crm_adapters import AdapterError, load_adapter
from campaign_sync.crm.adapter import CrmAdapter, CrmContext
from campaign_sync.crm.mirror.memory import ConsentMemory
from campaign_sync.crm.needs import crm_needs
from campaign_sync.crm.port import Crm, CrmSetupError


def open_crm(configuration: Configuration, memory: ConsentMemory) -> Crm:
    """Return the CRM of a configuration, opened by its adapter.

    Args:
        configuration: the whole configuration; the adapter learns from it what the lists need.
        memory: what the CRM showed before. An adapter that reads the CRM where it is doesn't use it.

    Raises:
        CrmError: the adapter isn't there any more, or can't open the CRM.
    """
    name = configuration.crm.adapter
    try:
        adapter = load_adapter(name)
    except AdapterError as error:
        raise CrmSetupError(f"crm.adapter {name}: {error}") from None
    if not isinstance(adapter, CrmAdapter):
        raise CrmSetupError(f"crm.adapter {name}: its package offers a {type(adapter).__name__} and no CrmAdapter")
    context = CrmContext(crm_needs(configuration), memory, Path(configuration.storage.crm_copies))
    return adapter.open(configuration.crm, context)
