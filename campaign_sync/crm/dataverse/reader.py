"""One read of Dynamics 365."""

from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime

from campaign_sync.crm.dataverse.consents import PurposeConsents, RecordConsents
from campaign_sync.crm.dataverse.environment import Environment
from campaign_sync.crm.dataverse.fetch_xml import Condition, FetchXml
from campaign_sync.crm.dataverse.history import HistoryReader
from campaign_sync.crm.dataverse.pages import Record, source_rows
from campaign_sync.crm.dataverse.picks import PickFinder
from campaign_sync.crm.mirror.source import ADDRESS_STATE_COLUMNS, STATE_COLUMNS, SourceReader, SourceRows
from campaign_sync.crm.port import CrmNeeds, Pick
from campaign_sync.crm.sql.picks import pick_title
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
    """

    def __init__(self, environment: Environment, needs: CrmNeeds) -> None:
        self._environment, self._needs = environment, needs
        self._picks = PickFinder(environment)
        self.as_of = datetime.now(UTC)

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
        return HistoryReader(self._environment, history).rows() if history else None

    def consent_states(self, opt_in_ids: Collection[str] | None) -> SourceRows | None:
        """Return the consents of purposes, topics and columns, and who wants no mail at all.

        See `SourceReader.consent_states`.
        """
        opt_ins = named_opt_ins(self._environment.settings.opt_ins, opt_in_ids)
        parts = [RecordConsents(self._environment, kind, opt_ins).rows() for kind in self._environment.people]
        if purposes := {opt_in_id: opt_in for opt_in_id, opt_in in opt_ins.items() if opt_in.purpose}:
            parts.append(PurposeConsents(self._environment, purposes).rows())
        return _joined(STATE_COLUMNS, parts)

    def address_states(self) -> SourceRows:
        """Return the bounces. See `SourceReader.address_states`."""
        return _joined(ADDRESS_STATE_COLUMNS, [self._bounces(kind) for kind in self._environment.settings.bounce])

    def _bounces(self, entity_type: EntityType) -> SourceRows:
        columns, email = self._environment.settings.bounce[entity_type], self._environment.email_column(entity_type)
        named = [email, columns.state, *([columns.at] if columns.at else [])]
        table = self._environment.require(entity_type.value, named)
        is_flag = table.columns[columns.state] == "Boolean"
        condition = Condition(columns.state, "eq", ("1",)) if is_flag else Condition(columns.state, "not-null")

        def rows_of(record: Record) -> list[tuple[object, ...]]:
            kind = BounceKind.HARD.value if is_flag else record.get(columns.state)
            at = record.get(columns.at) if columns.at else None
            return [(record[email], kind, at, None, SOURCE)] if record.get(email) else []

        query = FetchXml.of_table(table.name, table.key, named, [condition])
        return source_rows(
            ADDRESS_STATE_COLUMNS, iter(self._environment.pages(query, f"bounces of {table.name}s")), rows_of
        )


def _joined(columns: Sequence[str], parts: Sequence[SourceRows]) -> SourceRows:
    def chunks() -> Iterator[Sequence[Sequence[object]]]:
        for part in parts:
            yield from part.chunks

    return SourceRows(tuple(columns), chunks(), lambda: sum(part.expected() for part in parts))
