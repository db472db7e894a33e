"""A CRM in a SQL database that is copied: its own schema, mapped to the contract's tables, on any of four databases.

Only plain SELECTs are sent, all of a read in one read-only transaction that sees one moment.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from functools import partial

from sqlalchemy import inspect

from campaign_sync.config import SqlSettings
from campaign_sync.config.crm import PEOPLE
from campaign_sync.config.database_url import location
from campaign_sync.crm.mirror.source import BounceMark, Source, Withdrawal
from campaign_sync.crm.port import CrmError, CrmNeeds, RecordedResponses
from campaign_sync.crm.sql.adapter import UNCONFIGURED_STATES
from campaign_sync.crm.sql.engine import crm_engine, crm_errors, read_only
from campaign_sync.crm.sql.export_log import last_export
from campaign_sync.crm.sql.mapped_streams import MappedStreams, Relation, has_column, missing_columns
from campaign_sync.crm.sql.response_recorder import record_responses, takes_responses
from campaign_sync.crm.sql.source_reader import SqlSourceReader
from campaign_sync.crm.sql.write_statements import WriteStatements, bounce_parameters, withdrawal_parameters
from campaign_sync.domain.response import Response

REQUIRED_COLUMNS = {
    **dict.fromkeys(PEOPLE, ("id", "email")),
    "opt_in": ("opt_in_id", "mandator", "description", "media_type"),
    "consent_event": ("id", "entity_type", "entity_id", "opt_in_id", "kind", "occurred_at"),
    "consent_state": ("kind",),
    "address_state": ("address", "bounce_kind"),
    "marketing_list": ("id", "name", "kind"),
    "marketing_list_member": ("marketing_list_id", "entity_type", "entity_id"),
    "report": ("name", "entity_type", "view_name"),
}
"""The columns that each mapped table needs; others of the contract are optional."""


class SqlSource(Source):
    """Implements `Source`. Holds no connection between calls.

    Args:
        settings: the section `crm`.

    Raises:
        CrmError: the URL can't be used, or names a SQLite file that doesn't exist.
    """

    def __init__(self, settings: SqlSettings) -> None:
        self._settings = settings
        self._engine = crm_engine(settings.url.get_secret_value())
        self._tables = settings.mapped_tables()
        statements = settings.statements()
        self._withdrawals = WriteStatements(
            self._engine, statements.withdrawal or (), "recording withdrawals", "crm.write_back.withdrawal"
        )
        self._bounces = WriteStatements(
            self._engine, statements.bounce or (), "recording bounces", "crm.write_back.bounce"
        )

    def check(self, *, exports: bool) -> None:
        """Raise CrmError unless every mapped table can be read and every statement is accepted. See `Source.check`."""
        with ExitStack() as stack:
            with crm_errors(self._engine, "checking the CRM"):
                connection = stack.enter_context(read_only(self._engine))
            streams = MappedStreams(connection)
            flaws = [flaw for name in self._tables for flaw in self._flaws(streams, name)]
            with crm_errors(self._engine, "checking the CRM"):
                tables = inspect(connection)
                if not self._settings.is_mapped and tables.has_table("consent_state"):
                    flaws.append(UNCONFIGURED_STATES)
                if exports and not tables.has_table("export_log"):
                    flaws.append("table or view export_log is missing")
        flaws += [*self._withdrawals.flaws(), *self._bounces.flaws()]
        if flaws:
            raise CrmError(
                f"the CRM at {location(self._engine.url)} isn't as the section crm describes it: {'; '.join(flaws)}"
            )

    @contextmanager
    def read(self, needs: CrmNeeds) -> Iterator[SqlSourceReader]:
        """Open one read, in a transaction that sees this moment. See `Source.read`."""
        as_of = datetime.now(UTC)
        with ExitStack() as stack:
            with crm_errors(self._engine, "opening the CRM"):
                connection = stack.enter_context(read_only(self._engine))
            # Outside `crm_errors`: what fails in the caller's block needn't be the CRM's fault.
            with closing(MappedStreams(connection)) as streams:
                yield SqlSourceReader(streams, self._settings, needs, as_of)

    def write_withdrawals(self, withdrawals: Sequence[Withdrawal]) -> Iterator[Sequence[Withdrawal]]:
        """Run the configured statements for each withdrawal. See `Source.write_withdrawals`."""
        return self._withdrawals.write(withdrawals, withdrawal_parameters)

    def write_bounces(self, bounces: Sequence[BounceMark]) -> Iterator[Sequence[BounceMark]]:
        """Run the configured statements for each bounce. See `Source.write_bounces`.

        They run once for an address; for every record with it, if they name a parameter of records.
        """
        return self._bounces.write(bounces, partial(bounce_parameters, self._bounces.parameters))

    def takes_responses(self) -> bool:
        """Return whether the CRM has the contract's tables for responses, in its default schema."""
        return takes_responses(self._engine)

    def record_responses(self, responses: Sequence[Response]) -> RecordedResponses:
        """Append responses. See `Crm.record_responses`."""
        return record_responses(self._engine, responses) if responses else RecordedResponses()

    def last_export(self, name: str) -> datetime | None:
        """Return when the CRM last finished an export, by the table `export_log`. See `Crm.last_export`."""
        return last_export(self._engine, name)

    def _flaws(self, streams: MappedStreams, name: str) -> Iterator[str]:
        try:
            relation = streams.relation(self._tables[name], f"crm.tables.{name}")
        except CrmError as error:
            yield str(error)
        else:
            yield from self._missing(relation, name)

    def _missing(self, relation: Relation, name: str) -> Iterator[str]:
        mapping = self._tables[name]
        yield from missing_columns(relation, mapping, REQUIRED_COLUMNS[name])
        has = {column: has_column(relation, mapping, column) for column in ("entity_type", "entity_id", "address")}
        if name == "consent_state" and not (has["address"] or (has["entity_type"] and has["entity_id"])):
            yield f"{relation.place} needs address, or entity_type and entity_id: otherwise it names no person"
