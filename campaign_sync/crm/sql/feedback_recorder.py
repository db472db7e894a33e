"""The write-back of the vendor's feedback into a CRM in a SQL database. A repetition writes nothing."""

from collections.abc import Mapping, Sequence
from datetime import UTC
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Row, bindparam, case, insert, update

from campaign_sync.crm.address_key import address_key, people_by_address
from campaign_sync.crm.port import OnWritten, WriteBack
from campaign_sync.crm.sql.chunks import IDS_PER_QUERY, chunks, writing, written
from campaign_sync.crm.sql.feedback_plan import (
    ConsentTargets,
    PlannedWithdrawal,
    address_states,
    addresses_of,
    bounces_on_record,
    by_key,
    decisive_bounces,
    entity_types,
    is_new_bounce,
    opt_ins_by_mandator,
    plan_withdrawals,
    streamed,
)
from campaign_sync.crm.sql.schema import address_state, consent_event
from campaign_sync.domain.consent import ConsentKind
from campaign_sync.domain.feedback import FINAL_BOUNCES, Bounce, CrmEntry, Unsubscribe


def record_bounces(engine: Engine, bounces: Sequence[Bounce], on_written: OnWritten) -> WriteBack:
    """Mark addresses as bounced. See `Crm.record_bounces`."""
    doing = "recording bounces"
    reported = by_key(bounces)
    decisive = decisive_bounces(reported)
    with writing(engine, doing) as connection:
        known = people_by_address(partial(streamed, connection), reported, connection.dialect.name)
        stored = bounces_on_record(connection, reported)
    count = 0
    for keys in chunks(list(known)):
        decisive_of_chunk = {key: decisive[key] for key in keys}
        new_keys = written(engine, doing, partial(_write_bounces, decisive_of_chunk, stored))
        count += len(new_keys)
        on_written([CrmEntry(bounce, key in new_keys) for key in keys for bounce in reported[key]])
    unmatched = [bounce for bounce in bounces if address_key(bounce.address) not in known]
    return WriteBack(count, len(known) - count, addresses_of(unmatched))


def record_unsubscribes(engine: Engine, unsubscribes: Sequence[Unsubscribe], on_written: OnWritten) -> WriteBack:
    """Append withdrawals. See `Crm.record_unsubscribes`."""
    doing = "recording unsubscribes"
    with writing(engine, doing) as connection:
        opt_ins = opt_ins_by_mandator(connection, {unsubscribe.mandator for unsubscribe in unsubscribes})
        people = people_by_address(partial(streamed, connection), by_key(unsubscribes), connection.dialect.name)
        targets = ConsentTargets(opt_ins, people, entity_types(connection))
    new, all_events, matched = 0, 0, set[Unsubscribe]()
    for chunk in chunks(unsubscribes):
        entries = written(engine, doing, partial(_write_withdrawals, chunk, targets))
        new += sum(entry.new for entry in entries)
        all_events += len({entry.event_id for entry in entries})
        matched |= {entry.feedback for entry in entries if isinstance(entry.feedback, Unsubscribe)}
        on_written(entries)
    return WriteBack(
        new, all_events - new, addresses_of(unsubscribe for unsubscribe in unsubscribes if unsubscribe not in matched)
    )


def _write_withdrawals(chunk: Sequence[Unsubscribe], targets: ConsentTargets, connection: Connection) -> list[CrmEntry]:
    planned = plan_withdrawals(chunk, targets, connection)
    withdrawals = [_withdrawal(withdrawal) for withdrawal in planned if withdrawal.is_new]
    if withdrawals:
        connection.execute(insert(consent_event), withdrawals)
    return [withdrawal.entry for withdrawal in planned]


def _write_bounces(
    bounces: Mapping[str, Bounce], stored_before: Mapping[str, Row[Any]], connection: Connection
) -> set[str]:
    """Write bounces and return the keys of the new ones. A concurrent writer's bounce stays if it has precedence."""
    query = address_states(connection)
    spelled = {key: stored_before[key].address if key in stored_before else key for key in bounces}
    stored: dict[str, Row[Any]] = {}
    for chunk in chunks(list(spelled.values()), IDS_PER_QUERY):
        stored |= {row.address: row for row in connection.execute(query.where(address_state.c.address.in_(chunk)))}
    new, newer = [], []
    for key, bounce in bounces.items():
        values = {
            "bounce_kind": bounce.kind.value,
            "bounced_at": bounce.occurred_at,
            "mandator": bounce.mandator,
            "source": bounce.source,
        }
        if spelled[key] not in stored:
            new.append({"address": key, **values})
        elif is_new_bounce(bounce, stored[spelled[key]]):
            newer.append({"stored_address": spelled[key], "is_final": int(bounce.kind in FINAL_BOUNCES), **values})
    if new:
        connection.execute(insert(address_state), new)
    if newer:
        names = ("bounce_kind", "bounced_at", "mandator", "source")
        this = address_state.c.address == bindparam("stored_address")
        if connection.dialect.name != "sqlite":  # which has one writer at a time, and holds times as text
            this &= _takes_precedence()
        connection.execute(update(address_state).where(this).values({name: bindparam(name) for name in names}), newer)
    changed = {changed_row["address"] for changed_row in new} | {changed_row["stored_address"] for changed_row in newer}
    return {key for key in bounces if key in changed or spelled[key] in changed}


def _takes_precedence() -> ColumnElement[bool]:
    """Return the rule of `is_new_bounce` as SQL: another process may have written since the rows were read."""
    was_final = case(*((address_state.c.bounce_kind == kind, 1) for kind in sorted(FINAL_BOUNCES)), else_=0)
    older = (address_state.c.bounced_at < bindparam("bounced_at")) | address_state.c.bounced_at.is_(None)
    return (was_final < bindparam("is_final")) | ((was_final == bindparam("is_final")) & older)


def _withdrawal(planned: PlannedWithdrawal) -> dict[str, Any]:
    return {
        "id": planned.event_id,
        "entity_type": planned.entity.entity_type.value,
        "entity_id": planned.entity.entity_id,
        "opt_in_id": planned.opt_in_id,
        "kind": ConsentKind.WITHDRAWN.value,
        "occurred_at": planned.unsubscribe.occurred_at.astimezone(UTC),
        "source": planned.unsubscribe.source,
        "evidence": planned.evidence,
    }
