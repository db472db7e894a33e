"""One read of Dynamics 365."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import cached_property

from campaign_sync.crm.dataverse.consents import PurposeConsents, RecordConsents
from campaign_sync.crm.dataverse.environment import Environment
from campaign_sync.crm.dataverse.environment_records import (
    EnvironmentRecords,
    EnvironmentTables,
    environment_tables,
    records_of,
)
from campaign_sync.crm.dataverse.history import HistoryReader
from campaign_sync.crm.dataverse.pages import Record, source_rows
from campaign_sync.crm.dataverse.picks import PickFinder
from campaign_sync.crm.mirror.source import ADDRESS_STATE_COLUMNS, STATE_COLUMNS, SourceReader, SourceRows
from campaign_sync.crm.port import CrmNeeds, Pick
from campaign_sync.crm.sql.picks import pick_title
from campaign_sync.crm.web_api.shared_records import OpenRecords, SharedRecords
from campaign_sync.domain.consent import OptIn, named_opt_ins
from campaign_sync.domain.entity import EntityType
from campaign_sync.domain.feedback import BounceKind

SOURCE = "Dynamics 365"
"""Where bounces come from that Dynamics 365 shows."""


class DataverseReader(SourceReader):
    """Implements `SourceReader`.

    Args:
        environment: what is read.
        needs: what the lists ask of the CRM; other columns of people aren't read.
        shared: the copy of records that all processes share.
    """

    def __init__(self, environment: Environment, needs: CrmNeeds, shared: SharedRecords) -> None:
        self._environment, self._needs, self._shared = environment, needs, shared
        self._opened = ExitStack()
        self._picks = PickFinder(environment)
        self.as_of = datetime.now(UTC)

    def close(self) -> None:
        """Close the copy of records."""
        self._opened.close()

    def pick(self, pick: Pick) -> SourceRows:
        """Return everybody in a marketing list, view or query. See `SourceReader.pick`."""
        return self._picks.find(pick).rows(self._environment, f"the {pick_title(pick)}")

    def people(self, entity_type: EntityType) -> SourceRows:
        """Return all records of a type, inactive ones as well. See `SourceReader.people`."""
        if entity_type not in self._environment.people:
            return SourceRows(("id", "email"), iter(()), lambda: 0)
        mapping = self._environment.people[entity_type]
        table = self._environment.require(entity_type.value, list(mapping.values()))
        others = sorted(name for name in self._needs.columns - {"id", "email"} if name in {**mapping, **table.columns})
        names = {name: mapping.get(name, name) for name in ("email", *others)}
        properties = [table.property(column) for column in names.values()]
        pages = self._environment.pages(self._environment.query(table, list(names.values())), f"{table.name}s")
        return source_rows(
            ("id", *names),
            iter(pages),
            lambda record: [(record[table.key], *(record.get(name) for name in properties))],
        )

    def opt_ins(self) -> Sequence[OptIn]:
        """Return none: they are in the configuration."""
        return ()

    def consent_events(self, opt_in_ids: Collection[str] | None) -> SourceRows | None:
        """Return the history of the table of `consents`. See `SourceReader.consent_events`."""
        history = self._environment.settings.consents
        if history is None or self._tables.history is None:
            return None
        return HistoryReader(self._environment, history).rows(records_of(self._records, self._tables.history))

    def consent_states(self, opt_in_ids: Collection[str] | None) -> SourceRows | None:
        """Return the consents of purposes, topics and columns, and who wants no mail at all.

        See `SourceReader.consent_states`.
        """
        opt_ins = named_opt_ins(self._environment.settings.opt_ins, opt_in_ids)
        parts = [
            RecordConsents(self._environment, kind, opt_ins).rows(records_of(self._records, table))
            for kind, table in self._tables.people.items()
        ]
        purposes = {opt_in_id: opt_in for opt_in_id, opt_in in opt_ins.items() if opt_in.purpose}
        if purposes and self._tables.consents:
            records = records_of(self._records, self._tables.consents)
            parts.append(PurposeConsents(self._environment, purposes).rows(records))
        return _joined(STATE_COLUMNS, parts)

    def address_states(self) -> SourceRows:
        """Return the bounces. See `SourceReader.address_states`."""
        return _joined(ADDRESS_STATE_COLUMNS, [self._bounces(kind) for kind in self._environment.settings.bounce])

    def _bounces(self, entity_type: EntityType) -> SourceRows:
        columns, email = self._environment.settings.bounce[entity_type], self._environment.email_column(entity_type)
        table = self._tables.people[entity_type]
        is_flag = table.definition.columns[columns.state] == "Boolean"

        def rows_of(record: Record) -> list[tuple[object, ...]]:
            address, state, at = record.get(email), record.get(columns.state), record.get(columns.at or "")
            if not address or state is None or state is False:
                return []
            return [(address, BounceKind.HARD.value if is_flag else state, at, None, SOURCE)]

        return source_rows(ADDRESS_STATE_COLUMNS, records_of(self._records, table), rows_of)

    @cached_property
    def _tables(self) -> EnvironmentTables:
        return environment_tables(self._environment)

    @cached_property
    def _records(self) -> OpenRecords:
        records = EnvironmentRecords(self._environment)
        return self._opened.enter_context(self._shared.open(records, self._tables.all))


def _joined(columns: Sequence[str], parts: Sequence[SourceRows]) -> SourceRows:
    def chunks() -> Iterator[Sequence[Sequence[object]]]:
        for part in parts:
            yield from part.chunks

    return SourceRows(tuple(columns), chunks(), lambda: sum(part.expected() for part in parts))
