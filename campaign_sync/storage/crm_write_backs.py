"""Entries that the vendor's feedback led to in the CRM: when each was written, and from which row."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Engine, select

from campaign_sync.domain.entity import Entity, EntityType
from campaign_sync.domain.feedback import (
    Attribution,
    Bounce,
    BounceKind,
    ConsentRef,
    CrmEntry,
    FeedbackKind,
    RawRow,
    Unsubscribe,
)
from campaign_sync.storage.id_batches import batches
from campaign_sync.storage.tables import write_back
from campaign_sync.storage.upsert import insert_missing

FeedbackT = TypeVar("FeedbackT", Bounce, Unsubscribe)


@dataclass(frozen=True)
class WriteBackRecord:
    """One entry in the CRM that a piece of feedback led to.

    A bounce belongs to an address, so it names neither entity nor opt-in. The address itself is kept only as a
    pseudonym.
    """

    mandator: str
    kind: FeedbackKind
    source: str
    recipient: str
    occurred_at: datetime
    dated: bool
    bounce_kind: BounceKind | None
    entity: Entity | None
    opt_in_id: str | None
    event_id: str | None
    raw: RawRow | None
    attribution: Attribution | None
    """How it was determined that this consent is meant; None for a bounce, and in rows of earlier versions."""
    written_at: datetime


@dataclass(frozen=True)
class WrittenConsent:
    """A consent that an unsubscribe was attributed to: how, where that is known, and in which import it was read."""

    consent: ConsentRef
    attribution: Attribution | None
    import_id: str | None


class WriteBacks:
    """Every entry once, as it was first written, and every unsubscribe that is about no consent.

    Rows are only ever added.
    """

    def __init__(self, engine: Engine, pseudonym: Callable[[str], str]) -> None:
        self._engine = engine
        self._pseudonym = lru_cache(maxsize=10_000)(pseudonym)  # the same people appear in many rows

    def record(self, written: Sequence[CrmEntry], now: datetime) -> None:
        """Record what the CRM has taken; what is recorded already stays as it is."""
        with self._engine.begin() as connection:
            insert_missing(connection, write_back, [self._row(entry, now) for entry in written])

    def record_without_consent(self, unsubscribes: Sequence[Unsubscribe], now: datetime) -> None:
        """Record that these are about no consent: the CRM gets no entry, also when they are read again."""
        self.record([CrmEntry(unsubscribe, new=False) for unsubscribe in unsubscribes], now)

    def without_consent(self, unsubscribes: Sequence[Unsubscribe]) -> set[Unsubscribe]:
        """Return those that are recorded as about no consent."""
        return self._without_entry(unsubscribes)

    def already_written(self, bounces: Sequence[Bounce]) -> set[Bounce]:
        """Return those that were written before: where the CRM lacks them now, its users have reset them."""
        return self._without_entry(bounces)

    def _without_entry(self, feedback: Sequence[FeedbackT]) -> set[FeedbackT]:
        """Return those that are recorded by themselves, not by the consents that they are about."""
        recorded: set[FeedbackT] = set()
        with self._engine.connect() as connection:
            for batch in batches(feedback):
                by_id = {self._identity(event, None): event for event in batch}
                query = select(write_back.c.id).where(write_back.c.id.in_(by_id))
                recorded |= {by_id[row.id] for row in connection.execute(query)}
        return recorded

    def consents(self, unsubscribes: Collection[Unsubscribe]) -> dict[tuple[str, datetime], list[WrittenConsent]]:
        """Return the consents that each of these was attributed to when first written, by address and time.

        The attribution stays the same however often the row is read again. Unsubscribes that were never written are
        absent.
        """
        by_pseudonym = {self._pseudonym(unsubscribe.address): unsubscribe.address for unsubscribe in unsubscribes}
        mandators = {unsubscribe.mandator for unsubscribe in unsubscribes}
        consents: defaultdict[tuple[str, datetime], list[WrittenConsent]] = defaultdict(list)
        for recipients in batches(list(by_pseudonym)):
            of_these = (write_back.c.recipient.in_(recipients), write_back.c.mandator.in_(mandators))
            for record in self._records(*of_these, write_back.c.opt_in_id.is_not(None)):
                if record.entity and record.opt_in_id:
                    consent = ConsentRef(record.entity, record.opt_in_id)
                    import_id = record.raw.import_id if record.raw else None
                    written = WrittenConsent(consent, record.attribution, import_id)
                    consents[by_pseudonym[record.recipient], record.occurred_at].append(written)
        return dict(consents)

    def find(self, entity: Entity, address: str | None) -> list[WriteBackRecord]:
        """Return everything about an entity's consents, and about the bounces of an address, oldest first."""
        is_theirs = (write_back.c.entity_type == entity.entity_type) & (write_back.c.entity_id == entity.entity_id)
        if address:
            of_address = (write_back.c.kind == FeedbackKind.BOUNCES) & write_back.c.entity_id.is_(None)
            is_theirs |= of_address & (write_back.c.recipient == self._pseudonym(address))
        return self._records(is_theirs)

    def unsubscribes(self, mandator: str, since: datetime) -> list[WriteBackRecord]:
        """Return the dated unsubscribes of a mandator that were written since then, oldest first."""
        return self._records(
            write_back.c.mandator == mandator,
            write_back.c.kind == FeedbackKind.UNSUBSCRIBES,
            write_back.c.event_id.is_not(None),
            write_back.c.written_at >= since,
            write_back.c.dated.is_(True),
        )

    def _records(self, *conditions: ColumnElement[bool]) -> list[WriteBackRecord]:
        query = select(write_back).where(*conditions).order_by(write_back.c.occurred_at, write_back.c.id)
        with self._engine.connect() as connection:
            return [_record(row) for row in connection.execute(query)]

    def _row(self, written: CrmEntry, now: datetime) -> dict[str, object]:
        feedback, entity = written.feedback, written.entity
        return {
            "id": self._identity(feedback, written.event_id),
            "mandator": feedback.mandator,
            "kind": _kind(feedback),
            "source": feedback.source,
            "recipient": self._pseudonym(feedback.address),
            "occurred_at": feedback.occurred_at,
            "dated": feedback.dated,
            "bounce_kind": feedback.kind if isinstance(feedback, Bounce) else None,
            "entity_type": entity.entity_type if entity else None,
            "entity_id": entity.entity_id if entity else None,
            "opt_in_id": written.opt_in_id,
            "event_id": written.event_id,
            "import_id": feedback.raw.import_id if feedback.raw else None,
            "row": feedback.raw.position if feedback.raw else None,
            "attribution": written.attribution,
            "written_at": now,
        }

    def _identity(self, feedback: Bounce | Unsubscribe, event_id: str | None) -> str:
        moment = feedback.occurred_at.astimezone(UTC).isoformat()
        entry = feedback.kind if isinstance(feedback, Bounce) else event_id or ""
        parts = [feedback.mandator, _kind(feedback), self._pseudonym(feedback.address), moment, entry]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _kind(feedback: Bounce | Unsubscribe) -> FeedbackKind:
    return FeedbackKind.BOUNCES if isinstance(feedback, Bounce) else FeedbackKind.UNSUBSCRIBES


def _record(row: Any) -> WriteBackRecord:
    return WriteBackRecord(
        mandator=row.mandator,
        kind=FeedbackKind(row.kind),
        source=row.source,
        recipient=row.recipient,
        occurred_at=row.occurred_at,
        dated=row.dated,
        bounce_kind=BounceKind(row.bounce_kind) if row.bounce_kind else None,
        entity=Entity(EntityType(row.entity_type), row.entity_id) if row.entity_id else None,
        opt_in_id=row.opt_in_id,
        event_id=row.event_id,
        raw=RawRow(row.import_id, row.row) if row.import_id else None,
        attribution=Attribution(row.attribution) if row.attribution in list(Attribution) else None,
        written_at=row.written_at,
    )
