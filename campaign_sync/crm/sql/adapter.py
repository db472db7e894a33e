"""A CRM in any SQL database whose tables or views have the names of the contract (`docs/crm.md`)."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime

from sqlalchemy import Connection, DateTime, String, column, func, inspect, select, table
from sqlalchemy.exc import NoSuchTableError
from sqlalchemy.types import NullType

from campaign_sync.config.database_url import location
from campaign_sync.crm.port import CrmError, OnWritten, RecordedResponses, WriteBack, ignore_written
from campaign_sync.crm.sql.crm_snapshot import FrozenSnapshot, SqlSnapshot
from campaign_sync.crm.sql.engine import crm_engine, crm_errors, read_only
from campaign_sync.crm.sql.export_log import last_export
from campaign_sync.crm.sql.feedback_recorder import record_bounces, record_unsubscribes
from campaign_sync.crm.sql.response_recorder import record_responses, takes_responses
from campaign_sync.crm.sql.schema import export_metadata, metadata, required_columns
from campaign_sync.crm.sql.statistics import avoid_plans_for_small_tables
from campaign_sync.distribution import manual_page
from campaign_sync.domain.consent import STANDARD_WORDS_ONLY, ConsentWords
from campaign_sync.domain.feedback import Bounce, Unsubscribe
from campaign_sync.domain.response import Response

UNCONFIGURED_STATES = (
    "there is a table consent_state that isn't configured, so withdrawals in it would be ignored; set crm.preset: "
    "contract, or rename it"
)

_KEYS = ("id", "entity_id", "opt_in_id", "mandator", "marketing_list_id")

_TEXTS = (*_KEYS, "email")

_TIMES = ("occurred_at", "bounced_at", "finished_at")

_SAMPLED_ROWS = 1_000
"""How many rows of a table are read to find the types of its values."""


def _values_that_are_no_text(connection: Connection, name: str, columns: Sequence[str]) -> Iterator[str]:
    for key in columns:
        sample = select(column(key)).select_from(table(name)).limit(_SAMPLED_ROWS).subquery()
        kinds = select(func.typeof(sample.c[key])).where(func.typeof(sample.c[key]).not_in(["text", "null"])).limit(1)
        for kind in connection.execute(kinds).scalars():
            yield f"column {name}.{key} yields values of type {kind} and must yield text (cast it in a view)"


class SqlCrm:
    """Implements `Crm`. Holds no connection between calls.

    Args:
        url: a SQLAlchemy URL; `postgresql://` means psycopg2.
        words: how this CRM calls what happens to a consent, beside the contract's own words.

    Raises:
        CrmError: the URL can't be used, or names a SQLite file that doesn't exist.
    """

    def __init__(self, url: str, words: ConsentWords = STANDARD_WORDS_ONLY) -> None:
        self._engine, self._words = crm_engine(url), words

    def check(self, *, exports: bool = False) -> None:
        """Raise an error unless the CRM can be reached and fulfils the contract. See `Crm.check`."""
        with crm_errors(self._engine, "checking the contract"), read_only(self._engine) as connection:
            inspector = inspect(connection)
            flaws = [UNCONFIGURED_STATES] if inspector.has_table("consent_state") else []
            for contract_table in (*metadata.sorted_tables, *(export_metadata.sorted_tables if exports else ())):
                try:
                    columns = {info["name"]: info["type"] for info in inspector.get_columns(contract_table.name)}
                except NoSuchTableError:
                    flaws.append(f"table or view {contract_table.name} is missing")
                    continue
                missing = [name for name in required_columns(contract_table) if name not in columns]
                flaws += [f"column {contract_table.name}.{name} is missing" for name in missing]
                flaws += [
                    f"column {contract_table.name}.{name} is {columns[name]} and must be text (cast it in a view)"
                    for name in _TEXTS
                    if name in columns and not isinstance(columns[name], String | NullType)
                ]
                if self._engine.dialect.name == "sqlite":  # where values have types, and columns none
                    keys = [name for name in _KEYS if name in columns]
                    flaws += _values_that_are_no_text(connection, contract_table.name, keys)
                    continue
                flaws += [
                    f"column {contract_table.name}.{name} is {columns[name]} and must be a time "
                    "(give a timestamp in a view)"
                    for name in _TIMES
                    if name in columns and not isinstance(columns[name], DateTime | String | NullType)
                ]
        if flaws:
            raise CrmError(
                f"the CRM at {location(self._engine.url)} doesn't fulfil the contract of {manual_page('crm.md')}: "
                f"{'; '.join(flaws)}. Add views of these names, or let `campaign-sync crm init` create "
                f"the tables{' (export_log: with --exports)' if exports else ''}"
            )

    @contextmanager
    def snapshot(self, opt_in_ids: Collection[str] | None = None) -> Iterator[SqlSnapshot]:
        """Open one consistent view, of all opt-ins, that lasts as long as the context. See `Crm.snapshot`."""
        with ExitStack() as stack:
            with crm_errors(self._engine, "opening a snapshot"):
                connection = stack.enter_context(read_only(self._engine))
                avoid_plans_for_small_tables(connection)
            # Outside `crm_errors`: what fails in the caller's block needn't be the CRM's fault.
            yield FrozenSnapshot(connection, self._words)

    def record_bounces(self, bounces: Sequence[Bounce], on_written: OnWritten = ignore_written) -> WriteBack:
        """Mark the addresses as bounced, for all mandators. See `Crm.record_bounces`. Counts are addresses."""
        return record_bounces(self._engine, bounces, on_written) if bounces else WriteBack(0, 0)

    def record_unsubscribes(
        self, unsubscribes: Sequence[Unsubscribe], on_written: OnWritten = ignore_written
    ) -> WriteBack:
        """Append withdrawals, for the opt-ins of the unsubscribe's mandator only. See `Crm.record_unsubscribes`.

        Counts are withdrawals: an unsubscribe makes one for each entity and each opt-in that it is about.

        Raises:
            CrmError: the CRM can't be written to, or defines no opt-in at all for a mandator.
        """
        return record_unsubscribes(self._engine, unsubscribes, on_written) if unsubscribes else WriteBack(0, 0)

    def limits_left(self) -> None:
        """Return None: a database has no such limits."""

    def takes_responses(self) -> bool:
        """Return whether the optional tables `campaign` and `response` exist with all their columns."""
        return takes_responses(self._engine)

    def record_responses(self, responses: Sequence[Response]) -> RecordedResponses:
        """Append the responses of people and campaigns that the CRM has. See `Crm.record_responses`."""
        return record_responses(self._engine, responses) if responses else RecordedResponses()

    def last_export(self, name: str) -> datetime | None:
        """Return when the CRM last finished an export, by its optional table `export_log`. See `Crm.last_export`."""
        return last_export(self._engine, name)
