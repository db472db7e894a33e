"""The consents of people: checkboxes, consent records, and the opt-out from all e-mail."""

import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime

from campaign_sync.config.crm_salesforce import ConsentFields, SalesforceSettings
from campaign_sync.crm.mirror.source import STATE_COLUMNS, SourceRows
from campaign_sync.crm.port import CrmSetupError
from campaign_sync.crm.salesforce.api import SalesforceApi, literal, literals
from campaign_sync.crm.salesforce.bulk import BulkQuery, Row
from campaign_sync.crm.salesforce.ids import is_id
from campaign_sync.crm.salesforce.merged import MergedRecords
from campaign_sync.crm.salesforce.opt_outs import opt_out_paths, ticked
from campaign_sync.crm.salesforce.schema import OBJECTS, Schema
from campaign_sync.crm.salesforce.stated_consents import (
    BRAND,
    CONSENT_RECORD,
    consent_paths,
    end_of_day,
    of_checkbox,
    of_record,
)
from campaign_sync.domain.consent import ConsentKind, named_opt_ins
from campaign_sync.domain.entity import EntityType
from campaign_sync.domain.text import normalize_text

_SOURCE = "Salesforce"

_CONVERTED = ("IsConverted", "ConvertedContactId", "ConvertedDate")

State = tuple[str | None, ...]


@dataclass(frozen=True)
class ConsentReader:
    """Reads consents as they are now.

    Args:
        api: of the org.
        schema: of the org.
        settings: the section `crm`.
        now: the time of the read.
    """

    api: SalesforceApi
    schema: Schema
    settings: SalesforceSettings
    now: datetime

    def states(self, opt_in_ids: Collection[str] | None) -> SourceRows:
        """Return the states of these opt-ins, and who opted out of all e-mail. See `SourceReader.consent_states`."""
        needed = named_opt_ins(self.settings.opt_ins, opt_in_ids)
        yielded = 0

        def chunks() -> Iterator[Sequence[State]]:
            nonlocal yielded
            purposes = purpose_ids(self.api, {key: opt_in.purpose for key, opt_in in needed.items() if opt_in.purpose})
            fields = {
                entity_type: {
                    key: opt_in.field[entity_type] for key, opt_in in needed.items() if entity_type in opt_in.field
                }
                for entity_type in self.settings.entity_types
            }
            merged = MergedRecords(self.api, self.schema, fields)
            for entity_type in self.settings.entity_types:
                for chunk in self._of_fields(entity_type, fields[entity_type]):
                    yielded += len(chunk)
                    yield chunk
            if purposes:
                for chunk in self._of_purposes(purposes, merged):
                    yielded += len(chunk)
                    yield chunk
            of_merged = list(merged.states())
            yielded += len(of_merged)
            yield of_merged

        # Every query is compared with Salesforce's own count; a row makes several states, or none.
        return SourceRows(STATE_COLUMNS, chunks(), lambda: yielded)

    def _of_fields(self, entity_type: EntityType, fields: Mapping[str, ConsentFields]) -> Iterator[Sequence[State]]:
        is_account, is_lead = entity_type is EntityType.ACCOUNT, entity_type is EntityType.LEAD
        if is_account and not fields:
            return
        names = [name for field in fields.values() for name in (field.granted, field.at) if name]
        opted_out = opt_out_paths(self.schema, entity_type)
        paths = list(dict.fromkeys(["Id", *opted_out, *names, *(_CONVERTED if is_lead else ())]))
        source = self.schema.business_accounts() if is_account else OBJECTS[entity_type]
        query = BulkQuery(self.api, paths, source, f"consents of {OBJECTS[entity_type]}")
        for chunk in query.chunks():
            yield [
                state
                for row in chunk
                for state in _states_of_record(entity_type, dict(zip(paths, row, strict=True)), fields, opted_out)
            ]

    def _of_purposes(self, opt_ins: Mapping[str, Sequence[str]], merged: MergedRecords) -> Iterator[Sequence[State]]:
        """Yield the states of consent records; `opt_ins` has those of each purpose."""
        paths = consent_paths(self.schema.has(CONSENT_RECORD, BRAND))
        query = BulkQuery(
            self.api,
            paths,
            f"{CONSENT_RECORD} WHERE ContactPointType = 'Email' AND DataUsePurposeId IN {literals(sorted(opt_ins))}",
            "consent records",
        )
        with closing(_Parties(self.api, merged)) as parties:
            for chunk in query.chunks():
                rows = [dict(zip(paths, row, strict=True)) for row in chunk]
                holders = parties.of([row["PartyId"] for row in rows])
                yield [
                    (
                        entity_type,
                        entity_id,
                        None,
                        opt_in_id,
                        stated.kind,
                        stated.at,
                        row["CaptureSource"],
                        CONSENT_RECORD,
                    )
                    for row in rows
                    for stated in [of_record(row, self.now)]
                    for entity_type, entity_id, converted in holders.get(row["PartyId"], ())
                    if not converted or stated.is_withdrawn
                    for opt_in_id in opt_ins[row["DataUsePurposeId"] or ""]
                ]


def purpose_ids(api: SalesforceApi, purposes: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the opt-ins of each purpose, by the purpose's id.

    Args:
        api: of the org.
        purposes: name or id of the purpose of each opt-in.

    Raises:
        CrmError: Salesforce has no such purpose, or several of the name.
    """
    opt_ins: dict[str, list[str]] = {}
    for opt_in_id, name in purposes.items():
        place = f"crm.opt_ins.{opt_in_id}.purpose"
        opt_ins.setdefault(id_of(api, "DataUsePurpose", name, place), []).append(opt_in_id)
    return opt_ins


def id_of(api: SalesforceApi, sobject: str, name: str, place: str) -> str:
    """Return the id of the only record of an object with this name, or id.

    Raises:
        CrmSetupError: there is none, or there are several; the message names their ids.
    """
    key = "Id" if is_id(name) else "Name"
    rows = list(api.rows(f"SELECT Id, Name FROM {sobject} WHERE {key} = {literal(name)}", place))  # noqa: S608
    ids = sorted(row["Id"] for row in rows if key == "Id" or normalize_text(row["Name"] or "") == normalize_text(name))
    if len(ids) == 1:
        return str(ids[0])
    if ids:
        raise CrmSetupError(
            f"{place}: Salesforce has {len(ids)} {sobject} records {name!r}; name it by its id: {', '.join(ids)}"
        )
    raise CrmSetupError(f"{place}: Salesforce has no {sobject} {name!r} that the user may see; correct the name or id")


def _states_of_record(
    entity_type: EntityType,
    row: Mapping[str, str | None],
    fields: Mapping[str, ConsentFields],
    opt_outs: Sequence[str],
) -> Iterator[State]:
    kind, entity_id, opted_out_at = entity_type.value, row["Id"], None
    stated = {
        opt_in_id: (field, of_checkbox(row[field.granted], row[field.at] if field.at else None))
        for opt_in_id, field in fields.items()
    }
    if row.get("IsConverted") == "true":
        # The contact goes on with what the lead said; its withdrawals are as old as the conversion at the latest.
        kind, entity_id, opted_out_at = (
            EntityType.CONTACT.value,
            row["ConvertedContactId"],
            end_of_day(row["ConvertedDate"]),
        )
        stated = {opt_in_id: (field, state) for opt_in_id, (field, state) in stated.items() if state.is_withdrawn}
        if entity_id is None:
            return
    for opt_in_id, (field, state) in stated.items():
        yield kind, entity_id, None, opt_in_id, state.kind, state.at, _SOURCE, f"{OBJECTS[entity_type]}.{field.granted}"
    if opted_out := ticked(row, opt_outs):
        evidence = f"{OBJECTS[entity_type]}.{opted_out}"
        yield kind, entity_id, None, None, ConsentKind.WITHDRAWN.value, opted_out_at, _SOURCE, evidence


class _Parties:
    """Which contacts and leads belong to an individual, in a file that is gone when it is closed.

    Args:
        api: of the org.
        merged: its records that are gone.
    """

    def __init__(self, api: SalesforceApi, merged: MergedRecords) -> None:
        self._connection = sqlite3.connect("")
        try:
            self._load(api, merged)
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        """Remove the file."""
        self._connection.close()

    def of(self, individuals: Sequence[str | None]) -> dict[str | None, list[tuple[str, str, bool]]]:
        """Return type and id of the records of each individual, and whether only its withdrawals count for a record.

        That is so for a converted lead's contact, and for what is left of a merge.
        """
        holders: dict[str | None, list[tuple[str, str, bool]]] = {}
        self._connection.execute("DELETE FROM wanted")
        self._connection.executemany(
            "INSERT OR IGNORE INTO wanted VALUES (?)", [(individual,) for individual in individuals if individual]
        )
        query = "SELECT individual, entity_type, entity_id, converted FROM party JOIN wanted USING (individual)"
        for individual, entity_type, entity_id, converted in self._connection.execute(query):
            holders.setdefault(individual, []).append((entity_type, entity_id, bool(converted)))
        return holders

    def _load(self, api: SalesforceApi, merged: MergedRecords) -> None:
        self._connection.execute(
            "CREATE TABLE party (individual TEXT, entity_type TEXT, entity_id TEXT, converted INT)"
        )
        self._connection.execute("CREATE TABLE wanted (individual TEXT PRIMARY KEY)")
        contacts = BulkQuery(
            api, ("IndividualId", "Id"), "Contact WHERE IndividualId != null", "individuals of Contact"
        )
        for chunk in contacts.chunks():
            self._insert([(individual, contact, EntityType.CONTACT.value, 0) for individual, contact in chunk])
        paths = ("IndividualId", "Id", "IsConverted", "ConvertedContactId")
        for chunk in BulkQuery(api, paths, "Lead WHERE IndividualId != null", "individuals of Lead").chunks():
            self._insert([_party_of_lead(row) for row in chunk])
        self._insert([(*party, 1) for party in merged.parties()])
        self._connection.execute("CREATE INDEX party_individual ON party (individual)")

    def _insert(self, rows: Sequence[tuple[str | None, str | None, str, int]]) -> None:
        statement = "INSERT INTO party (individual, entity_id, entity_type, converted) VALUES (?, ?, ?, ?)"
        self._connection.executemany(statement, [row for row in rows if row[1]])


def _party_of_lead(row: Row) -> tuple[str | None, str | None, str, int]:
    individual, lead, is_converted, contact = row
    if is_converted == "true":
        return individual, contact, EntityType.CONTACT.value, 1
    return individual, lead, EntityType.LEAD.value, 0
