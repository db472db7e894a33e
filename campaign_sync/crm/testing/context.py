"""What an adapter gets beside its settings, in tests."""

from pathlib import Path
from tempfile import mkdtemp

from campaign_sync.crm.adapter import CrmContext
from campaign_sync.crm.port import CrmNeeds
from campaign_sync.crm.testing.under_test import NEEDS
from campaign_sync.storage.state import State


def crm_context(folder: Path, needs: CrmNeeds = NEEDS) -> CrmContext:
    """Return a context whose copies are made anew, and whose memory is that of the folder.

    Args:
        folder: of this test alone.
        needs: what the lists ask of the CRM.
    """
    memory = State(f"sqlite:///{folder / 'state.db'}").consent_memory()
    return CrmContext(needs, memory, Path(mkdtemp(dir=folder)))
