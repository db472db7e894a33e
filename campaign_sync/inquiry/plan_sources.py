"""What a plan reads: CRM and vendor as they are now, and our own state as a run would find it."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from tempfile import TemporaryDirectory
from uuid import uuid4

from campaign_sync.config import Configuration
from campaign_sync.crm.open import open_crm
from campaign_sync.inquiry.list_plan import ListPlanner
from campaign_sync.inquiry.plan_store import PlanStore
from campaign_sync.optimizely.client import Optimizely
from campaign_sync.storage.database import READY, probe_database
from campaign_sync.storage.files import FileStorage
from campaign_sync.storage.open import open_state
from campaign_sync.storage.state import State


@contextmanager
def open_planner(configuration: Configuration, vendor: Optimizely, *, save: bool = False) -> Iterator[ListPlanner]:
    """Open what plans the lists of the mandator that the vendor's session is of.

    Nothing is remembered of it, but for the plans themselves with `save`. No erased people are removed meanwhile, so no
    plan is stored with a person who was looked for already.

    Raises:
        StateError: the state database can't be used.
        ListLockedError: erased people are being removed, for too long.
        CrmError: the CRM can't be reached, or lacks what is configured.
    """
    files = FileStorage(configuration.storage.frames)
    with ExitStack() as opened:
        store = PlanStore(opened.enter_context(open_state(configuration)), files) if save else None
        state = opened.enter_context(_state(configuration))
        opened.enter_context(state.heartbeats.keep_alive(f"plan {uuid4()}"))
        accepts = configuration.crm.undated_regrant == "accept"
        crm = open_crm(configuration, state.consent_memory(accept_undated=accepts))
        crm.check()
        yield ListPlanner(vendor, crm, state, files, store)


@contextmanager
def _state(configuration: Configuration) -> Iterator[State]:
    """Open the state database without remembering anything; an empty one if the first run would create it."""
    with ExitStack() as opened:
        url = None
        if probe_database(configuration.storage.state_url.get_secret_value()) != READY:
            url = f"sqlite:///{opened.enter_context(TemporaryDirectory())}/state.db"
        yield opened.enter_context(open_state(configuration, url=url, remembers=False))
