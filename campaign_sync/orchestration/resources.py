"""Everything an asset may reach beyond Dagster: the vendor, the CRM, the product's own state and files."""

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import dagster as dg

from campaign_sync.config import Configuration
from campaign_sync.crm.port import Crm, CrmSnapshot
from campaign_sync.crm.sql.adapter import open_crm
from campaign_sync.optimizely.client import Optimizely, connect
from campaign_sync.optimizely.errors import CredentialsError
from campaign_sync.orchestration import retry_policy as retry_policies
from campaign_sync.orchestration.retry_policy import RetryPolicy
from campaign_sync.replacement.list_replacer import ListReplacer
from campaign_sync.storage.errors import StateError
from campaign_sync.storage.files import FileStorage
from campaign_sync.storage.state import State
from campaign_sync.telemetry.exporter import exporting
from campaign_sync.telemetry.spans import run_span
from campaign_sync.telemetry.textfile import write_text_file

log = logging.getLogger(__name__)


class Resources:
    """Opens what is asked for, once per run, and closes all of it at the end.

    One vendor login per mandator; one view of the CRM per mandator, opened when its feedback has been written.
    """

    def __init__(
        self, configuration: Configuration, run_id: str | None = None, retry_policy: RetryPolicy | None = None
    ) -> None:
        """Open nothing yet. A run that is named gives signs of life as soon as the state is opened."""
        self._configuration, self._run_id = configuration, run_id
        self.retry_policy = retry_policy or retry_policies.DEFAULT_RETRY_POLICY
        self._open = ExitStack()
        self._vendors: dict[str, Optimizely] = {}
        self._crm_snapshots: dict[str, CrmSnapshot] = {}
        self._locked_out: dict[str, CredentialsError] = {}

    @cached_property
    def state(self) -> State:
        """The state database."""
        state = self._open.enter_context(State(self._configuration.storage.state_url.get_secret_value()))
        if self._run_id:
            self._open.enter_context(state.heartbeats.keep_alive(self._run_id))
        return state

    def send_heartbeats(self) -> None:
        """Begin with the signs of life. A state that can't be opened is told by the first asset that needs it."""
        with suppress(StateError):
            _ = self.state

    @cached_property
    def frames(self) -> FileStorage:
        """The frame storage."""
        return FileStorage(self._configuration.storage.frames)

    @cached_property
    def crm(self) -> Crm:
        """The CRM, known to answer and to hold what the contract asks for.

        Raises:
            CrmError: it doesn't.
        """
        crm = open_crm(self._configuration.crm)
        crm.check()  # not for its finished exports: without them a day only starts later
        return crm

    def crm_snapshot(self, mandator: str) -> CrmSnapshot:
        """The CRM as it was when this mandator first asked: its lists agree with each other."""
        if mandator not in self._crm_snapshots:
            self._crm_snapshots[mandator] = self._open.enter_context(self.crm.snapshot())
        return self._crm_snapshots[mandator]

    def vendor(self, mandator: str) -> Optimizely:
        """The vendor, logged in to one mandator. Wrong credentials are tried once: they might get the user locked out.

        Raises:
            OptimizelyError: the vendor can't be reached, or doesn't let the user in.
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

    def replacer(self, mandator: str, run_id: str, say: Callable[[str], None]) -> ListReplacer:
        """What replaces this mandator's lists; `say` is told what it waits for."""
        return ListReplacer(self.vendor(mandator), self.crm, self.state, self.frames, run_id, on_wait=say)

    def write_metrics(self) -> None:
        """Bring the file of metrics up to date, where there is one and the state has been asked for. Never raises."""
        path = self._configuration.telemetry.prometheus_file
        if path is None or "state" not in vars(self):
            return
        try:
            write_text_file(Path(path), self.state.gauges.all(self._configuration, datetime.now(UTC)))
        except (StateError, OSError) as error:
            log.warning("The file of metrics (telemetry.prometheus_file) couldn't be written: %s", error)

    def close(self) -> None:
        """Log out everywhere and let go of the databases."""
        self._open.close()


def resources_definition(
    configuration: Configuration, retry_policy: RetryPolicy | None = None
) -> dg.ResourceDefinition:
    """The resource `ports`: opened lazily, closed when the run ends, however it ends."""

    @dg.resource(description="The vendor, the CRM, the product's state and files")
    def ports(context: dg.InitResourceContext) -> Iterator[Resources]:
        run_id = context.run.run_id if context.run else ""
        opened = Resources(configuration, run_id, retry_policy)
        with exporting(configuration.telemetry.otlp), run_span(run_id) as run:
            try:
                opened.send_heartbeats()
                yield opened
            finally:
                opened.write_metrics()
                with run.current():
                    opened.close()

    return ports
