"""The resources of a code location: the vendor, the CRM, the product's own state and files, and the run itself.

Assets declare those that they need as parameters, see `resource_parameters.py`. None of them has a field of Dagster's
configuration: the launchpad could change it, and a run would use another CRM than the one that was checked. Nothing is
opened before its first use, so that what can't be opened fails the asset that needs it, with a sentence of its own.
What a run has opened is closed in reverse, since each names those that it needs. A class's docstring is the
description of its resource in the UI, which names its section of the configuration file.
"""

import logging
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
from pydantic import PrivateAttr

from campaign_sync.config import Configuration
from campaign_sync.crm.mirror.retention import remove_unused_copies
from campaign_sync.crm.open import open_crm
from campaign_sync.crm.port import Crm, CrmSnapshot
from campaign_sync.optimizely.client import Optimizely, connect_mandator
from campaign_sync.optimizely.errors import CredentialsError
from campaign_sync.orchestration import retry_policy as retry_policies
from campaign_sync.orchestration.io_manager import FRAMES, ParquetIOManager
from campaign_sync.orchestration.resource_parameters import resource_key
from campaign_sync.orchestration.retry_policy import RetryPolicy
from campaign_sync.orchestration.run_tags import retried_by_dagster
from campaign_sync.replacement.list_settings import ListSettings
from campaign_sync.storage.errors import StateError
from campaign_sync.storage.files import FileStorage, FileStorageError
from campaign_sync.storage.locks import ListLockedError
from campaign_sync.storage.open import open_state
from campaign_sync.storage.state import State
from campaign_sync.telemetry.exporter import exporting
from campaign_sync.telemetry.spans import RunSpan, run_span

log = logging.getLogger(__name__)


class RunResource(dg.ConfigurableResource["RunResource"]):
    """The run itself: its spans (`telemetry.otlp`), and how its assets are tried again after errors that may pass."""

    configuration: dg.ResourceDependency[Configuration]
    retry_policy: dg.ResourceDependency[RetryPolicy]
    _span: RunSpan = PrivateAttr()

    @property
    def span(self) -> RunSpan:
        """The span under which everything of the run hangs."""
        return self._span

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator["RunResource"]:
        """Export the spans of the run, in success or not."""
        with exporting(self.configuration.telemetry.otlp), run_span(_run_id(context)) as self._span:
            yield self


class StateResource(dg.ConfigurableResource["StateResource"]):
    """The product's own database (`storage.state_url`): what was done to which list, and that the run is alive."""

    configuration: dg.ResourceDependency[Configuration]
    run: dg.ResourceDependency[RunResource]
    _run_id: str = PrivateAttr("")
    _retries: str | None = PrivateAttr(None)
    _on_wait: Callable[[str], None] | None = PrivateAttr(None)
    _opened: ExitStack = PrivateAttr(default_factory=ExitStack)
    _state: State | None = PrivateAttr(None)

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator["StateResource"]:
        """Begin with the run's heartbeats. If the database can't be opened, the first asset that needs it fails."""
        self._run_id = _run_id(context)
        self._retries = retried_by_dagster(context.run.tags) if context.run else None
        if context.log:
            self._on_wait = context.log.info
        with self._opened:
            with suppress(StateError, ListLockedError):
                self.open()
            yield self

    def open(self) -> State:
        """Return the database, opened at the first call.

        Raises:
            StateError: it can't be opened.
            ListLockedError: erased people are being removed, for too long.
        """
        if self._state is None:
            state = self._opened.enter_context(open_state(self.configuration))
            self._opened.enter_context(state.kept_open())
            if self._run_id:
                self._opened.enter_context(state.heartbeats.keep_alive(self._run_id, self._on_wait or log.warning))
            with suppress(FileStorageError):  # who was erased is suppressed by what the files say, too
                state.erasures.synchronize()
            if self._retries:
                state.inherit_acceptances(self._retries, self._run_id)
            self._opened.callback(self._write_metrics, state)
            self._state = state
        return self._state

    def _write_metrics(self, state: State) -> None:
        """Update the file of metrics, if one is configured. Never raises."""
        path = self.configuration.telemetry.prometheus_file
        if path is None:
            return
        from campaign_sync.telemetry.textfile import write_text_file  # Prometheus' package is for this file alone

        try:
            write_text_file(Path(path), state.gauges.all(self.configuration, datetime.now(UTC)))
        except (StateError, OSError) as error:
            log.warning("The file of metrics (telemetry.prometheus_file) couldn't be written: %s", error)


class FilesResource(dg.ConfigurableResource["FilesResource"]):
    """The files that the product keeps (`storage.frames`): feedback as received, snapshots as sent, reports."""

    configuration: dg.ResourceDependency[Configuration]

    def open(self) -> FileStorage:
        """Return the file storage.

        Raises:
            FileStorageError: no driver exists for its URL.
        """
        return FileStorage(self.configuration.storage.frames)


class FramesResource(dg.ConfigurableIOManagerFactory[ParquetIOManager]):
    """What assets hand to each other (`storage.frames`): the newest frame of each, as Parquet."""

    configuration: dg.ResourceDependency[Configuration]

    def create_io_manager(self, context: dg.InitResourceContext) -> ParquetIOManager:
        """Return the IO manager, which opens nothing yet."""
        return ParquetIOManager(self.configuration.storage.frames)


class VendorResource(dg.ConfigurableResource["VendorResource"]):
    """Optimizely Campaign. A test gives a job an instance of a class of its own with this base."""

    @abstractmethod
    def login(self, mandator: str) -> Optimizely:
        """Return the vendor's API, logged in to one mandator.

        Raises:
            OptimizelyError: the vendor can't be reached, or rejects the user.
        """


class ConfiguredVendor(VendorResource):
    """Optimizely Campaign's SOAP API (`optimizely`), logged in to the run's mandator from the first call to the end."""

    configuration: dg.ResourceDependency[Configuration]
    run: dg.ResourceDependency[RunResource]
    _opened: ExitStack = PrivateAttr(default_factory=ExitStack)
    _logins: dict[str, Optimizely] = PrivateAttr(default_factory=dict)
    _locked_out: dict[str, CredentialsError] = PrivateAttr(default_factory=dict)

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator["ConfiguredVendor"]:
        """Log out everywhere at the end."""
        try:
            yield self
        finally:
            with self.run.span.current():
                self._opened.close()

    def login(self, mandator: str) -> Optimizely:
        """Log in to a mandator at the first call.

        Wrong credentials are tried once per run, since repeated attempts might lock the user out.

        Raises:
            OptimizelyError: the vendor can't be reached, or rejects the user.
        """
        if mandator in self._locked_out:
            raise self._locked_out[mandator]
        if mandator not in self._logins:
            try:
                self._logins[mandator] = self._opened.enter_context(connect_mandator(self.configuration, mandator))
            except CredentialsError as error:
                self._locked_out[mandator] = error
                raise
        return self._logins[mandator]


class CrmResource(dg.ConfigurableResource["CrmResource"]):
    """The CRM. A test gives a job an instance of a class of its own with this base."""

    _list_view: "_ListView | None" = PrivateAttr(None)

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator["CrmResource"]:
        """Close what the last list has left open, at the end."""
        try:
            yield self
        finally:
            self._close_list_view()

    @abstractmethod
    def open(self) -> Crm:
        """Return the CRM.

        Raises:
            CrmError: it doesn't answer, or lacks tables or columns that the product needs.
        """

    def remove_unused_copies(self, now: datetime) -> None:
        """Remove copies of the CRM that nothing has used for long. A CRM that isn't copied has none.

        Raises:
            CrmError: a file can't be removed.
        """

    @contextmanager
    def list_view(self, settings: ListSettings, *, is_last: bool) -> Iterator[CrmSnapshot]:
        """Give the CRM as it was at the list's first call, so that its selection and its snapshot agree.

        It is closed after an error, so that the next attempt reads the CRM anew, and when another list needs one: at
        most one is open.

        Args:
            settings: the list.
            is_last: whether no later step of the list needs it, so that nothing of the CRM is open while it is filled.
        """
        if self._list_view is None or self._list_view.of != (settings.mandator, settings.name):
            self._close_list_view()
            self._list_view = _ListView.open(self.open(), settings)
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


class ConfiguredCrm(CrmResource):
    """The CRM (`crm`): people and consents are read from it, bounces and unsubscribes are written to it."""

    configuration: dg.ResourceDependency[Configuration]
    state: dg.ResourceDependency[StateResource]
    _crm: Crm | None = PrivateAttr(None)

    def open(self) -> Crm:
        """Open the CRM at the first call, and check it.

        Raises:
            CrmError: it doesn't answer, or lacks tables or columns that the product needs.
            StateError: the state, which knows what the CRM showed before, can't be opened.
        """
        if self._crm is None:
            accepts = self.configuration.crm.undated_regrant == "accept"
            crm = open_crm(self.configuration, self.state.open().consent_memory(accept_undated=accepts))
            crm.check()  # not for its finished exports: without them a day only starts later
            self._crm = crm
        return self._crm

    def remove_unused_copies(self, now: datetime) -> None:
        """Remove copies of a CRM that nothing has used for long, whatever the adapter is by now.

        Raises:
            CrmError: a file can't be removed.
        """
        remove_unused_copies(Path(self.configuration.storage.crm_copies), now)


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


def all_resources(configuration: Configuration, retry_policy: RetryPolicy | None = None) -> dict[str, object]:
    """Return the resources of a configuration by their keys: one of each for a run, whatever uses it.

    Raises:
        FileStorageError: no driver exists for the URL of the files, so that no run could pass on frames.
    """
    FileStorage(configuration.storage.frames)
    run = RunResource.configure_at_launch(
        configuration=configuration, retry_policy=retry_policy or retry_policies.DEFAULT_RETRY_POLICY
    )
    state = StateResource.configure_at_launch(configuration=configuration, run=run)
    resources = {
        "run": run,
        "state": state,
        "files": FilesResource(configuration=configuration),
        "vendor": ConfiguredVendor(configuration=configuration, run=run),
        "crm": ConfiguredCrm(configuration=configuration, state=state),
        FRAMES: FramesResource(configuration=configuration),
    }
    return {resource_key(name, prefix=configuration.prefix): resource for name, resource in resources.items()}


def _run_id(context: dg.InitResourceContext) -> str:
    return context.run.run_id if context.run else ""
