"""What assets use beyond Dagster: the vendor, the CRM, the product's own state and files."""

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import dagster as dg

from campaign_sync.config import Configuration
from campaign_sync.crm.mirror.retention import remove_unused_copies
from campaign_sync.crm.open import open_crm
from campaign_sync.crm.port import Crm, CrmSnapshot
from campaign_sync.optimizely.client import Optimizely, connect
from campaign_sync.optimizely.errors import CredentialsError
from campaign_sync.orchestration import retry_policy as retry_policies
from campaign_sync.orchestration.retry_policy import RetryPolicy
from campaign_sync.orchestration.run_tags import retried_by_dagster
from campaign_sync.replacement.list_replacer import ListReplacer
from campaign_sync.replacement.list_settings import ListSettings
from campaign_sync.storage.errors import StateError
from campaign_sync.storage.files import FileStorage
from campaign_sync.storage.state import State
from campaign_sync.telemetry.exporter import exporting
from campaign_sync.telemetry.spans import run_span
from campaign_sync.telemetry.textfile import write_text_file

log = logging.getLogger(__name__)

RESOURCES = "campaign_sync"
"""Key of `Resources` among the resources of a code location."""


class Resources:
    """Opens each resource at its first use, once per run, and closes all of them at the end.

    There is one vendor login per mandator, and at most one view of the CRM: that of the list that is selected.
    """

    def __init__(
        self,
        configuration: Configuration,
        run_id: str | None = None,
        retry_policy: RetryPolicy | None = None,
        *,
        retries: str | None = None,
        read_only: bool = False,
    ) -> None:
        """Open nothing yet.

        Args:
            configuration: what to open.
            run_id: the run; its heartbeats begin when the state is opened.
            retry_policy: when an asset is tried again.
            retries: the run whose process died, of which this one is Dagster's retry.
            read_only: whether what the CRM shows isn't remembered: a mapping that is only tried may be wrong.
        """
        self._configuration, self._read_only = configuration, read_only
        self._run_id, self._retries = run_id, retries
        self.retry_policy = retry_policy or retry_policies.DEFAULT_RETRY_POLICY
        self._open = ExitStack()
        self._vendors: dict[str, Optimizely] = {}
        self._list_view: _ListView | None = None
        self._locked_out: dict[str, CredentialsError] = {}

    @cached_property
    def state(self) -> State:
        """Open the state database."""
        state = self._open.enter_context(State(self._configuration.storage.state_url.get_secret_value()))
        if self._run_id:
            self._open.enter_context(state.heartbeats.keep_alive(self._run_id))
            if self._retries:
                state.inherit_acceptances(self._retries, self._run_id)
        return state

    def send_heartbeats(self) -> None:
        """Begin with the run's heartbeats. If the state can't be opened, the first asset that needs it fails."""
        with suppress(StateError):
            _ = self.state

    @cached_property
    def frames(self) -> FileStorage:
        """Open the file storage."""
        return FileStorage(self._configuration.storage.frames)

    def remove_unused_copies(self, now: datetime) -> None:
        """Remove copies of a CRM that nothing has used for long, whatever the adapter is by now.

        Raises:
            CrmError: a file can't be removed.
        """
        remove_unused_copies(Path(self._configuration.storage.crm_copies), now)

    @cached_property
    def crm(self) -> Crm:
        """Open the CRM and check it.

        Raises:
            CrmError: it doesn't answer, or lacks tables or columns that the product needs.
        """
        accepts = self._configuration.crm.undated_regrant == "accept"
        memory = self.state.consent_memory(accept_undated=accepts, read_only=self._read_only)
        crm = open_crm(self._configuration, memory)
        crm.check()  # not for its finished exports: without them a day only starts later
        return crm

    @contextmanager
    def list_view(self, settings: ListSettings, *, is_last: bool) -> Iterator[CrmSnapshot]:
        """Give the CRM as it was at the list's first call, so that its selection and its snapshot agree.

        It is closed after an error, so that the next attempt reads the CRM anew, and when another list needs one.

        Args:
            settings: the list.
            is_last: whether no later step of the list needs it, so that nothing of the CRM is open while it is filled.
        """
        if self._list_view is None or self._list_view.of != (settings.mandator, settings.name):
            self._close_list_view()
            self._list_view = _ListView.open(self.crm, settings)
        keep = False
        try:
            yield self._list_view.crm
            keep = not is_last
        finally:
            if not keep:
                self._close_list_view()

    def _close_list_view(self) -> None:
        view, self._list_view = self._list_view, None
        if view is not None:
            view.context.__exit__(None, None, None)

    def vendor(self, mandator: str) -> Optimizely:
        """Return the vendor's API, logged in to one mandator.

        Wrong credentials are tried once per run, since repeated attempts might lock the user out.

        Raises:
            OptimizelyError: the vendor can't be reached, or rejects the user.
        """
        if mandator in self._locked_out:
            raise self._locked_out[mandator]
        try:
            return self._logged_in(mandator)
        except CredentialsError as error:
            self._locked_out[mandator] = error
            raise

    def _logged_in(self, mandator: str) -> Optimizely:
        if mandator not in self._vendors:
            settings, optimizely = self._configuration.mandators[mandator], self._configuration.optimizely
            self._vendors[mandator] = self._open.enter_context(
                connect(
                    optimizely.base_url,
                    settings.mandator_id,
                    settings.username.get_secret_value(),
                    settings.password.get_secret_value(),
                    parallel_calls=optimizely.parallel_calls,
                    timeout_seconds=optimizely.timeout_seconds,
                    ca_file=optimizely.ca_file,
                )
            )
        return self._vendors[mandator]

    def replacer(self, mandator: str, run_id: str, on_wait: Callable[[str], None]) -> ListReplacer:
        """Return what replaces this mandator's lists; `on_wait` is called with what it waits for."""
        return ListReplacer(self.vendor(mandator), self.crm, self.state, self.frames, run_id, on_wait=on_wait)

    def write_metrics(self) -> None:
        """Update the file of metrics, if one is configured and the state was opened. Never raises."""
        path = self._configuration.telemetry.prometheus_file
        if path is None or "state" not in vars(self):
            return
        try:
            write_text_file(Path(path), self.state.gauges.all(self._configuration, datetime.now(UTC)))
        except (StateError, OSError) as error:
            log.warning("The file of metrics (telemetry.prometheus_file) couldn't be written: %s", error)

    def close(self) -> None:
        """Log out everywhere and close the databases."""
        with self._open:
            self._close_list_view()


@dataclass(frozen=True)
class _ListView:
    """The CRM as the selection of a list sees it."""

    of: tuple[str, str]
    """Mandator and list."""
    crm: CrmSnapshot
    context: AbstractContextManager[CrmSnapshot]

    @classmethod
    def open(cls, crm: Crm, settings: ListSettings) -> "_ListView":
        """Open a view with the consents for the list's opt-in."""
        context = crm.snapshot([settings.schema.opt_in_id])
        return cls((settings.mandator, settings.name), context.__enter__(), context)


def resources_definition(
    configuration: Configuration, retry_policy: RetryPolicy | None = None
) -> dg.ResourceDefinition:
    """Return the resource `RESOURCES`: opened at its first use, closed when the run ends, in success or not."""

    @dg.resource(description="The vendor, the CRM, the product's state and files")
    def resources(context: dg.InitResourceContext) -> Iterator[Resources]:
        run_id = context.run.run_id if context.run else ""
        retries = retried_by_dagster(context.run.tags) if context.run else None
        opened = Resources(configuration, run_id, retry_policy, retries=retries)
        with exporting(configuration.telemetry.otlp), run_span(run_id) as run:
            try:
                opened.send_heartbeats()
                yield opened
            finally:
                opened.write_metrics()
                with run.current():
                    opened.close()

    return resources


def resources_of(context: dg.AssetExecutionContext | dg.OpExecutionContext) -> Resources:
    """Return the resources of the run in which an asset is materialized, or a step of a job is executed."""
    opened: Resources = getattr(context.resources, RESOURCES)
    return opened
