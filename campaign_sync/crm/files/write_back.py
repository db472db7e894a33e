"""Files of withdrawals and bounces for the CRM: each complete or not there, and never one replaced."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TypeVar
from uuid import uuid4

from campaign_sync.config.crm_files import FilesSettings
from campaign_sync.crm.files.place import Place
from campaign_sync.crm.mirror.source import BounceMark, Withdrawal
from campaign_sync.delivered_files.file_source import FileSource
from campaign_sync.domain.consent import ConsentKind
from campaign_sync.domain.entity import Entity

WITHDRAWAL_COLUMNS = (
    *("id", "entity_type", "entity_id", "email", "opt_in_id", "mandator"),
    *("kind", "occurred_at", "source", "evidence"),
)
"""The header line of a file of withdrawals: those of the contract's consent events, with address and mandator."""

BOUNCE_COLUMNS = (
    *("id", "address", "entity_type", "entity_id", "email"),
    *("bounce_kind", "bounced_at", "mandator", "source"),
)
"""The header line of a file of bounces. An address of several records has a row for each, all with the same id."""

ROWS_PER_FILE = 10_000

Item = TypeVar("Item", Withdrawal, BounceMark)
_Values = Sequence[str | None]


class FileWriteBack:
    """Leaves feedback for the CRM, in the folder of `crm.write_back`.

    Args:
        settings: the section `crm`.
    """

    def __init__(self, settings: FilesSettings) -> None:
        self._settings = settings

    def write_withdrawals(self, withdrawals: Sequence[Withdrawal]) -> Iterator[Sequence[Withdrawal]]:
        """Write withdrawals, and yield those of each file as soon as it is there. See `Source.write_withdrawals`."""
        for part in _parts(withdrawals):
            self._write("withdrawals", WITHDRAWAL_COLUMNS, map(_withdrawal_row, part))
            yield part

    def write_bounces(self, bounces: Sequence[BounceMark]) -> Iterator[Sequence[BounceMark]]:
        """Write bounces in the same way. See `Source.write_bounces`."""
        for part in _parts(bounces):
            self._write("bounces", BOUNCE_COLUMNS, (row for bounce in part for row in _bounce_rows(bounce)))
            yield part

    def probe(self) -> None:
        """Raise CrmError if no file can be left there, as far as that shows without writing."""
        with Place(self._settings, "write_back") as place:
            place.attempt(lambda folder: folder.probe_writing())

    def _write(self, kind: str, columns: Sequence[str], rows: Iterable[_Values]) -> None:
        content = _csv(columns, rows, self._settings.format.delimiter)

        def write(folder: FileSource) -> None:
            # A name of its own for every attempt: the one before may have succeeded without an answer.
            folder.write(f"{kind}_{datetime.now(UTC):%Y%m%dT%H%M%SZ}_{uuid4().hex}.csv", content)

        with Place(self._settings, "write_back") as place:
            place.attempt(write)


def _parts(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), ROWS_PER_FILE):
        yield items[start : start + ROWS_PER_FILE]


def _withdrawal_row(withdrawal: Withdrawal) -> _Values:
    entity = withdrawal.entity
    return (
        *(withdrawal.event_id, entity.entity_type.value, entity.entity_id, withdrawal.email),
        *(withdrawal.opt_in_id, withdrawal.mandator, ConsentKind.WITHDRAWN.value),
        *(_utc(withdrawal.occurred_at), withdrawal.source, withdrawal.evidence),
    )


def _bounce_rows(bounce: BounceMark) -> Iterator[_Values]:
    holders: Sequence[tuple[Entity | None, str | None]] = bounce.holders or ((None, None),)
    for entity, email in holders:
        yield (
            *(bounce.event_id, bounce.address),
            *(entity and entity.entity_type.value, entity and entity.entity_id, email),
            *(bounce.kind.value, _utc(bounce.occurred_at), bounce.mandator, bounce.source),
        )


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat()


def _csv(columns: Sequence[str], rows: Iterable[_Values], delimiter: str) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue().encode()
