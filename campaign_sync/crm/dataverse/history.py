"""Consents in a table with their history, such as that of the vendor's own connector."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from campaign_sync.config.crm_dataverse import ConsentHistory
from campaign_sync.crm.dataverse.api import record_path
from campaign_sync.crm.dataverse.batch import Operation
from campaign_sync.crm.dataverse.environment import Environment
from campaign_sync.crm.dataverse.metadata import LOOKUPS, Table
from campaign_sync.crm.dataverse.pages import Record, source_rows
from campaign_sync.crm.mirror.source import EVENT_COLUMNS, SourceRows, Withdrawal
from campaign_sync.crm.port import CrmSetupError
from campaign_sync.domain.consent import normalize_word
from campaign_sync.domain.text import vendor_text

_NUMBERS = frozenset({"Picklist", "Integer", "BigInt", "State", "Status"})


class HistoryReader:
    """Reads the table as consent events.

    Args:
        environment: what is read.
        history: where the table has what.
    """

    def __init__(self, environment: Environment, history: ConsentHistory) -> None:
        self._environment, self._history = environment, history
        optional = [column for column in (history.source, history.evidence) if column]
        self.columns = [*history.people().values(), history.opt_in, history.kind, history.at, *optional]
        opt_ins = environment.settings.opt_ins.items()
        self._opt_in_ids = {
            _key(opt_in.value or opt_in_id): opt_in_id for opt_in_id, opt_in in opt_ins if opt_in.is_in_table
        }
        self._words = dict.fromkeys(map(_key, history.granted), "granted")
        self._words |= dict.fromkeys(map(_key, history.withdrawn), "withdrawn")

    @property
    def table(self) -> Table:
        """The table."""
        return self._environment.require(self._history.table, self.columns)

    @property
    def all_columns(self) -> list[str]:
        """The columns, and that of a record's state if there is one."""
        return [*self.columns, *({"statecode"} & self.table.columns.keys())]

    def rows(self, records: Iterator[Sequence[Record]]) -> SourceRows:
        """Return all events. Those of opt-ins that aren't configured keep the value that the table has.

        Args:
            records: all of the table.
        """
        table = self.table
        return source_rows(EVENT_COLUMNS, records, lambda record: self._events(record, table))

    def _events(self, record: Record, table: Table) -> list[tuple[object, ...]]:
        kind = vendor_text(record.get(table.property(self._history.kind)))
        if record.get("statecode") and self._words.get(_key(kind)) == "granted":  # an inactive record grants nothing
            return []
        people: list[tuple[str | None, str | None]] = [
            (entity_type.value, key)
            for entity_type, column in self._history.people().items()
            if (key := record.get(table.property(column)))
        ]
        # The first keeps the record's id, by which a withdrawal of ours is known again.
        return [
            self._event(record, table, f"{record[table.key]}/{position}" if position else record[table.key], person)
            for position, person in enumerate(people or [(None, None)])
        ]

    def _event(
        self, record: Record, table: Table, event_id: str, person: tuple[str | None, str | None]
    ) -> tuple[object, ...]:
        def text(column: str | None) -> str | None:
            return vendor_text(record.get(table.property(column))) if column else None

        opt_in, kind, history = text(self._history.opt_in), text(self._history.kind), self._history
        return (
            event_id,
            *person,
            self._opt_in_ids.get(_key(opt_in), opt_in),
            self._words.get(_key(kind), kind),
            record.get(history.at),
            text(history.source) or f"Dynamics 365: {history.table}",
            text(history.evidence),
        )


def _key(value: str | None) -> str:
    """Return what values are compared by: ids come in small letters and without braces."""
    return normalize_word(value).strip("{}")


def _number(value: str, place: str) -> int:
    try:
        return int(value)
    except ValueError:
        pass
    raise CrmSetupError(f"{place} takes numbers, and the configuration has {value!r} for it; name the choice's number")


class HistoryWriter:
    """Adds withdrawals to the table, each under its own id, so that a repetition changes nothing.

    Args:
        environment: what is written.
        history: where the table has what.
        value: what the table has for the opt-in; its id if None.
    """

    def __init__(self, environment: Environment, history: ConsentHistory, value: str | None) -> None:
        self._environment, self._history, self._opt_in_value = environment, history, value

    def operations(self, withdrawals: Sequence[Withdrawal]) -> list[Operation]:
        """Return what adds these withdrawals."""
        table, texts = self._environment.table(self._history.table), (self._history.source, self._history.evidence)
        lengths = {column: self._environment.metadata.length(table.name, column) for column in texts if column}
        return [
            Operation(
                "PATCH",
                record_path(table.entity_set, withdrawal.event_id),
                self._body(withdrawal, table, lengths),
                {"If-None-Match": "*"},
                done_if_present=True,
            )
            for withdrawal in withdrawals
        ]

    def _body(self, withdrawal: Withdrawal, table: Table, lengths: Mapping[str, int | None]) -> dict[str, Any]:
        history, entity = self._history, withdrawal.entity
        person = history.people().get(entity.entity_type)
        if person is None:
            raise CrmSetupError(f"crm.consents names no lookup column to {entity.entity_type}; add it")
        body = {
            **self._bound(table, person, entity.entity_type.value, entity.entity_id),
            **self._value(table, history.opt_in, self._opt_in_value or withdrawal.opt_in_id),
            **self._value(table, history.kind, history.withdrawn[0]),
            history.at: withdrawal.occurred_at.isoformat(),
        }
        texts = {history.source: withdrawal.source, history.evidence: withdrawal.evidence}
        return body | {column: text[: lengths[column]] for column, text in texts.items() if column}

    def _value(self, table: Table, column: str, value: str) -> dict[str, Any]:
        kind = table.columns[column]
        if kind in LOOKUPS:
            return self._bound(table, column, None, value)
        if kind in _NUMBERS:
            return {column: _number(value, f"{table.name}.{column}")}
        return {column: value.lower() == "true" if kind == "Boolean" else value}

    def _bound(self, table: Table, column: str, target: str | None, key: str) -> dict[str, str]:
        """Return the value of a lookup column, as it is written."""
        references = self._environment.metadata.references(table.name, column)
        matching = [item for item in references if target in (None, item.table)] or references
        name = target or matching[0].table
        return {f"{matching[0].navigation}@odata.bind": f"/{self._environment.table(name).entity_set}({key})"}
