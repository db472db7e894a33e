"""The write-back of the vendor's feedback into a CRM that is copied: the copy says what to write, the source does."""

import uuid
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC
from typing import Any

from sqlalchemy import Connection, Row, column, select, table

from campaign_sync.crm.address_key import address_key
from campaign_sync.crm.mirror.current_consents import CurrentConsents
from campaign_sync.crm.mirror.memory import ConsentMemory, WrittenBounce, WrittenWithdrawal
from campaign_sync.crm.mirror.open_copy import OpenCopy
from campaign_sync.crm.mirror.source import BounceMark, Source, Withdrawal
from campaign_sync.crm.port import OnWritten, WriteBack
from campaign_sync.crm.sql.chunks import IDS_PER_QUERY, chunks
from campaign_sync.crm.sql.feedback_plan import (
    ConsentTargets,
    PlannedWithdrawal,
    addresses_of,
    bounces_on_record,
    by_key,
    decisive_bounces,
    entity_types,
    is_new_bounce,
    opt_ins_by_mandator,
    plan_withdrawals,
    shows_bounce,
)
from campaign_sync.domain.consent import ConsentWords
from campaign_sync.domain.entity import Entity, EntityType
from campaign_sync.domain.feedback import Bounce, CrmEntry, Unsubscribe

_BOUNCES = uuid.UUID("5a7a1a0e-0f8b-4a39-8a3c-7d6a53f0c2de")
"""Namespace of the ids of bounces. It must never change: by its id a CRM knows a bounce that it has already."""

_HOLDERS = table("address_holder", *map(column, ("address", "entity_type", "entity_id")))


@dataclass(frozen=True)
class FeedbackWriter:
    """Writes feedback to the source of a copy.

    Args:
        copy: what the CRM shows.
        source: takes withdrawals and bounces.
        words: how the CRM calls what happens to a consent.
        memory: remembers what the CRM has accepted.
    """

    copy: OpenCopy
    source: Source
    words: ConsentWords
    memory: ConsentMemory

    def record_unsubscribes(self, unsubscribes: Sequence[Unsubscribe], on_written: OnWritten) -> WriteBack:
        """Write withdrawals. See `Crm.record_unsubscribes`."""
        connection = self.copy.connection
        targets = ConsentTargets(
            opt_ins_by_mandator(connection, {unsubscribe.mandator for unsubscribe in unsubscribes}),
            people_with(connection, by_key(unsubscribes)),
            entity_types(connection),
        )
        known, new, failed = set[str](), set[str](), set[str]()
        matched, refused = set[Unsubscribe](), list[CrmEntry]()
        for chunk in chunks(unsubscribes):
            planned = plan_withdrawals(chunk, targets, connection)
            to_write, settled = self._split(planned, new | failed)
            known |= {withdrawal.event_id for withdrawal in settled} - new - failed
            on_written([withdrawal.entry for withdrawal in settled if withdrawal.event_id not in failed])
            for accepted in self._write(to_write):
                new |= {withdrawal.event_id for withdrawal in accepted}
                on_written([withdrawal.entry for withdrawal in accepted])
            failed |= to_write.keys() - new
            matched |= {withdrawal.unsubscribe for withdrawal in planned}
            refused += [withdrawal.entry for withdrawal in planned if withdrawal.event_id in failed]
        matched -= {entry.feedback for entry in refused}
        unmatched = addresses_of(unsubscribe for unsubscribe in unsubscribes if unsubscribe not in matched)
        return WriteBack(len(new), len(known), unmatched, tuple(refused))

    def record_bounces(self, bounces: Sequence[Bounce], on_written: OnWritten) -> WriteBack:
        """Mark addresses as bounced. See `Crm.record_bounces`."""
        connection, reported = self.copy.connection, by_key(bounces)
        people = people_with(connection, reported)
        stored = bounces_on_record(connection, people)
        decisive = decisive_bounces({key: reported[key] for key in people})
        to_write = [key for key, bounce in decisive.items() if key not in stored or _is_new(bounce, stored[key])]
        waiting = set(to_write)
        on_written([CrmEntry(bounce, False) for key in people if key not in waiting for bounce in reported[key]])
        emails = self.copy.snapshot.emails({entity for key in to_write for entity in people[key]})
        for keys in chunks(to_write):
            marks = [_mark(key, decisive[key], people[key], emails) for key in keys]
            for part in self.source.write_bounces(marks):
                self.memory.remember_written([], [self._written_bounce(mark) for mark in part], self.copy.now)
                waiting -= {mark.address for mark in part}
                on_written([CrmEntry(bounce, True) for mark in part for bounce in reported[mark.address]])
        unmatched = addresses_of(
            bounce for bounce in bounces if (key := address_key(bounce.address)) not in people or key in waiting
        )
        refused = tuple(CrmEntry(decisive[key], True) for key in to_write if key in waiting)
        return WriteBack(len(to_write) - len(waiting), len(people) - len(to_write), unmatched, refused)

    def _split(
        self, planned: Iterable[PlannedWithdrawal], earlier: Collection[str]
    ) -> tuple[dict[str, list[PlannedWithdrawal]], list[PlannedWithdrawal]]:
        """Return the withdrawals to write, by event id, and those that need no writing.

        Args:
            planned: the withdrawals of a chunk.
            earlier: the ids of those that were written, or tried, with an earlier chunk.
        """
        planned = list(planned)
        entities = {withdrawal.entity for withdrawal in planned if withdrawal.is_new}
        consents = CurrentConsents.read(self.copy.connection, self.words, entities, self.copy.now)
        # Otherwise an unsubscribe that is imported again would undo a grant without a date that is newer.
        shown = self.memory.shown({withdrawal.event_id for withdrawal in planned})
        to_write: dict[str, list[PlannedWithdrawal]] = {}
        settled, withdrawn = [], dict[str, PlannedWithdrawal]()
        for withdrawal in planned:
            event_id, at = withdrawal.event_id, withdrawal.unsubscribe.occurred_at
            if event_id in to_write:
                to_write[event_id].append(withdrawal)
            elif (
                withdrawal.is_new
                and event_id not in earlier
                and event_id not in shown
                and not consents.need_no(withdrawal.entity, withdrawal.opt_in_id, at)
            ):
                to_write[event_id] = [withdrawal]
            else:
                settled.append(replace(withdrawal, is_new=False))
                if consents.show_withdrawn(withdrawal.entity, withdrawal.opt_in_id):
                    withdrawn[event_id] = withdrawal
        if withdrawn.keys() - set(shown):
            self.memory.note_withdrawals(map(self._written, self._withdrawals(withdrawn.values())))
            self.memory.mark_shown(withdrawn, ())
        return to_write, settled

    def _write(self, to_write: Mapping[str, Sequence[PlannedWithdrawal]]) -> Iterator[list[PlannedWithdrawal]]:
        """Write withdrawals and yield those that the CRM has accepted, part by part."""
        if not to_write:
            return
        withdrawals = self._withdrawals([group[0] for group in to_write.values()])
        for part in self.source.write_withdrawals(withdrawals):
            self.memory.remember_written([self._written(withdrawal) for withdrawal in part], [], self.copy.now)
            yield [planned for withdrawal in part for planned in to_write[withdrawal.event_id]]

    def _withdrawals(self, planned: Collection[PlannedWithdrawal]) -> list[Withdrawal]:
        emails = self.copy.snapshot.emails({withdrawal.entity for withdrawal in planned})
        return [_withdrawal(withdrawal, emails) for withdrawal in planned]

    def _written(self, withdrawal: Withdrawal) -> WrittenWithdrawal:
        key = address_key(withdrawal.email)
        return WrittenWithdrawal(
            withdrawal.event_id,
            withdrawal.entity,
            withdrawal.opt_in_id,
            withdrawal.occurred_at,
            withdrawal.source,
            withdrawal.evidence,
            self.memory.pseudonym(key) if key else None,
        )

    def _written_bounce(self, mark: BounceMark) -> WrittenBounce:
        pseudonym = self.memory.pseudonym(mark.address)
        return WrittenBounce(pseudonym, mark.kind, mark.occurred_at, mark.mandator, mark.source)


def people_with(connection: Connection, keys: Iterable[str]) -> dict[str, list[Entity]]:
    """Return the people with one of these addresses, by its key."""
    people: defaultdict[str, list[Entity]] = defaultdict(list)
    for chunk in chunks(list(keys), IDS_PER_QUERY):
        query = select(_HOLDERS).where(_HOLDERS.c.address.in_(chunk)).order_by(*_HOLDERS.c)
        for row in connection.execute(query):
            people[row.address].append(Entity(EntityType(row.entity_type), row.entity_id))
    return dict(people)


def _is_new(bounce: Bounce, stored: Row[Any]) -> bool:
    return is_new_bounce(bounce, stored) and not shows_bounce(stored, bounce.kind, bounce.occurred_at)


def _withdrawal(planned: PlannedWithdrawal, emails: Mapping[Entity, str]) -> Withdrawal:
    entity, unsubscribe = planned.entity, planned.unsubscribe
    return Withdrawal(
        planned.event_id,
        entity,
        emails.get(entity) or None,
        planned.opt_in_id,
        unsubscribe.mandator,
        unsubscribe.occurred_at.astimezone(UTC),
        unsubscribe.source,
        planned.evidence,
    )


def _mark(key: str, bounce: Bounce, holders: Sequence[Entity], emails: Mapping[Entity, str]) -> BounceMark:
    at = bounce.occurred_at.astimezone(UTC)
    event_id = str(uuid.uuid5(_BOUNCES, "\n".join([key, bounce.kind.value, at.isoformat(), bounce.source])))
    spelled = tuple((entity, emails.get(entity, key)) for entity in holders)
    return BounceMark(event_id, key, spelled, bounce.kind, at, bounce.mandator, bounce.source)
