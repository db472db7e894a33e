"""Bounces as Salesforce keeps them: a reason and a date on the record."""

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

from campaign_sync.config.crm_salesforce import SalesforceSettings
from campaign_sync.crm.mirror.source import ADDRESS_STATE_COLUMNS, BounceMark, SourceRows
from campaign_sync.crm.salesforce.org_records import PERSON_ACCOUNT, OrgTables, rows_of
from campaign_sync.crm.web_api.shared_records import OpenRecords
from campaign_sync.domain.feedback import BounceKind, bounce_precedence
from campaign_sync.domain.instant import parse_instant

_OWN: Final = re.compile(r"(hard|limit): (\S+) \((.+)\)")
"""The reason that this product writes: the kind, the source and the mandator."""

_LONGEST = 255


def address_states(records: OpenRecords, tables: OrgTables, settings: SalesforceSettings) -> SourceRows:
    """Return the bounces of all records; of converted leads, too. See `SourceReader.address_states`."""
    yielded = 0

    def chunks() -> Iterator[Sequence[tuple[str | None, ...]]]:
        nonlocal yielded
        for entity_type, table in tables.people.items():
            fields, email = settings.bounce_fields(entity_type), settings.field_of(entity_type, "email")
            if fields is None:
                continue
            for chunk in rows_of(records, table):
                rows = [
                    (row[email], *_read(row[fields.reason], row[fields.at]))
                    for row in chunk
                    if row[email] and (row[fields.reason] or row[fields.at]) and row.get(PERSON_ACCOUNT) != "true"
                ]
                yielded += len(rows)
                yield rows

    return SourceRows(ADDRESS_STATE_COLUMNS, chunks(), lambda: yielded)


def reason_of(bounce: BounceMark) -> str:
    """Return the text that says what bounced, so that it is understood when it is read again."""
    return f"{bounce.kind.value}: {bounce.source} ({bounce.mandator})"[:_LONGEST]


def takes_precedence(reason: str | None, at: str | None, bounce: BounceMark, written_at: datetime) -> bool:
    """Return whether a record shows a bounce already, or one that takes precedence."""
    if not reason and not at:
        return False
    kind, moment = _read(reason, at)[0], parse_instant(at)
    return moment is None or bounce_precedence(kind, moment) >= bounce_precedence(bounce.kind, written_at)


def _read(reason: str | None, at: str | None) -> tuple[str, str | None, str | None, str]:
    """Return kind, time, mandator and source. What isn't from this product is a final bounce that Salesforce saw."""
    own = _OWN.fullmatch(reason or "")
    if own is None:
        return BounceKind.HARD.value, at, None, "Salesforce"
    return own[1], at, own[3], own[2]
