"""Who asked about whom, and who accepted an exception: the log for those who supervise it."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from uuid import uuid4

from sqlalchemy import Connection, Engine, select

from campaign_sync.storage.erasure_tables import erasure_subject
from campaign_sync.storage.id_batches import batches
from campaign_sync.storage.tables import approval, feedback_import, inquiry, size_acceptance, withdrawal_acceptance

_sizes, _withdrawals, _approvals, _dismissed = (
    size_acceptance.c,
    withdrawal_acceptance.c,
    approval.c,
    feedback_import.c,
)

_EXCEPTIONS = (
    ("run --accept-size", _sizes.accepted_at, _sizes.accepted_by, _sizes["mandator", "list"]),
    ("run --accept-withdrawals", _withdrawals.accepted_at, _withdrawals.accepted_by, _withdrawals["mandator", "list"]),
    ("approve", _approvals.approved_at, _approvals.approved_by, _approvals["mandator", "list"]),
    ("feedback dismiss", _dismissed.dismissed_at, _dismissed.dismissed_by, _dismissed["mandator",]),
)
"""By command: when an exception was accepted, by whom, and where."""


@dataclass(frozen=True)
class Inquiry:
    """That a person asked about people, or accepted an exception."""

    asked_at: datetime
    asked_by: str
    """The user and the machine; who accepted an exception may also be known by the proxy's login."""
    command: str
    subject: str | None = None
    """The keyed pseudonym of the address or record that was asked about, of an erased one its hash by the key of
    erasures; None if it was about many, or none."""
    mandator: str | None = None
    list: str | None = None


class Inquiries:
    """The log of inquiries. Rows are only ever added, and purged by age.

    Args:
        engine: the state database.
        pseudonym: returns the keyed pseudonym of a text.
        hashed: returns the hash of a pseudonym by the key of erasures; None where that isn't known.
    """

    def __init__(self, engine: Engine, pseudonym: Callable[[str], str], hashed: Callable[[str], str | None]) -> None:
        self._engine, self._pseudonym, self._hashed = engine, pseudonym, hashed

    def record(
        self,
        command: str,
        asked_by: str,
        now: datetime,
        *,
        about: str | None = None,
        mandator: str | None = None,
        name: str | None = None,
    ) -> None:
        """Record an inquiry. Call it before its answer is shown.

        Args:
            command: the command that answers.
            asked_by: the user.
            now: the current time.
            about: the normalized address or the record (`contact:4711`) that it is about; only its pseudonym is kept,
                or its hash if it was erased.
            mandator: the only mandator that it is about.
            name: the only list.

        Raises:
            StateError: it can't be recorded. Then no answer may be shown.
        """
        with self._engine.begin() as connection:
            subject = self._subject(connection, about) if about else None
            asked = Inquiry(now, asked_by, command, subject, mandator, name)
            connection.execute(inquiry.insert().values(id=str(uuid4()), **vars(asked)))

    def _subject(self, connection: Connection, about: str) -> str:
        pseudonym = self._pseudonym(about)
        hashed = self._hashed(pseudonym)
        is_erased = select(erasure_subject.c.digest).where(erasure_subject.c.digest == hashed)
        return hashed if hashed and connection.execute(is_erased).first() else pseudonym

    def about(self, people: Collection[str]) -> list[Inquiry]:
        """Return who asked about these addresses or records, newest first."""
        pseudonyms = {self._pseudonym(person) for person in people}
        subjects = sorted(pseudonyms.union(filter(None, map(self._hashed, pseudonyms))))
        query = select(*inquiry.c[tuple(Inquiry.__dataclass_fields__)])
        with self._engine.connect() as connection:
            entries = [
                Inquiry(*row)
                for batch in batches(subjects)
                for row in connection.execute(query.where(inquiry.c.subject.in_(batch)))
            ]
        return sorted(entries, key=lambda entry: entry.asked_at, reverse=True)

    def since(self, moment: datetime) -> list[Inquiry]:
        """Return every inquiry and every accepted exception since a moment, newest first."""
        asked = select(*inquiry.c[tuple(Inquiry.__dataclass_fields__)]).where(inquiry.c.asked_at >= moment)
        with self._engine.connect() as connection:
            entries = [Inquiry(*row) for row in connection.execute(asked)]
            for command, at, by, place in _EXCEPTIONS:
                for accepted_at, accepted_by, *where in connection.execute(select(at, by, *place).where(at >= moment)):
                    entries.append(Inquiry(accepted_at, accepted_by, command, None, *where))
        return sorted(entries, key=lambda entry: entry.asked_at, reverse=True)
