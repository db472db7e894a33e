"""Withdrawals and bounces, written where Dynamics 365 keeps them: only values that change."""

import uuid
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from campaign_sync.config.crm_dataverse import BounceColumns, DataverseOptInSettings
from campaign_sync.crm.address_key import address_key
from campaign_sync.crm.dataverse.api import record_path, write
from campaign_sync.crm.dataverse.batch import Operation
from campaign_sync.crm.dataverse.consents import (
    CONSENT_COLUMNS,
    CONSENTS,
    EMAIL,
    OF_PURPOSE,
    OF_TOPIC,
    OPTED_OUT,
    Subject,
    Subjects,
    consent_columns,
)
from campaign_sync.crm.dataverse.environment import Environment
from campaign_sync.crm.dataverse.fetch_xml import Condition, FetchXml
from campaign_sync.crm.dataverse.history import HistoryWriter
from campaign_sync.crm.dataverse.metadata import Table
from campaign_sync.crm.dataverse.pages import Record
from campaign_sync.crm.mirror.source import BounceMark, Withdrawal
from campaign_sync.domain.consent import normalize_word
from campaign_sync.domain.entity import Entity, EntityType
from campaign_sync.domain.feedback import FINAL_BOUNCES, BounceKind, bounce_precedence
from campaign_sync.domain.instant import CLOCK_TOLERANCE, parse_instant

_CONSENT_IDS = uuid.UUID("b0d3b3c8-5c0f-4d6e-9f0a-0d9f6f8a4c11")
"""Namespace of the ids of consents that are made for an address without any. It must never change."""

_PART = 100
"""How many withdrawals or bounces are read and written at a time."""

_INTERNAL, _NO_REASON, _LONGEST_REASON = 534120000, 534119999, 500

Item = TypeVar("Item", Withdrawal, BounceMark)

_Planned = dict[str, list[Operation]]
"""What is to be written for each withdrawal or bounce, by its id. Nothing means that Dynamics 365 has it already."""


class FeedbackWriter:
    """Writes withdrawals and bounces.

    Args:
        environment: what is written.
    """

    def __init__(self, environment: Environment) -> None:
        self._environment = environment

    def write_withdrawals(self, withdrawals: Sequence[Withdrawal]) -> Iterator[Sequence[Withdrawal]]:
        """Write withdrawals, and yield those that Dynamics 365 has now. See `Source.write_withdrawals`."""
        opt_ins = {
            normalize_word(opt_in_id): opt_in for opt_in_id, opt_in in self._environment.settings.opt_ins.items()
        }
        places: defaultdict[tuple[str, EntityType | None, str], list[Withdrawal]] = defaultdict(list)
        for withdrawal in withdrawals:
            opt_in = opt_ins.get(normalize_word(withdrawal.opt_in_id))
            if opt_in is not None:
                places[_place(opt_in, withdrawal)].append(withdrawal)
        for (place, entity_type, opt_in_id), group in places.items():
            plan = self._plan(place, entity_type, opt_ins[opt_in_id])
            for part in _parts(group):
                yield self._written(plan, part, "the writing of withdrawals")

    def write_bounces(self, bounces: Sequence[BounceMark]) -> Iterator[Sequence[BounceMark]]:
        """Write bounces, and yield those that Dynamics 365 has now. See `Source.write_bounces`."""
        columns = self._environment.settings.bounce
        possible = [mark for mark in bounces if any(entity.entity_type in columns for entity, _ in mark.holders)]
        for part in _parts(possible):
            yield self._written(self._plan_bounces, part, "the writing of bounces")

    def _plan(
        self, place: str, entity_type: EntityType | None, opt_in: DataverseOptInSettings
    ) -> Callable[[Sequence[Withdrawal]], _Planned]:
        if place == "purpose":
            subject = Subjects(self._environment).of(opt_in)
            return lambda part: self._plan_purpose(part, subject)
        if place == "field" and entity_type in opt_in.field:
            return lambda part: self._plan_columns(part, entity_type, opt_in)
        history = self._environment.settings.consents
        if place == "table" and history and entity_type in history.people():
            writer = HistoryWriter(self._environment, history, opt_in.value)
            return lambda part: {
                withdrawal.event_id: [operation]
                for withdrawal, operation in zip(part, writer.operations(part), strict=True)
            }
        return lambda part: {}  # the type of record has no such consent

    def _written(self, plan: Callable[[Sequence[Item]], _Planned], part: Sequence[Item], title: str) -> Sequence[Item]:
        """Write, and return what Dynamics 365 has now: what it accepted, and what needs no change any more.

        The second is of a batch whose answer was lost, so that it was sent twice.
        """
        planned = plan(part)
        operations = {id(operation): operation for own in planned.values() for operation in own}
        outcomes = write(self._environment.api, list(operations.values()), title)
        accepted = dict(zip(operations, outcomes, strict=True))
        refused = [
            item
            for item in part
            if item.event_id not in planned or not all(accepted[id(operation)] for operation in planned[item.event_id])
        ]
        settled = plan(refused) if refused else {}
        return [item for item in part if item not in refused or settled.get(item.event_id) == []]

    # Columns of records

    def _plan_columns(
        self, part: Sequence[Withdrawal], entity_type: EntityType, opt_in: DataverseOptInSettings
    ) -> _Planned:
        columns = opt_in.field[entity_type]
        table = self._environment.require(entity_type.value, consent_columns(columns))
        records = self._records(table, {item.entity.entity_id for item in part}, consent_columns(columns))
        planned: _Planned = {}
        newest: dict[str, Withdrawal] = {}
        for item in part:
            key = item.entity.entity_id
            if key in records:
                planned[item.event_id] = []
                newest[key] = max(newest.get(key, item), item, key=lambda withdrawal: withdrawal.occurred_at)
        for key, item in newest.items():
            record, changes = records[key], dict[str, Any]()
            at = parse_instant(record.get(columns.at)) if columns.at else None
            if record.get(columns.granted) and not (at and _is_newer(at, item.occurred_at)):
                changes[columns.granted] = False
            if columns.at and (at is None or changes):
                changes[columns.at] = item.occurred_at.isoformat()
            if changes:
                operation = _change(table, record, changes)
                for same in part:
                    if same.entity.entity_id == key:
                        planned[same.event_id] = [operation]
        return planned

    # Purposes and topics

    def _plan_purpose(self, part: Sequence[Withdrawal], subject: Subject) -> _Planned:
        table = self._environment.require(CONSENTS, CONSENT_COLUMNS)
        by_key: dict[str, list[Withdrawal]] = {}
        for item in part:
            if item.email and (key := address_key(item.email)):
                by_key.setdefault(key, []).append(item)
        spellings = {text for key, items in by_key.items() for text in (key, *(item.email or "" for item in items))}
        records: defaultdict[str | None, list[Record]] = defaultdict(list)
        for record in self._consents(table, spellings, subject):
            records[address_key(record.get("msdynmkt_contactpointvalue"))].append(record)
        planned: _Planned = {}
        for key, items in by_key.items():
            newest = max(items, key=lambda withdrawal: withdrawal.occurred_at)
            operations = [
                _change(table, record, _opted_out(newest))
                for record in records[key]
                if record.get("msdynmkt_value") != OPTED_OUT
            ]
            if not records[key]:
                operations = [self._new_consent(table, key, newest, subject)]
            planned |= {item.event_id: operations for item in items}
        return planned

    def _consents(self, table: Table, spellings: Collection[str], subject: Subject) -> list[Record]:
        if not spellings:
            return []
        conditions = [
            Condition("msdynmkt_contactpointtype", "eq", (str(EMAIL),)),
            Condition("msdynmkt_contactpointvalue", "in", tuple(sorted(spellings))),
        ]
        query = FetchXml.of_table(CONSENTS, table.key, CONSENT_COLUMNS, conditions)
        pages = self._environment.pages(query, "consents")
        return [record for page in pages for record in page if subject.matches(record)]

    def _new_consent(self, table: Table, key: str, withdrawal: Withdrawal, subject: Subject) -> Operation:
        name = "\n".join((key, subject.purpose_id, subject.topic_id or ""))
        references = {"msdynmkt_purpose": subject.purpose_id, "msdynmkt_topic": subject.topic_id}
        body = {
            "msdynmkt_contactpointvalue": (withdrawal.email or key).strip(),
            "msdynmkt_contactpointtype": EMAIL,
            "msdynmkt_contactpointconsenttype": OF_TOPIC if subject.topic_id else OF_PURPOSE,
            "msdynmkt_logicalreason": _NO_REASON,
            **_opted_out(withdrawal),
        }
        for target, identifier in references.items():
            if identifier:
                navigation = self._environment.metadata.references(CONSENTS, f"{target}id")[0].navigation
                entity_set = self._environment.table(target).entity_set
                body[f"{navigation}@odata.bind"] = f"/{entity_set}({identifier})"
        path = record_path(table.entity_set, str(uuid.uuid5(_CONSENT_IDS, name)))
        return Operation("PATCH", path, body)

    # Bounces

    def _plan_bounces(self, part: Sequence[BounceMark]) -> _Planned:
        planned: _Planned = {mark.event_id: [] for mark in part}
        by_entity: dict[Entity, BounceMark] = {entity: mark for mark in part for entity, _ in mark.holders}
        for entity_type, columns in self._environment.settings.bounce.items():
            marks = {entity.entity_id: mark for entity, mark in by_entity.items() if entity.entity_type is entity_type}
            named = [columns.state, *([columns.at] if columns.at else [])]
            table = self._environment.require(entity_type.value, named)
            is_flag = table.columns[columns.state] == "Boolean"
            records = self._records(table, marks.keys(), named)
            for key, mark in marks.items():
                if key not in records:
                    planned.pop(mark.event_id, None)
                elif mark.event_id in planned:
                    changes = _bounced(records[key], columns, mark, is_flag=is_flag)
                    planned[mark.event_id] += [_change(table, records[key], changes)] if changes else []
        return planned

    def _records(self, table: Table, keys: Collection[str], columns: Sequence[str]) -> dict[str, Record]:
        """Return what these records hold now, by their ids; deleted ones are absent."""
        if not keys:
            return {}
        query = FetchXml.of_table(table.name, table.key, columns, [Condition(table.key, "in", tuple(sorted(keys)))])
        pages = self._environment.pages(query, f"{table.name}s")
        return {record[table.key]: record for page in pages for record in page}


def _place(opt_in: DataverseOptInSettings, withdrawal: Withdrawal) -> tuple[str, EntityType | None, str]:
    """Return where a withdrawal is written: the kind of place, the type of record if it matters, and the opt-in."""
    key = normalize_word(withdrawal.opt_in_id)
    if opt_in.purpose:
        return "purpose", None, key
    return "field" if opt_in.field else "table", withdrawal.entity.entity_type, key


def _is_newer(granted_at: datetime, withdrawn_at: datetime) -> bool:
    """Return whether a grant is newer than a withdrawal. One of the future is none yet, and must never become one."""
    return withdrawn_at < granted_at <= datetime.now(UTC) + CLOCK_TOLERANCE


def _change(table: Table, record: Record, changes: Mapping[str, Any]) -> Operation:
    """Return the change of a record, which is refused if the record has changed since it was read."""
    path = record_path(table.entity_set, record[table.key])
    return Operation("PATCH", path, changes, {"If-Match": record.get("@odata.etag", "*")})


def _opted_out(withdrawal: Withdrawal) -> dict[str, Any]:
    reason = f"{withdrawal.source}, {withdrawal.occurred_at:%Y-%m-%d %H:%M} UTC"
    return {
        "msdynmkt_value": OPTED_OUT,
        "msdynmkt_source": _INTERNAL,
        "msdynmkt_reason": reason[:_LONGEST_REASON],
    }


def _bounced(record: Record, columns: BounceColumns, mark: BounceMark, *, is_flag: bool) -> dict[str, Any]:
    """Return what a bounce changes in a record. A column of the type Yes/No has no value for a soft one."""
    if is_flag and mark.kind not in FINAL_BOUNCES:
        return {}
    at = parse_instant(record.get(columns.at)) if columns.at else None
    state = record.get(columns.state)
    known = BounceKind.HARD.value if is_flag and state else normalize_word(state)
    if (
        state
        and (at or columns.at is None)
        and (at is None or bounce_precedence(known, at) >= bounce_precedence(mark.kind, mark.occurred_at))
    ):
        return {}
    if state and known in FINAL_BOUNCES and mark.kind not in FINAL_BOUNCES:
        return {}
    changes: dict[str, Any] = {} if is_flag and state else {columns.state: True if is_flag else mark.kind.value}
    return changes | ({columns.at: mark.occurred_at.isoformat()} if columns.at else {})


def _parts(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), _PART):
        yield items[start : start + _PART]
