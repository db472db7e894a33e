"""What the vendor's feedback has made of the CRM: which entry, when, and because of which row."""

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
    FeedbackKind,
    RawRow,
    Unsubscribe,
    Written,
)
from campaign_sync.storage.id_batches import batches
from campaign_sync.storage.tables import write_back
from campaign_sync.storage.upsert import insert_missing

Noted = TypeVar("Noted", Bounce, Unsubscribe)


@dataclass(frozen=True)
class WriteBackRecord:
    """One entry in the CRM that a piece of feedback led to.

    A bounce belongs to an address, so it names neither entity nor opt-in; whose address it is stands here only as a
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
    """How it was determined that this consent is meant; None for a bounce, and for what earlier versions wrote."""
    written_at: datetime


@dataclass(frozen=True)
class WrittenConsent:
    """A consent that an unsubscribe was found to be about: how, if that is known, and in which import it was read."""

    consent: ConsentRef
    attribution: Attribution | None
    import_id: str | None


class WriteBacks:
    """Every such entry once, as it was first written; and every unsubscribe that was about nothing, without an entry.

    Only ever appended to.
    """

    def __init__(self, engine: Engine, pseudonym: Callable[[str], str]) -> None:
        self._engine = engine
        self._pseudonym = lru_cache(maxsize=10_000)(pseudonym)  # the same people come again and again

    def record(self, written: Sequence[Written], now: datetime) -> None:
        """Note what the CRM has taken; what is noted already stays as it is."""
        with self._engine.begin() as connection:
            insert_missing(connection, write_back, [self._row(one, now) for one in written])

    def record_without_consent(self, unsubscribes: Sequence[Unsubscribe], now: datetime) -> None:
        """Note that these were found to be about no consent: the CRM gets no entry, also when they are read again."""
        self.record([Written(one, new=False) for one in unsubscribes], now)

    def without_consent(self, unsubscribes: Sequence[Unsubscribe]) -> set[Unsubscribe]:
        """Those of which that was noted."""
        return self._without_entry(unsubscribes)

    def already_written(self, bounces: Sequence[Bounce]) -> set[Bounce]:
        """Those that were written before: should the CRM lack them now, somebody there has reset them."""
        return self._without_entry(bounces)

    def _without_entry(self, feedback: Sequence[Noted]) -> set[Noted]:
        """Those that are noted by themselves, not by the consents that they are about."""
        found: set[Noted] = set()
        with self._engine.connect() as connection:
            for some in batches(feedback):
                by_id = {self._identity(one, None): one for one in some}
                query = select(write_back.c.id).where(write_back.c.id.in_(by_id))
                found |= {by_id[row.id] for row in connection.execute(query)}
        return found

    def consents(self, unsubscribes: Collection[Unsubscribe]) -> dict[tuple[str, datetime], list[WrittenConsent]]:
        """Which consents each of these was found to be about when it was first written, by address and time.

        It stays the same however often the row is read again. Absent are those that were never written.
        """
        by_pseudonym = {self._pseudonym(one.address): one.address for one in unsubscribes}
        mandators = {one.mandator for one in unsubscribes}
        found: defaultdict[tuple[str, datetime], list[WrittenConsent]] = defaultdict(list)
        for recipients in batches(list(by_pseudonym)):
            these = (write_back.c.recipient.in_(recipients), write_back.c.mandator.in_(mandators))
            for one in self._records(*these, write_back.c.opt_in_id.is_not(None)):
                if one.entity and one.opt_in_id:
                    key = (by_pseudonym[one.recipient], one.occurred_at)
                    consent, import_id = ConsentRef(one.entity, one.opt_in_id), one.raw.import_id if one.raw else None
                    found[key].append(WrittenConsent(consent, one.attribution, import_id))
        return dict(found)

    def find(self, entity: Entity, address: str | None) -> list[WriteBackRecord]:
        """Everything about an entity's consents, and about the bounces of an address, oldest first."""
        theirs = (write_back.c.entity_type == entity.entity_type) & (write_back.c.entity_id == entity.entity_id)
        if address:
            of_address = (write_back.c.kind == FeedbackKind.BOUNCES) & write_back.c.entity_id.is_(None)
            theirs |= of_address & (write_back.c.recipient == self._pseudonym(address))
        return self._records(theirs)

    def unsubscribes(self, mandator: str, since: datetime) -> list[WriteBackRecord]:
        """The dated unsubscribes of a mandator that were written since then, oldest first."""
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

    def _row(self, written: Written, now: datetime) -> dict[str, object]:
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
        said = [feedback.mandator, _kind(feedback), self._pseudonym(feedback.address), moment, entry]
        return hashlib.sha256("\n".join(said).encode()).hexdigest()


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
