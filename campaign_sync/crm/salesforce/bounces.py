"""Bounces as Salesforce keeps them: a reason and a date on the record."""

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

from campaign_sync.config.crm_salesforce import SalesforceSettings
from campaign_sync.crm.mirror.source import ADDRESS_STATE_COLUMNS, BounceMark, SourceRows
from campaign_sync.crm.salesforce.api import SalesforceApi
from campaign_sync.crm.salesforce.bulk import BulkQuery
from campaign_sync.crm.salesforce.schema import OBJECTS
from campaign_sync.domain.feedback import BounceKind, bounce_precedence
from campaign_sync.domain.instant import parse_instant

_OWN: Final = re.compile(r"(hard|limit): (\S+) \((.+)\)")
"""The reason that this product writes: the kind, the source and the mandator."""

_LONGEST = 255


def address_states(api: SalesforceApi, settings: SalesforceSettings) -> SourceRows:
    """Return the bounces of all records; of converted leads, too. See `SourceReader.address_states`."""
    yielded = 0

    def chunks() -> Iterator[Sequence[tuple[str | None, ...]]]:
        nonlocal yielded
        for entity_type in settings.entity_types:
            fields = settings.bounce_fields(entity_type)
            if fields is None:
                continue
            email, sobject = settings.field_of(entity_type, "email"), OBJECTS[entity_type]
            paths = ("Id", email, fields.reason, fields.at)
            source = f"{sobject} WHERE {fields.at} != null OR {fields.reason} != null"
            for chunk in BulkQuery(api, paths, source, f"bounces of {sobject}").chunks():
                rows = [(address, *_read(reason, at)) for _, address, reason, at in chunk if address]
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
