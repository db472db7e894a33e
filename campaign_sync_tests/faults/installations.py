"""Copies of a prepared installation, cheap enough to have one for every point."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from uuid import uuid4

from sqlalchemy import Engine, create_engine, inspect, select

from campaign_sync.crm.sql.schema import consent_event
from campaign_sync.domain.consent import ConsentKind
from campaign_sync.replacement.list_settings import ListSettings, list_settings
from campaign_sync.sandbox.server import serve
from campaign_sync.sandbox.vendor_state import VendorState
from campaign_sync.storage.replacements import Replacement, ReplacementState
from campaign_sync.storage.state import State
from campaign_sync.storage.tables import lease, rejection, replace
from campaign_sync_tests.databases import fresh_database
from campaign_sync_tests.faults.kill_job import ReplacementJob, Report
from campaign_sync_tests.faults.process_pool import ProcessPool
from campaign_sync_tests.faults.vendor_states import CANARY, Scenario
from campaign_sync_tests.installation import ENVIRONMENT, NEWSLETTER, NORD, running_installation

Database = Literal["sqlite", "postgresql"]
Rows = frozenset[tuple[str, str, frozenset[tuple[str, str | None]]]]
"""The recipients of a list: id, address and attributes."""

_BACKUP = "backup"
"""The schema that holds a copy of each table, as it was before the replacement."""


@dataclass(frozen=True)
class Outcome:
    """The state after a replacement, which must be the same whether or not a process was killed before."""

    rows: Rows
    unsubscribed: tuple[str, ...]
    rejections: frozenset[tuple[str, str, str]]
    """Stage, reason, entity."""
    withdrawals: tuple[tuple[str, str], ...]
    """Entity and opt-in of every withdrawal that the CRM has, sorted."""
    newest: str
    """The state of the newest replacement."""
    incomplete: bool
    leases: int

    def differences(self, actual: "Outcome") -> list[str]:
        """Return where another outcome differs from this one, as `name: actual instead of expected`."""
        expected_values, actual_values = vars(self), vars(actual)
        return [
            f"{name}: {actual_values[name]} instead of {expected}"
            for name, expected in expected_values.items()
            if actual_values[name] != expected
        ]


class InstallationCopy:
    """A vendor, a CRM and a state database, ready for a replacement of the list `newsletter`."""

    def __init__(
        self, folder: Path, vendor: VendorState, base_url: str, settings: ListSettings, crm_url: str, state_url: str
    ) -> None:
        self.vendor, self.state_url = vendor, state_url
        self._folder, self._base_url, self._settings, self._crm_url = folder, base_url, settings, crm_url

    def replace(self, process_pool: ProcessPool, kill_at: str | None = None) -> Report | None:
        """Replace the list in a process of the pool, and return its report, or None if it was killed."""
        login = (ENVIRONMENT["USERNAME_OF_BOTH"], ENVIRONMENT["PASSWORD_OF_BOTH"])
        return process_pool.run(
            ReplacementJob(
                settings=self._settings,
                mandator_id=NORD,
                login=login,
                base_url=self._base_url,
                crm_url=self._crm_url,
                state_url=self.state_url,
                frames=self._folder / "frames",
                run_id=str(uuid4()),
                report=self._folder / "report.json",
                kill_at=kill_at,
            )
        )

    def rows(self, list_id: int = NEWSLETTER) -> Rows:
        """Return the recipients of a list."""
        return frozenset(
            (
                recipient["id"],
                recipient.get("address", recipient["id"]),
                frozenset(recipient.get("attributes", {}).items()),
            )
            for recipient in self.vendor.recipients(list_id)
        )

    def list_ids(self) -> list[int]:
        """Return the ids of all lists that the vendor has."""
        with closing(sqlite3.connect(self.vendor.path)) as database:
            return [list_id for (list_id,) in database.execute("SELECT list_id FROM recipient_list ORDER BY 1")]

    def canary_is_as_it_was(self) -> bool:
        """Return whether the canary is unsubscribed, and in no list."""
        recipient_ids = {
            recipient["id"] for list_id in self.list_ids() for recipient in self.vendor.recipients(list_id)
        }
        return CANARY in self.vendor.unsubscribed(NORD) and CANARY not in recipient_ids

    def incomplete(self) -> Replacement | None:
        """Return the replacement that left the list incomplete, or None."""
        with State(self.state_url) as state:
            return state.replacements.incomplete("nord", "newsletter")

    def outcome(self) -> Outcome:
        """Return everything that must be the same after a kill, as it is now."""
        with _engine(self.state_url) as engine, engine.connect() as connection:
            rejections = frozenset(
                (row.stage, row.reason, row.entity_id) for row in connection.execute(select(rejection))
            )
            newest = connection.execute(select(replace.c.state).order_by(replace.c.started_at.desc())).scalar()
            leases = len(connection.execute(select(lease)).all())
        with _engine(self._crm_url) as engine, engine.connect() as connection:
            withdrawn = consent_event.c.kind == ConsentKind.WITHDRAWN
            events = connection.execute(select(consent_event).where(withdrawn))
            withdrawals = tuple(sorted((event.entity_id, event.opt_in_id) for event in events))
        return Outcome(
            rows=self.rows(),
            unsubscribed=tuple(self.vendor.unsubscribed(NORD)),
            rejections=rejections,
            withdrawals=withdrawals,
            newest=ReplacementState(newest) if newest else "none",
            incomplete=self.incomplete() is not None,
            leases=leases,
        )


@dataclass(frozen=True)
class PreparedInstallation:
    """An installation as it was before the replacement, to be copied. On PostgreSQL only one copy at a time."""

    scenario: Scenario
    folder: Path
    settings: ListSettings
    database: str | None
    """The URL of its PostgreSQL database, with a backup of each table; None if everything is on SQLite."""

    @contextmanager
    def copy(self, folder: Path) -> Iterator[InstallationCopy]:
        """Yield a running copy in `folder`, which is removed at the end."""
        with ExitStack() as stack:
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            shutil.copytree(self.folder, folder)
            crm_url, state_url = (f"sqlite:///{folder / name}.db" for name in ("crm", "state"))
            if self.database:
                crm_url = state_url = self.database
                _restore(self.database)
            vendor = VendorState(folder / "vendor.db")
            stack.callback(vendor.close)
            yield InstallationCopy(
                folder, vendor, stack.enter_context(serve(vendor)), self.settings, crm_url, state_url
            )


@contextmanager
def prepared_installation(
    scenario: Scenario, database: Database, process_pool: ProcessPool, folder: Path
) -> Iterator[PreparedInstallation]:
    """Arrange a scenario in `folder`, which must exist, by whole days of the product itself."""
    with ExitStack() as stack:
        # One database for both CRM and state: their tables have different names, and it halves the copying.
        url = stack.enter_context(fresh_database()) if database == "postgresql" else None
        with running_installation(folder, crm_url=url, state_url=url) as installation:
            scenario.arrange(installation)
            base = PreparedInstallation(
                scenario, folder, list_settings(installation.configuration, "nord", "newsletter"), url
            )
            if scenario.killed_at:
                crm_url, state_url = installation.crm_url, installation.settings["storage"]["state_url"]
                unfinished = InstallationCopy(
                    folder,
                    installation.vendor,
                    installation.settings["optimizely"]["base_url"],
                    base.settings,
                    crm_url,
                    state_url,
                )
                assert unfinished.replace(process_pool, scenario.killed_at) is None
        if url:
            _back_up(url)
        yield base


def _back_up(url: str) -> None:
    """Copy every table. A database that is created from a template takes as long as a whole replacement."""
    with _engine(url) as engine, engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE SCHEMA {_BACKUP}")
        for table in inspect(connection).get_table_names():
            connection.exec_driver_sql(f'CREATE TABLE {_BACKUP}."{table}" AS TABLE "{table}"')


def _restore(url: str) -> None:
    with _engine(url) as engine, engine.begin() as connection:
        tables = [table for table, _ in inspect(connection).get_sorted_table_and_fkc_names() if table]
        for table in reversed(tables):
            connection.exec_driver_sql(f'DELETE FROM "{table}"')
        for table in tables:
            connection.exec_driver_sql(f'INSERT INTO "{table}" SELECT * FROM {_BACKUP}."{table}"')


@contextmanager
def _engine(url: str) -> Iterator[Engine]:
    engine = create_engine(url)
    yield engine
    engine.dispose()
