"""What the states of consents in the CRM showed, by opt-in and subject."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Select, Text, and_, func, select, type_coerce, update

from campaign_sync.domain.consent import normalize_word
from campaign_sync.domain.consent_state import UNDATED_GRANT, ObservedConsent, is_undated_regrant
from campaign_sync.domain.vanished_withdrawals import KnownWithdrawal
from campaign_sync.storage.consent_tables import consent_observation as observations
from campaign_sync.storage.consent_tables import consent_read
from campaign_sync.storage.id_batches import batches
from campaign_sync.storage.tables import UtcDateTime
from campaign_sync.storage.upsert import upsert

_MEMORY = ObservedConsent._fields

_STORED = [
    type_coerce(column, Text) if isinstance(column.type, UtcDateTime) else column for column in observations.c[_MEMORY]
]
"""Times as they are stored."""

_SUBJECTS_AT_ONCE = 20_000


@dataclass(frozen=True)
class ConsentRead:
    """The last complete read of the states of one opt-in."""

    read_at: datetime
    states: int
    refused: int = 0
    """How many are granted again in spite of a withdrawal, and neither accepted nor newer by their own date."""
    at_once: int = 0
    """How many were granted again without a newer date in such a mass that they look like a restored CRM; else 0."""
    changed_at: datetime | None = None
    """When the CRM last showed a change that didn't come from us."""


class ConsentObservations:
    """What is remembered of the states of consents. A subject is the keyed pseudonym of a record or of an address."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def find(self, opt_in_id: str, subjects: Collection[str]) -> dict[str, ObservedConsent]:
        """Return what is remembered of these subjects."""
        remembered: dict[str, ObservedConsent] = {}
        observed = _Observed()
        ordered = sorted(subjects)
        with self._engine.connect() as connection:
            for start in range(0, len(ordered), _SUBJECTS_AT_ONCE):
                query = _named(connection, opt_in_id, ordered[start : start + _SUBJECTS_AT_ONCE])
                remembered.update((row[0], observed[row[1:]]) for row in connection.execute(query).all())
        return remembered

    def save(
        self,
        opt_in_id: str,
        changed: Mapping[str, ObservedConsent],
        read: ConsentRead | None = None,
        *,
        read_at: datetime | None = None,
    ) -> None:
        """Store changed memories.

        If another run has read the opt-in completely since, no grant is stored: it might hide a newer withdrawal.

        Args:
            opt_in_id: the opt-in.
            changed: the memories, by subject.
            read: that the opt-in was read completely, if it was.
            read_at: when the read began that showed them; None for what no read showed.
        """
        key = normalize_word(opt_in_id)
        if not changed and read is None:
            return
        with self._engine.begin() as connection:
            if read_at is not None and self._is_read_since(connection, key, read_at):
                changed, read = without_grants(changed), None
            rows = [
                {"opt_in_id": key, "subject": subject, **{name: getattr(changed[subject], name) for name in _MEMORY}}
                for subject in sorted(changed)
            ]
            upsert(connection, observations, rows, update=_MEMORY)
            if read is not None:
                values = vars(read) | {"changed_at": read.changed_at or read.read_at}
                kept = ("changed_at",) if read.changed_at is None else ()
                columns = [name for name in values if name not in kept]
                upsert(connection, consent_read, [{"opt_in_id": key, **values}], update=columns)

    @staticmethod
    def _is_read_since(connection: Connection, key: str, read_at: datetime) -> bool:
        query = select(consent_read.c.read_at).where(consent_read.c.opt_in_id == key).with_for_update()
        newest = connection.execute(query).scalar()
        return newest is not None and newest > read_at

    def last_read(self, opt_in_id: str) -> ConsentRead | None:
        """Return the last complete read of an opt-in's states; None for an opt-in that has none."""
        columns = consent_read.c[tuple(ConsentRead.__dataclass_fields__)]
        query = select(*columns).where(consent_read.c.opt_in_id == normalize_word(opt_in_id))
        with self._engine.connect() as connection:
            row = connection.execute(query).one_or_none()
        return ConsentRead(*row) if row else None

    def refused(self, opt_in_id: str) -> list[KnownWithdrawal]:
        """Return the withdrawals of those who are granted again without being accepted, as of the last complete read.

        Entity and address are both the subject, which is the pseudonym of either: none is that of both.
        """
        read = self.last_read(opt_in_id)
        if read is None or not read.refused:
            return []
        columns = observations.c["subject", "withdrawn_at"]
        query = select(*columns).where(_is_refused(normalize_word(opt_in_id)))
        with self._engine.connect() as connection:
            return [KnownWithdrawal(subject, subject, at) for subject, at in connection.execute(query)]

    def mark_reported(self, opt_in_id: str, subjects: Collection[str], now: datetime) -> None:
        """Record that these are reported as granted again, so that a person may accept it from now on.

        Those that were reported before keep their time.
        """
        is_new = _is_refused(normalize_word(opt_in_id)) & observations.c.reported_at.is_(None)
        with self._engine.begin() as connection:
            for batch in batches(sorted(subjects)):
                concerned = update(observations).where(is_new, observations.c.subject.in_(batch))
                connection.execute(concerned.values(reported_at=now))

    def undated_regrants(
        self, opt_in_id: str, grants: Collection[tuple[str, datetime]]
    ) -> frozenset[tuple[str, datetime]]:
        """Return those of the grants whose subject's withdrawal is remembered, and that have got no date since.

        Args:
            opt_in_id: the opt-in.
            grants: the subjects with the times at which their consents count as granted.
        """
        known = self.find(opt_in_id, {subject for subject, _ in grants}) if grants else {}
        return frozenset(
            (subject, at)
            for subject, at in grants
            if subject in known and is_undated_regrant(known[subject], None if at == UNDATED_GRANT else at)
        )


def without_grants(changed: Mapping[str, ObservedConsent]) -> dict[str, ObservedConsent]:
    """Return those of an older read's memories that can't hide a withdrawal which a newer read has seen."""
    return {subject: seen for subject, seen in changed.items() if not seen.granted or seen.refused}


def accept_refused(connection: Connection, opt_in_id: str, accepted_at: datetime, accepted_by: str) -> None:
    """Accept the consents that are granted again and were reported before the acceptance.

    Args:
        connection: to the state database.
        opt_in_id: the opt-in.
        accepted_at: when it was accepted.
        accepted_by: the person who accepted it.
    """
    connection.execute(
        update(observations)
        .where(_is_refused(normalize_word(opt_in_id)), observations.c.reported_at < accepted_at)
        .values(accepted_at=accepted_at, accepted_by=accepted_by)
    )


def _is_refused(key: str) -> ColumnElement[bool]:
    return and_(
        observations.c.opt_in_id == key,
        observations.c.granted,
        observations.c.withdrawn_at.is_not(None),
        observations.c.accepted_at.is_(None),
    )


class _Observed(dict[tuple[Any, ...], ObservedConsent]):
    """What stored rows mean, each found out once: among millions many are the same."""

    def __missing__(self, stored: tuple[Any, ...]) -> ObservedConsent:
        granted, since, withdrawn_at, accepted_at, accepted_by, stated_at, until, reported_at, before = stored
        self[stored] = observed = ObservedConsent(
            granted,
            _moment(since),
            withdrawn_at and _moment(withdrawn_at),
            accepted_at and _moment(accepted_at),
            accepted_by,
            stated_at and _moment(stated_at),
            until and _moment(until),
            reported_at and _moment(reported_at),
            before and _moment(before),
        )
        return observed


def _moment(stored: str | datetime) -> datetime:
    if isinstance(stored, str):  # of SQLite
        return datetime.fromisoformat(stored).replace(tzinfo=UTC)
    return stored.astimezone(UTC)


def _named(connection: Connection, opt_in_id: str, subjects: Sequence[str]) -> Select[Any]:
    """Return a query for many subjects that passes them as one value, with times as they are stored."""
    subject: Any = observations.c.subject
    if connection.dialect.name == "postgresql":
        is_named = subject == func.any(func.string_to_array(",".join(subjects), ","))
    else:
        is_named = subject.in_(select(func.json_each(json.dumps(subjects)).table_valued("value").c.value))
    return select(subject, *_STORED).where(observations.c.opt_in_id == normalize_word(opt_in_id), is_named)
