"""What a run opens, opened outside of Dagster."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property

from campaign_sync.config import Configuration
from campaign_sync.crm.open import open_crm
from campaign_sync.crm.port import Crm
from campaign_sync.optimizely.client import Optimizely, connect_mandator
from campaign_sync.replacement.list_replacer import ListReplacer
from campaign_sync.storage.files import FileStorage
from campaign_sync.storage.state import State


class Opened:
    """The vendor, the CRM, state and files of a configuration, each opened at its first use and once."""

    def __init__(self, configuration: Configuration, closed_with: ExitStack, mandator: str = "nord") -> None:
        self._configuration, self._closed_with, self._mandator = configuration, closed_with, mandator

    @cached_property
    def state(self) -> State:
        """The state database."""
        return self._closed_with.enter_context(State(self._configuration.storage.state_url.get_secret_value()))

    @cached_property
    def files(self) -> FileStorage:
        """The files."""
        return FileStorage(self._configuration.storage.frames)

    @cached_property
    def crm(self) -> Crm:
        """The CRM, checked."""
        crm = open_crm(self._configuration, self.state.consent_memory())
        crm.check()
        return crm

    @cached_property
    def _login(self) -> Optimizely:
        return self._closed_with.enter_context(connect_mandator(self._configuration, self._mandator))

    def vendor(self) -> Optimizely:
        """Return the vendor's API, logged in."""
        return self._login

    def replacer(self, run_id: str) -> ListReplacer:
        """Return what replaces the mandator's lists."""
        return ListReplacer(self.vendor(), self.crm, self.state, self.files, run_id, on_wait=lambda _: None)


@contextmanager
def opened(configuration: Configuration) -> Iterator[Opened]:
    """Yield what the configuration names, not yet opened, and close it at the end."""
    with ExitStack() as closed_with:
        yield Opened(configuration, closed_with)
