"""Withdrawals of purposes and topics of Customer Insights - Journeys. Their consents belong to addresses."""

import logging
import uuid
from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Any

from campaign_sync.crm.address_key import address_key
from campaign_sync.crm.dataverse.api import record_path
from campaign_sync.crm.dataverse.batch import Operation
from campaign_sync.crm.dataverse.consents import (
    CONSENT_COLUMNS,
    CONSENTS,
    EMAIL,
    FORM,
    INTERNAL,
    OF_EMAIL,
    OF_PURPOSE,
    OF_TOPIC,
    OPTED_IN,
    OPTED_OUT,
    POINT_TYPE,
    PREFERENCE_PAGE,
    Subject,
)
from campaign_sync.crm.dataverse.environment import Environment
from campaign_sync.crm.dataverse.fetch_xml import CREATED, Condition, FetchXml
from campaign_sync.crm.dataverse.metadata import Table
from campaign_sync.crm.dataverse.pages import Record
from campaign_sync.crm.dataverse.record_changes import change, is_newer
from campaign_sync.crm.mirror.source import Withdrawal
from campaign_sync.domain.instant import parse_instant

_log = logging.getLogger(__name__)

_CONSENT_IDS = uuid.UUID("b0d3b3c8-5c0f-4d6e-9f0a-0d9f6f8a4c11")
"""Namespace of the ids of consents that are made for an address without any. It must never change."""

_IDS = 4
"""How many ids an address can have. The next is taken if the record of the one before has got another address."""

CHANGED_COLUMNS = ("msdynmkt_value", "msdynmkt_source", "msdynmkt_reason")
"""The columns that are written of a consent that there is."""

NEW_COLUMNS = (
    *("msdynmkt_contactpointvalue", POINT_TYPE, "msdynmkt_contactpointconsenttype"),
    *("msdynmkt_logicalreason", "msdynmkt_purposeid", "msdynmkt_topicid"),
)
"""Those that are written besides of a new one."""

_NO_REASON, _LONGEST_REASON = 534119999, 500


class PurposeWithdrawals:
    """Plans how withdrawals are written.

    Args:
        environment: what is written.
        subject: what the consents are about.
    """

    def __init__(self, environment: Environment, subject: Subject) -> None:
        self._environment, self._subject = environment, subject

    def plan(self, withdrawals: Sequence[Withdrawal]) -> dict[str, list[Operation]]:
        """Return what is to be written for each withdrawal, by its id. Nothing means that it needs no change."""
        table = self._environment.require(CONSENTS, CONSENT_COLUMNS)
        by_key: dict[str, list[Withdrawal]] = {}
        for withdrawal in withdrawals:
            if withdrawal.email and (key := address_key(withdrawal.email)):
                by_key.setdefault(key, []).append(withdrawal)
        newest = {key: max(items, key=lambda item: item.occurred_at) for key, items in by_key.items()}
        records = self._records_of(table, by_key)
        operations = {key: _changes(table, records[key], newest[key]) for key in by_key if key in records}
        operations |= self._new_consents(table, {key: newest[key] for key in by_key if key not in records})
        return {item.event_id: operations[key] for key, items in by_key.items() if key in operations for item in items}

    def _records_of(self, table: Table, by_key: dict[str, list[Withdrawal]]) -> dict[str | None, list[Record]]:
        """Return the consents of addresses."""
        spellings = {text for key, items in by_key.items() for text in (key, *(item.email or "" for item in items))}
        records: defaultdict[str | None, list[Record]] = defaultdict(list)
        for record in self._read(table, "msdynmkt_contactpointvalue", spellings, OF_EMAIL):
            if self._subject.matches(record):
                records[address_key(record.get("msdynmkt_contactpointvalue"))].append(record)
        return dict(records)

    def _read(self, table: Table, column: str, values: Collection[str], *conditions: Condition) -> list[Record]:
        if not values:
            return []
        having = Condition(column, "in", tuple(sorted(values)))
        query = FetchXml.of_table(CONSENTS, table.key, CONSENT_COLUMNS, [*conditions, having])
        return [record for page in self._environment.pages(query, "consents") for record in page]

    def _new_consents(self, table: Table, withdrawals: dict[str, Withdrawal]) -> dict[str, list[Operation]]:
        """Return what makes a consent for addresses without any; nothing for those whose ids are all taken."""
        ids = {key: self._ids(key) for key in withdrawals}
        wanted = {identifier for own in ids.values() for identifier in own}
        taken = {str(record[table.key]).lower() for record in self._read(table, table.key, wanted)}
        return {
            key: [self._new_consent(table, free[0], key, withdrawal)]
            for key, withdrawal in withdrawals.items()
            if (free := [identifier for identifier in ids[key] if identifier not in taken])
        }

    def _ids(self, key: str) -> list[str]:
        name = "\n".join((key, self._subject.purpose_id, self._subject.topic_id or ""))
        return [str(uuid.uuid5(_CONSENT_IDS, f"{name}\n{number}" if number else name)) for number in range(_IDS)]

    def _new_consent(self, table: Table, identifier: str, key: str, withdrawal: Withdrawal) -> Operation:
        """Return what makes a consent. A record that has come meanwhile isn't overwritten, but read again."""
        subject = self._subject
        references = {"msdynmkt_purpose": subject.purpose_id, "msdynmkt_topic": subject.topic_id}
        body = {
            "msdynmkt_contactpointvalue": (withdrawal.email or key).strip(),
            POINT_TYPE: EMAIL,
            "msdynmkt_contactpointconsenttype": OF_TOPIC if subject.topic_id else OF_PURPOSE,
            "msdynmkt_logicalreason": _NO_REASON,
            **_opted_out(withdrawal),
        }
        for target, reference_id in references.items():
            if reference_id:
                navigation = self._environment.metadata.references(CONSENTS, f"{target}id")[0].navigation
                entity_set = self._environment.table(target).entity_set
                body[f"{navigation}@odata.bind"] = f"/{entity_set}({reference_id})"
        return Operation("PATCH", record_path(table.entity_set, identifier), body, {"If-None-Match": "*"})


def _changes(table: Table, records: Sequence[Record], withdrawal: Withdrawal) -> list[Operation]:
    """Return what changes in the consents of an address."""
    if any(_is_given_since(record, withdrawal) for record in records):
        _log.warning(
            "a consent in Dynamics 365 was given on a form or preference page after its person unsubscribed, and is "
            "kept; the person stays out of lists until the grant is accepted as one without a date"
        )
        return []
    return [
        change(table, record, _opted_out(withdrawal)) for record in records if record.get("msdynmkt_value") != OPTED_OUT
    ]


def _is_given_since(record: Record, withdrawal: Withdrawal) -> bool:
    """Return whether people gave this consent themselves after they unsubscribed: the record didn't exist before.

    When a record was last changed says nothing: every edit moves it.
    """
    created = parse_instant(record.get(CREATED))
    return (
        record.get("msdynmkt_value") == OPTED_IN
        and not record.get("statecode")
        and record.get("msdynmkt_source") in (PREFERENCE_PAGE, FORM)
        and created is not None
        and is_newer(created, withdrawal.occurred_at)
    )


def _opted_out(withdrawal: Withdrawal) -> dict[str, Any]:
    reason = f"{withdrawal.source}, {withdrawal.occurred_at:%Y-%m-%d %H:%M} UTC"
    return {
        "msdynmkt_value": OPTED_OUT,
        "msdynmkt_source": INTERNAL,
        "msdynmkt_reason": reason[:_LONGEST_REASON],
    }
