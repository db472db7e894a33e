"""The consents of people: checkboxes, consent records, and the opt-out from all e-mail."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from itertools import chain

from campaign_sync.config.crm_salesforce import ConsentFields, SalesforceOptInSettings, SalesforceSettings
from campaign_sync.crm.mirror.source import STATE_COLUMNS, SourceRows
from campaign_sync.crm.salesforce.api import SalesforceApi
from campaign_sync.crm.salesforce.individuals import Individuals
from campaign_sync.crm.salesforce.merged import MergedRecord, kept_contacts, merged_records
from campaign_sync.crm.salesforce.named_records import id_of
from campaign_sync.crm.salesforce.opt_outs import opt_out_of
from campaign_sync.crm.salesforce.org_records import EMAIL, INDIVIDUAL, PERSON_ACCOUNT, OrgTables, Row, rows_of
from campaign_sync.crm.salesforce.schema import OBJECTS
from campaign_sync.crm.salesforce.stated_consents import CONSENT_RECORD, end_of_day, of_checkbox, of_record
from campaign_sync.crm.web_api.shared_records import OpenRecords
from campaign_sync.domain.consent import ConsentKind, named_opt_ins
from campaign_sync.domain.entity import EntityType

_SOURCE = "Salesforce"

State = tuple[str | None, ...]


@dataclass(frozen=True)
class ConsentReader:
    """Reads consents as they are now.

    Args:
        records: those of the org.
        tables: their names.
        settings: the section `crm`.
        purposes: the opt-ins of each purpose, by the purpose's id.
        now: the time of the read.
    """

    records: OpenRecords
    tables: OrgTables
    settings: SalesforceSettings
    purposes: Mapping[str, Sequence[str]]
    now: datetime

    def states(self, opt_in_ids: Collection[str] | None) -> SourceRows:
        """Return the states of these opt-ins, and who opted out of all e-mail. See `SourceReader.consent_states`."""
        needed = named_opt_ins(self.settings.opt_ins, opt_in_ids)
        purposes = {
            purpose_id: opt_ins
            for purpose_id, names in self.purposes.items()
            if (opt_ins := [name for name in names if name in needed])
        }
        yielded = 0

        def chunks() -> Iterator[Sequence[State]]:
            nonlocal yielded
            merged = merged_records(self.records, self.tables)
            with closing(Individuals(self.records, self.tables, with_people=bool(purposes))) as individuals:
                individuals.add_merged(merged)
                for chunk in chain(
                    self._of_people(needed, individuals, kept_contacts(merged)),
                    self._of_purposes(purposes, individuals),
                    self._of_merged(needed, individuals, merged),
                ):
                    yielded += len(chunk)
                    yield chunk

        # All records came, or there would be no copy of them; a record makes several states, or none.
        return SourceRows(STATE_COLUMNS, chunks(), lambda: yielded)

    def _of_people(
        self,
        opt_ins: Mapping[str, SalesforceOptInSettings],
        individuals: Individuals,
        kept: Mapping[str | None, str],
    ) -> Iterator[Sequence[State]]:
        """Yield the states of people; `kept` has the contacts that are left of merges, by those that are gone."""
        for entity_type, table in self.tables.people.items():
            fields = _fields(opt_ins, entity_type)
            for chunk in rows_of(self.records, table):
                rows = [_of_contact_kept(row, kept) for row in chunk if row.get(PERSON_ACCOUNT) != "true"]
                individuals.add_people(entity_type, rows)
                opted_out = individuals.opted_out([row.get(INDIVIDUAL) for row in rows])
                yield [
                    state
                    for row in rows
                    for state in _states_of_record(entity_type, row, fields, opted_out.get(row.get(INDIVIDUAL)))
                ]

    def _of_purposes(
        self, purposes: Mapping[str, Sequence[str]], individuals: Individuals
    ) -> Iterator[Sequence[State]]:
        """Yield the states of consent records; `purposes` has the opt-ins of each."""
        if not purposes or self.tables.consents is None:
            return
        for chunk in rows_of(self.records, self.tables.consents):
            rows = [row for row in chunk if row["DataUsePurposeId"] in purposes and row["ContactPointType"] == EMAIL]
            holders = individuals.people([row["PartyId"] for row in rows])
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
                for entity_type, entity_id, only_withdraws in holders.get(row["PartyId"], ())
                if not only_withdraws or stated.is_withdrawn
                for opt_in_id in purposes[row["DataUsePurposeId"] or ""]
            ]

    def _of_merged(
        self, opt_ins: Mapping[str, SalesforceOptInSettings], individuals: Individuals, merged: Sequence[MergedRecord]
    ) -> Iterator[Sequence[State]]:
        opted_out = individuals.opted_out([record.individual for record in merged])
        yield [
            state
            for record in merged
            for state in record.states(_fields(opt_ins, record.kind), opted_out.get(record.individual))
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


def _of_contact_kept(row: Row, kept: Mapping[str | None, str]) -> Row:
    """Return a record; a lead whose contact was merged is one of the contact that is left."""
    contact = kept.get(row.get("ConvertedContactId"))
    return {**row, "ConvertedContactId": contact} if contact else row


def _fields(opt_ins: Mapping[str, SalesforceOptInSettings], entity_type: EntityType) -> dict[str, ConsentFields]:
    return {key: opt_in.field[entity_type] for key, opt_in in opt_ins.items() if entity_type in opt_in.field}


def _states_of_record(
    entity_type: EntityType,
    row: Row,
    fields: Mapping[str, ConsentFields],
    opt_out: str | None,
) -> Iterator[State]:
    """Yield the states of a record; `opt_out` is the checkbox of its individual that is ticked."""
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
    if opted_out := opt_out_of(row, opt_out):
        evidence = f"{OBJECTS[entity_type]}.{opted_out}"
        yield kind, entity_id, None, None, ConsentKind.WITHDRAWN.value, opted_out_at, _SOURCE, evidence
