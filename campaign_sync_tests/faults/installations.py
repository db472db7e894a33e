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
from campaign_sync_tests.faults.kill_job import Errand, Report
from campaign_sync_tests.faults.process_pool import Nursery
from campaign_sync_tests.faults.vendor_states import CANARY, Scenario
from campaign_sync_tests.installation import ENVIRONMENT, NEWSLETTER, NORD, running_installation

Database = Literal["sqlite", "postgresql"]
Rows = frozenset[tuple[str, str, frozenset[tuple[str, str | None]]]]
"""What a list holds: id, address and attributes of everybody."""

_ASIDE = "aside"
"""The schema in which a database remembers how it was."""


@dataclass(frozen=True)
class Ending:
    """What must be the same whether or not anybody was killed."""

    rows: Rows
    unsubscribed: tuple[str, ...]
    ledger: frozenset[tuple[str, str, str]]
    """Stage, reason, entity."""
    withdrawals: tuple[tuple[str, str], ...]
    """Entity, opt-in; sorted, each as often as the CRM has it."""
    newest: str
    """State of the newest replace."""
    incomplete: bool
    leases: int

    def differences(self, other: "Ending") -> list[str]:
        """What another one has differently, as `name: theirs instead of ours`."""
        ours, theirs = vars(self), vars(other)
        return [f"{name}: {theirs[name]} instead of {ours[name]}" for name in ours if theirs[name] != ours[name]]


class Installation:
    """A vendor, a CRM and a state database of one's own, ready for a replace of the list `newsletter`."""

    def __init__(
        self, folder: Path, vendor: VendorState, base_url: str, settings: ListSettings, crm_url: str, state_url: str
    ) -> None:
        self.vendor, self.state_url = vendor, state_url
        self._folder, self._base_url, self._settings, self._crm_url = folder, base_url, settings, crm_url

    def replace(self, nursery: Nursery, kill_at: str | None = None) -> Report | None:
        """Have a process of the nursery replace the list; None if it was killed."""
        login = (ENVIRONMENT["USERNAME_OF_BOTH"], ENVIRONMENT["PASSWORD_OF_BOTH"])
        return nursery.run(
            Errand(
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
        """What the list holds now."""
        return frozenset(
            (one["id"], one.get("address", one["id"]), frozenset(one.get("attributes", {}).items()))
            for one in self.vendor.recipients(list_id)
        )

    def list_ids(self) -> list[int]:
        """All lists that the vendor has."""
        with closing(sqlite3.connect(self.vendor.path)) as database:
            return [list_id for (list_id,) in database.execute("SELECT list_id FROM recipient_list ORDER BY 1")]

    def canary_is_as_it_was(self) -> bool:
        """Whether the canary is unsubscribed, and in no list."""
        held = {one["id"] for list_id in self.list_ids() for one in self.vendor.recipients(list_id)}
        return CANARY in self.vendor.unsubscribed(NORD) and CANARY not in held

    def incomplete(self) -> Replacement | None:
        """What the journal says of the list."""
        with State(self.state_url) as state:
            return state.replacements.incomplete("nord", "newsletter")

    def ending(self) -> Ending:
        """Everything that counts, as it is now."""
        with _engine(self.state_url) as engine, engine.connect() as connection:
            ledger = frozenset((row.stage, row.reason, row.entity_id) for row in connection.execute(select(rejection)))
            newest = connection.execute(select(replace.c.state).order_by(replace.c.started_at.desc())).scalar()
            leases = len(connection.execute(select(lease)).all())
        with _engine(self._crm_url) as engine, engine.connect() as connection:
            withdrawn = consent_event.c.kind == ConsentKind.WITHDRAWN
            events = connection.execute(select(consent_event).where(withdrawn))
            withdrawals = tuple(sorted((event.entity_id, event.opt_in_id) for event in events))
        return Ending(
            rows=self.rows(),
            unsubscribed=tuple(self.vendor.unsubscribed(NORD)),
            ledger=ledger,
            withdrawals=withdrawals,
            newest=ReplacementState(newest) if newest else "none",
            incomplete=self.incomplete() is not None,
            leases=leases,
        )


@dataclass(frozen=True)
class Prepared:
    """An installation as it was before the replace, to be copied: one copy at a time, on PostgreSQL."""

    scenario: Scenario
    folder: Path
    settings: ListSettings
    database: str | None
    """The URL of its PostgreSQL database, which remembers how it was; None where everything is on SQLite."""

    @contextmanager
    def copy(self, folder: Path) -> Iterator[Installation]:
        """A copy of one's own, running in `folder`, which is removed at the end."""
        with ExitStack() as stack:
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            shutil.copytree(self.folder, folder)
            crm_url, state_url = (f"sqlite:///{folder / name}.db" for name in ("crm", "state"))
            if self.database:
                crm_url = state_url = self.database
                _restore(self.database)
            vendor = VendorState(folder / "vendor.db")
            stack.callback(vendor.close)
            yield Installation(folder, vendor, stack.enter_context(serve(vendor)), self.settings, crm_url, state_url)


@contextmanager
def prepared(scenario: Scenario, database: Database, nursery: Nursery, folder: Path) -> Iterator[Prepared]:
    """Arrange a scenario in `folder`, which must be there, through whole days of the product itself."""
    with ExitStack() as stack:
        # One database for the CRM and what is ours: their tables have different names, and it halves the copying.
        url = stack.enter_context(fresh_database()) if database == "postgresql" else None
        with running_installation(folder, crm_url=url, state_url=url) as installation:
            scenario.arrange(installation)
            base = Prepared(scenario, folder, list_settings(installation.configuration, "nord", "newsletter"), url)
            if scenario.broken_at:
                crm_url, state_url = installation.crm_url, installation.settings["storage"]["state_url"]
                broken = Installation(
                    folder,
                    installation.vendor,
                    installation.settings["optimizely"]["base_url"],
                    base.settings,
                    crm_url,
                    state_url,
                )
                assert broken.replace(nursery, scenario.broken_at) is None
        if url:
            _remember(url)
        yield base


def _remember(url: str) -> None:
    """Put a copy of every table aside. A database made of a template costs as much as a whole replace."""
    with _engine(url) as engine, engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE SCHEMA {_ASIDE}")
        for table in inspect(connection).get_table_names():
            connection.exec_driver_sql(f'CREATE TABLE {_ASIDE}."{table}" AS TABLE "{table}"')


def _restore(url: str) -> None:
    with _engine(url) as engine, engine.begin() as connection:
        tables = [table for table, _ in inspect(connection).get_sorted_table_and_fkc_names() if table]
        for table in reversed(tables):
            connection.exec_driver_sql(f'DELETE FROM "{table}"')
        for table in tables:
            connection.exec_driver_sql(f'INSERT INTO "{table}" SELECT * FROM {_ASIDE}."{table}"')


@contextmanager
def _engine(url: str) -> Iterator[Engine]:
    engine = create_engine(url)
    yield engine
    engine.dispose()
