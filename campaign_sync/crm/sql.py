"""A CRM in any SQL database whose tables or views answer to the names of the contract (`docs/crm.md`)."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime

import pandas as pd
from sqlalchemy import Connection, String, func, inspect, select
from sqlalchemy.exc import NoSuchTableError
from sqlalchemy.types import NullType

from campaign_sync.configuration.database_url import place
from campaign_sync.crm.engine import crm_engine, crm_errors, read_only
from campaign_sync.crm.port import CrmError, OnWritten, RecordedResponses, WriteBack, ignore
from campaign_sync.crm.schema import export_log, export_metadata, metadata, required_columns
from campaign_sync.crm.sql_responses import record_responses, takes_responses
from campaign_sync.crm.sql_snapshot import SqlSnapshot
from campaign_sync.crm.sql_write_back import record_bounces, record_unsubscribes
from campaign_sync.domain.feedback import Bounce, Unsubscribe
from campaign_sync.domain.response import Response


class _FrozenSnapshot(SqlSnapshot):
    """A view that doesn't change while it lasts, so who is suppressed is looked up in it once, not for every list."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._suppressed: dict[str, pd.DataFrame] = {}

    def suppression(self, mandator: str) -> pd.DataFrame:
        """Addresses with a final bounce, and withdrawn consents. See `CrmSnapshot`."""
        if mandator not in self._suppressed:
            self._suppressed[mandator] = super().suppression(mandator)
        return self._suppressed[mandator].copy(deep=False)  # pandas copies what is written to


class SqlCrm:
    """Implements `Crm`. Holds no connection between calls.

    Args:
        url: a SQLAlchemy URL; `postgresql://` means psycopg2.

    Raises:
        CrmError: the URL can't be used, or names a SQLite file that doesn't exist.
    """

    def __init__(self, url: str) -> None:
        self._engine = crm_engine(url)

    def check(self, *, exports: bool = False) -> None:
        """Prove that the CRM answers and holds what the contract asks for. See `Crm.check`."""
        with crm_errors(self._engine, "checking the contract"), read_only(self._engine) as connection:
            inspector = inspect(connection)
            flaws = []
            for table in (*metadata.sorted_tables, *(export_metadata.sorted_tables if exports else ())):
                try:
                    found = {each["name"]: each["type"] for each in inspector.get_columns(table.name)}
                except NoSuchTableError:
                    flaws.append(f"table or view {table.name} is missing")
                    continue
                missing = [name for name in required_columns(table) if name not in found]
                flaws += [f"column {table.name}.{name} is missing" for name in missing]
                flaws += [
                    f"column {table.name}.{name} is {found[name]} and must be text (cast it in a view)"
                    for name in ("id", "entity_id", "email")
                    if name in found and not isinstance(found[name], String | NullType)
                ]
        if flaws:
            raise CrmError(
                f"the CRM at {place(self._engine.url)} doesn't fulfil the contract of docs/crm.md: {'; '.join(flaws)}. "
                "Add views of these names, or let `campaign-sync crm init --url URL` create the tables"
                f"{' (export_log: with --exports)' if exports else ''}"
            )

    @contextmanager
    def snapshot(self) -> Iterator[SqlSnapshot]:
        """Open one consistent, read-only view that lasts as long as the context. See `Crm.snapshot`."""
        with ExitStack() as stack:
            with crm_errors(self._engine, "opening a snapshot"):
                connection = stack.enter_context(read_only(self._engine))
            yield _FrozenSnapshot(connection)  # outside: what fails in here needn't be the CRM's fault

    def record_bounces(self, bounces: Sequence[Bounce], on_written: OnWritten = ignore) -> WriteBack:
        """Mark the addresses as bounced, for all mandators. See `Crm.record_bounces`. Counts are addresses."""
        return record_bounces(self._engine, bounces, on_written) if bounces else WriteBack(0, 0)

    def record_unsubscribes(self, unsubscribes: Sequence[Unsubscribe], on_written: OnWritten = ignore) -> WriteBack:
        """Append withdrawals, for the opt-ins of the unsubscribe's mandator only. See `Crm.record_unsubscribes`.

        Counts are withdrawals: an unsubscribe makes one for each entity and each opt-in that it is about.

        Raises:
            CrmError: the CRM can't be written to, or defines no opt-in at all for a mandator.
        """
        return record_unsubscribes(self._engine, unsubscribes, on_written) if unsubscribes else WriteBack(0, 0)

    def takes_responses(self) -> bool:
        """Whether both optional tables are there, `campaign` and `response`, with all their columns."""
        return takes_responses(self._engine)

    def record_responses(self, responses: Sequence[Response]) -> RecordedResponses:
        """Append the responses of people and campaigns that the CRM knows. See `Crm.record_responses`."""
        return record_responses(self._engine, responses) if responses else RecordedResponses()

    def last_export(self, name: str) -> datetime | None:
        """When the CRM last finished an export, by its optional table `export_log`. See `Crm.last_export`."""
        newest = select(func.max(export_log.c.finished_at)).where(export_log.c.name == name)
        with crm_errors(self._engine, f"looking for the export {name!r}"), read_only(self._engine) as connection:
            finished_at: datetime | None = connection.execute(newest).scalar_one()
        return finished_at
