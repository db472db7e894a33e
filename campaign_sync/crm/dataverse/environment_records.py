"""The records of an environment with consents and bounces, and how they and what changed of them are read."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from campaign_sync.config.crm_dataverse import BounceColumns
from campaign_sync.crm.dataverse.consents import (
    CONSENT_COLUMNS,
    CONSENTS,
    NO_MAIL,
    OF_EMAIL,
    bounce_columns,
    consent_columns,
)
from campaign_sync.crm.dataverse.environment import Environment
from campaign_sync.crm.dataverse.fetch_xml import CREATED, MODIFIED, Condition, FetchXml
from campaign_sync.crm.dataverse.history import HistoryReader
from campaign_sync.crm.dataverse.limits import limits_left
from campaign_sync.crm.dataverse.metadata import Table
from campaign_sync.crm.dataverse.pages import Record as PageRecord
from campaign_sync.crm.web_api.shared_records import OpenRecords, Record, RecordApi, RecordTable
from campaign_sync.domain.entity import EntityType

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EnvironmentTable(RecordTable):
    """Records of one table of Dataverse."""

    definition: Table
    columns: tuple[str, ...]
    properties: tuple[str, ...]
    """The names of the key and the columns in answers."""
    conditions: tuple[Condition, ...] = field(default=())
    """Records that fulfil none of them say nothing."""
    is_calculated: bool = False
    """Whether a value may change without a change of the record."""


@dataclass(frozen=True)
class EnvironmentTables:
    """Everything that is read for consents and bounces."""

    people: Mapping[EntityType, EnvironmentTable]
    consents: EnvironmentTable | None
    """The consents of Customer Insights - Journeys; None if no opt-in is a purpose."""
    history: EnvironmentTable | None
    """The table of `consents`; None if there is none."""

    @property
    def all(self) -> list[EnvironmentTable]:
        """Every table."""
        return [*self.people.values(), *filter(None, (self.consents, self.history))]


def environment_tables(environment: Environment) -> EnvironmentTables:
    """Return what is read for all opt-ins, so that all lists can share it.

    Raises:
        CrmSetupError: Dataverse lacks a table or column that the configuration names.
    """
    settings = environment.settings
    has_purposes = any(opt_in.purpose for opt_in in settings.opt_ins.values())
    history = settings.consents and HistoryReader(environment, settings.consents)
    return EnvironmentTables(
        {kind: _people(environment, kind) for kind in environment.people},
        _table(environment, CONSENTS, CONSENT_COLUMNS, [OF_EMAIL]) if has_purposes else None,
        _table(environment, history.table.name, history.all_columns) if history else None,
    )


@dataclass(frozen=True)
class EnvironmentRecords(RecordApi[EnvironmentTable]):
    """Reads the records of an environment.

    Args:
        environment: what is read.
    """

    environment: Environment

    def begin(self) -> datetime | None:
        """Return the time of Dataverse's clock. See `RecordApi.begin`."""
        if limits := limits_left(self.environment):
            _log.info("%s", limits)
        return self.environment.api.now()

    def everything(self, table: EnvironmentTable) -> Iterator[Sequence[Record]]:
        """Yield all records. See `RecordApi.everything`."""
        query = _query(table)
        if table.conditions:
            query.require_any(table.conditions)
        for page in self.environment.pages(query, f"consents of {table.name}s"):
            yield [_record(table, record) for record in page]

    def changed(self, table: EnvironmentTable, since: datetime, most: int) -> Mapping[str, Any] | None:
        """Return what changed; what was deleted isn't among it. See `RecordApi.changed`."""
        if table.is_calculated or MODIFIED not in table.definition.columns:
            return None
        query = _query(table)
        query.require(Condition(MODIFIED, "ge", (f"{since:%Y-%m-%dT%H:%M:%SZ}",)))
        changes: dict[str, Any] = {}
        for page in self.environment.pages(query, f"changes of {table.name}s"):
            changes |= dict(_record(table, record) for record in page)
            if len(changes) > most:
                return None
        return changes


def records_of(records: OpenRecords, table: EnvironmentTable) -> Iterator[Sequence[PageRecord]]:
    """Yield the records of a table as pages have them."""
    for chunk in records.values(table):
        yield [
            {name: value for name, value in zip(table.properties, values, strict=True) if value is not None}
            for values in chunk
        ]


def _bounce_condition(definition: Table, bounce: BounceColumns) -> Condition:
    """Return what holds for a record whose address has bounced."""
    if definition.columns[bounce.state] == "Boolean":
        return Condition(bounce.state, "eq", ("1",))
    return Condition(bounce.state, "not-null")


def _people(environment: Environment, entity_type: EntityType) -> EnvironmentTable:
    settings = environment.settings
    fields = [opt_in.field[entity_type] for opt_in in settings.opt_ins.values() if entity_type in opt_in.field]
    bounce = settings.bounce.get(entity_type)
    own = [column for columns in fields for column in consent_columns(columns)]
    of_bounce = [environment.email_column(entity_type), *bounce_columns(bounce)] if bounce else []
    columns = (*NO_MAIL, *own, *of_bounce)
    definition = environment.require(entity_type.value, columns)
    conditions = [Condition(column, "eq", ("1",)) for column in NO_MAIL]
    conditions += [_bounce_condition(definition, bounce)] if bounce else []
    return _table(environment, entity_type.value, columns, [] if fields else conditions)


def _table(
    environment: Environment, name: str, columns: Sequence[str], conditions: Sequence[Condition] = ()
) -> EnvironmentTable:
    definition, names = environment.require(name, list(columns)), tuple(dict.fromkeys(columns))
    return EnvironmentTable(
        name,
        repr((names, conditions)),
        definition,
        names,
        (definition.key, *(definition.property(column) for column in names)),
        tuple(conditions),
        any(environment.metadata.is_calculated(name, column) for column in names if column not in NO_MAIL),
    )


def _query(table: EnvironmentTable) -> FetchXml:
    # A record that begins to match while pages are read is no missing row, whenever it was made.
    stamp = MODIFIED if MODIFIED in table.definition.columns else CREATED
    return FetchXml.of_table(table.name, table.definition.key, table.columns, stamp=stamp)


def _record(table: EnvironmentTable, record: PageRecord) -> Record:
    return str(record[table.definition.key]), [record.get(name) for name in table.properties]
