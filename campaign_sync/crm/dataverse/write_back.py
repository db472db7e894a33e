"""Withdrawals and bounces, written where Dynamics 365 keeps them: only values that change."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, TypeVar

from campaign_sync.config.crm_dataverse import BounceColumns, DataverseOptInSettings
from campaign_sync.crm.dataverse.api import write
from campaign_sync.crm.dataverse.batch import Operation
from campaign_sync.crm.dataverse.consents import Subjects, bounce_columns, consent_columns
from campaign_sync.crm.dataverse.environment import Environment
from campaign_sync.crm.dataverse.fetch_xml import Condition, FetchXml
from campaign_sync.crm.dataverse.history import HistoryWriter
from campaign_sync.crm.dataverse.metadata import Table
from campaign_sync.crm.dataverse.needed_rights import privileges_to_write
from campaign_sync.crm.dataverse.pages import Record
from campaign_sync.crm.dataverse.purpose_withdrawals import PurposeWithdrawals
from campaign_sync.crm.dataverse.record_changes import change, is_newer
from campaign_sync.crm.dataverse.refusals import Refusals
from campaign_sync.crm.mirror.source import BounceMark, Withdrawal
from campaign_sync.domain.consent import normalize_word
from campaign_sync.domain.entity import Entity, EntityType
from campaign_sync.domain.feedback import FINAL_BOUNCES, BounceKind, bounce_precedence
from campaign_sync.domain.instant import parse_instant

_PART = 100
"""How many withdrawals or bounces are read and written at a time."""

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
        refusals = self._refusals("the writing of withdrawals")
        for (place, entity_type, opt_in_id), group in places.items():
            plan = self._plan(place, entity_type, opt_ins[opt_in_id])
            for part in _parts(group):
                yield self._written(plan, part, refusals)
        refusals.report()

    def write_bounces(self, bounces: Sequence[BounceMark]) -> Iterator[Sequence[BounceMark]]:
        """Write bounces, and yield those that Dynamics 365 has now. See `Source.write_bounces`."""
        columns = self._environment.settings.bounce
        possible = [mark for mark in bounces if any(entity.entity_type in columns for entity, _ in mark.holders)]
        refusals = self._refusals("the writing of bounces")
        for part in _parts(possible):
            yield self._written(self._plan_bounces, part, refusals)
        refusals.report()

    def _refusals(self, title: str) -> Refusals:
        return Refusals(title, lambda: privileges_to_write(self._environment))

    def _plan(
        self, place: str, entity_type: EntityType | None, opt_in: DataverseOptInSettings
    ) -> Callable[[Sequence[Withdrawal]], _Planned]:
        if place == "purpose":
            return PurposeWithdrawals(self._environment, Subjects(self._environment).of(opt_in)).plan
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

    def _written(
        self, plan: Callable[[Sequence[Item]], _Planned], part: Sequence[Item], refusals: Refusals
    ) -> Sequence[Item]:
        """Write, and return what Dynamics 365 has now: what it accepted, and what needs no change any more.

        The second is of a batch whose answer was lost, so that it was sent twice.
        """
        planned = plan(part)
        operations = {id(operation): operation for own in planned.values() for operation in own}
        answers = dict(
            zip(operations, write(self._environment.api, list(operations.values()), refusals.title), strict=True)
        )
        refused = {key for key, operation in operations.items() if not operation.is_done(answers[key])}
        pending = [
            item
            for item in part
            if item.event_id not in planned or not refused.isdisjoint(map(id, planned[item.event_id]))
        ]
        settled = plan(pending) if pending else {}
        pending = [item for item in pending if settled.get(item.event_id) != []]
        of_pending = {id(operation) for item in pending for operation in planned.get(item.event_id, ())}
        refusals.add(answers[key] for key in operations if key in refused & of_pending)
        return [item for item in part if item not in pending]

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
            if record.get(columns.granted) and not (at and is_newer(at, item.occurred_at)):
                changes[columns.granted] = False
            if columns.at and (at is None or changes):
                changes[columns.at] = item.occurred_at.isoformat()
            if changes:
                operation = change(table, record, changes)
                for same in part:
                    if same.entity.entity_id == key:
                        planned[same.event_id] = [operation]
        return planned

    def _plan_bounces(self, part: Sequence[BounceMark]) -> _Planned:
        planned: _Planned = {mark.event_id: [] for mark in part}
        by_entity: dict[Entity, BounceMark] = {entity: mark for mark in part for entity, _ in mark.holders}
        for entity_type, columns in self._environment.settings.bounce.items():
            marks = {entity.entity_id: mark for entity, mark in by_entity.items() if entity.entity_type is entity_type}
            named = bounce_columns(columns)
            table = self._environment.require(entity_type.value, named)
            is_flag = table.columns[columns.state] == "Boolean"
            records = self._records(table, marks.keys(), named)
            for key, mark in marks.items():
                if key not in records:
                    planned.pop(mark.event_id, None)
                elif mark.event_id in planned:
                    changes = _bounced(records[key], columns, mark, is_flag=is_flag)
                    planned[mark.event_id] += [change(table, records[key], changes)] if changes else []
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
