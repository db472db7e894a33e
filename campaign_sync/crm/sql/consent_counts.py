"""How well the consent events of an opt-in are understood, as counts."""

from collections import Counter
from datetime import datetime, timedelta

import numpy as np
from sqlalchemy import ColumnElement, DateTime, Text, and_, func, literal_column, not_, or_, select, type_coerce

from campaign_sync.crm.port import CrmError
from campaign_sync.crm.sql.consent_table import UNKNOWN_OPT_IN, ConsentTable, entity_type_of, is_one_of
from campaign_sync.domain.consent import GRANTING, VENDOR_SOURCE_PREFIX, ConsentEventCounts, ConsentKind, normalize_word
from campaign_sync.domain.entity import EntityType
from campaign_sync.domain.instant import CLOCK_TOLERANCE, parse_instant
from campaign_sync.domain.instant_columns import parse_instants

_COUNTING = "counting consent_event"

_NEWEST = 200
"""How many of the newest events are read; times of the next day are among them."""


def count_events(table: ConsentTable, opt_in_id: str) -> ConsentEventCounts:
    """Return how many events there are of an opt-in, and how many had to be normalized or can't be understood.

    Raises:
        CrmError: the CRM has no such opt-in, or several in different spellings.
    """
    key = table.unique_key(opt_in_id)
    if key not in table.definitions:
        raise CrmError(f"the CRM knows no opt-in {opt_in_id!r} any more")
    concerned = and_(table.names_opt_in([key, UNKNOWN_OPT_IN]), table.not_ignored)
    if not _all_spelled_well(table, key):
        return _counted(table, key, concerned)
    rows = _row_count(table, concerned, _COUNTING)
    undated = _undated_grants(table, concerned)
    return ConsentEventCounts(rows, 0, {"occurred_at": undated} if undated else {})


def newest_change(table: ConsentTable, opt_in_id: str) -> datetime | None:
    """Return the time of the newest event of an opt-in that can't be from us. See `CrmSnapshot.newest_consent_change`.

    The database orders the events: among times as text in several forms, the newest may be missed. Of the events that
    states of a copy mean, only grants count; when the states were withdrawn is remembered with `ConsentRead`.
    """
    stored, source = table.source.c.occurred_at, table.source.c.source
    granting = [raw for raw, kind in table.spellings.kinds.items() if kind in GRANTING]
    from_elsewhere = and_(source.is_not(None), not_(source.like(f"{VENDOR_SOURCE_PREFIX}%")))
    if "from_state" in table.source.c:  # whose source is that of the record or the table, also where we withdrew it
        from_elsewhere = and_(from_elsewhere, table.source.c.from_state.is_(None))
    latest = table.now + CLOCK_TOLERANCE
    if isinstance(stored.type, DateTime):  # not on SQLite
        until: ColumnElement[bool] = stored <= latest
    else:
        until = type_coerce(stored, Text) < f"{latest + timedelta(days=1):%Y-%m-%d}"
    query = (
        select(table.reader.moment(stored))
        .where(
            table.names_opt_in([table.unique_key(opt_in_id)]),
            table.not_ignored,
            or_(is_one_of(table.source.c.kind, granting), from_elsewhere),
            until,
        )
        .order_by(stored.desc())
        .limit(_NEWEST)
    )
    times = (parse_instant(row[0]) for row in table.reader.rows(query, "looking for the newest of consent_event"))
    return max((moment for moment in times if moment is not None and moment <= latest), default=None)


def _all_spelled_well(table: ConsentTable, key: str) -> bool:
    known = table.spellings
    return (
        UNKNOWN_OPT_IN not in known.opt_ins
        and None not in known.entity_types
        and set(known.opt_ins.get(key, ())) <= {definition.opt_in_id for definition in table.definitions[key]}
        and all(set(raw) <= {entity_type} for entity_type, raw in known.entity_types.items())
        and all(_is_well_spelled(table, raw) for raw in known.kinds)
    )


def _is_well_spelled(table: ConsentTable, kind: object) -> bool:
    return table.words.kind_of(kind) is not ConsentKind.UNCLEAR and kind == normalize_word(kind)


def _counted(table: ConsentTable, key: str, concerned: ColumnElement[bool]) -> ConsentEventCounts:
    columns = table.source.c["entity_type", "opt_in_id", "kind"]
    query = select(*columns, func.count()).where(concerned).group_by(*columns)
    ids = {definition.opt_in_id for definition in table.definitions[key]}
    rows = cleaned = 0
    unclear, words = Counter[str](), Counter[tuple[str, str]]()
    for entity_type, opt_in_id, kind, count in table.reader.rows(query, _COUNTING):
        if table.is_harmless(table.opt_in_key(opt_in_id), kind):
            continue
        rows += count
        values = {"opt_in_id": opt_in_id, "entity_type": entity_type, "kind": kind}
        readable = {
            "opt_in_id": table.opt_in_key(opt_in_id) == key,
            "entity_type": entity_type_of(entity_type) is not None,
            "kind": table.words.kind_of(kind) is not ConsentKind.UNCLEAR,
        }
        flaw = next((name for name, is_readable in readable.items() if not is_readable), None)
        if flaw:
            unclear[flaw] += count
            words[flaw, normalize_word(values[flaw])] += count
        elif opt_in_id not in ids or entity_type not in list(EntityType) or not _is_well_spelled(table, kind):
            cleaned += count
    understood = and_(concerned, table.names_opt_in([key]), table.names_type(EntityType))
    unclear["occurred_at"] += _undated_grants(table, understood)
    return ConsentEventCounts(rows, cleaned, {name: count for name, count in unclear.items() if count}, dict(words))


def _undated_grants(table: ConsentTable, concerned: ColumnElement[bool]) -> int:
    """Return how many grants have no time. The database doesn't parse times that are stored as text."""
    granting = [raw for raw, kind in table.spellings.kinds.items() if kind in GRANTING]
    stored = table.source.c.occurred_at
    grants = and_(concerned, is_one_of(table.source.c.kind, granting))
    doing = "looking for times in consent_event"
    if isinstance(stored.type, DateTime):  # not on SQLite
        undated = or_(stored.is_(None), stored < literal_column("TIMESTAMP '0001-01-01 00:00:00'"))
        return _row_count(table, and_(grants, undated), doing)
    query = select(table.reader.moment(stored)).where(grants)
    return sum(int(np.isnat(parse_instants(times)).sum()) for (times,) in table.reader.columns(query, 20_000, doing))


def _row_count(table: ConsentTable, concerned: ColumnElement[bool], doing: str) -> int:
    query = select(func.count()).select_from(table.source).where(concerned)
    return int(table.reader.rows(query, doing)[0][0])
