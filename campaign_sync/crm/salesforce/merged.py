"""Records that were merged into others. What they withdrew counts for the record that is left."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from campaign_sync.config.crm_salesforce import ConsentFields
from campaign_sync.crm.salesforce.api import SalesforceApi
from campaign_sync.crm.salesforce.bulk import BulkQuery
from campaign_sync.crm.salesforce.opt_outs import opt_out_paths, ticked
from campaign_sync.crm.salesforce.schema import OBJECTS, Schema
from campaign_sync.crm.salesforce.stated_consents import of_checkbox
from campaign_sync.domain.consent import ConsentKind
from campaign_sync.domain.entity import EntityType

_SOURCE = "Salesforce"

_MASTER = "MasterRecordId"
"""The record that is left; set on a record that was deleted by a merge."""

_MERGED_AT = "SystemModstamp"
"""Nothing changes a deleted record, so this is the time of the merge."""

_INDIVIDUAL = "IndividualId"

_ELSEWHERE = {
    EntityType.CONTACT: "Account.MasterRecord.PersonContactId",
    EntityType.LEAD: "MasterRecord.ConvertedContactId",
}
"""The contact that is left where a person account was merged, or where the lead that was left was converted."""

Row = Mapping[str, str | None]


@dataclass(frozen=True)
class _Merged:
    """A record that is gone, and the one that is left."""

    kind: EntityType
    row: Row
    entity_type: EntityType
    entity_id: str


@dataclass(frozen=True)
class MergedRecords:
    """The records that merges deleted, while Salesforce has them in its recycle bin: for fifteen days.

    They are read when they are first needed. Read all others before, so that a merge in between hides nothing.

    Args:
        api: of the org.
        schema: of the org.
        fields: the consent fields of each type of record that is read, by opt-in.
    """

    api: SalesforceApi
    schema: Schema
    fields: Mapping[EntityType, Mapping[str, ConsentFields]]

    def states(self) -> Iterator[tuple[str | None, ...]]:
        """Yield the withdrawals of records that are gone as states of the records that are left.

        An opt-out without a date is as old as the merge at the latest: what was granted later counts.
        """
        for merged in self._records:
            sobject, row = OBJECTS[merged.kind], merged.row
            subject = (merged.entity_type.value, merged.entity_id, None)
            evidence = f"of the merged {row['Id']}"
            for opt_in_id, field in self.fields[merged.kind].items():
                stated = of_checkbox(row[field.granted], row[field.at] if field.at else None)
                if stated.is_withdrawn:
                    yield *subject, opt_in_id, stated.kind, stated.at, _SOURCE, f"{sobject}.{field.granted} {evidence}"
            if opted_out := ticked(row, opt_out_paths(self.schema, merged.kind)):
                withdrawn = ConsentKind.WITHDRAWN.value
                yield *subject, None, withdrawn, row[_MERGED_AT], _SOURCE, f"{sobject}.{opted_out} {evidence}"

    def parties(self) -> Iterator[tuple[str | None, str, str]]:
        """Yield the individual of each contact or lead that is gone, and id and type of the record that is left."""
        for merged in self._records:
            if individual := merged.row.get(_INDIVIDUAL):
                yield individual, merged.entity_id, merged.entity_type.value

    @cached_property
    def _records(self) -> Sequence[_Merged]:
        return [
            merged
            for kind, fields in self.fields.items()
            if (fields or kind is not EntityType.ACCOUNT) and self.schema.has(OBJECTS[kind], _MASTER)
            for merged in _with_remaining(kind, {row["Id"]: row for row in self._rows(kind)})
        ]

    def _rows(self, kind: EntityType) -> Iterator[Row]:
        sobject, elsewhere = OBJECTS[kind], _ELSEWHERE.get(kind)
        optional = [path for path in (elsewhere, _INDIVIDUAL) if path and self.schema.field(sobject, path)]
        names = [name for field in self.fields[kind].values() for name in (field.granted, field.at) if name]
        paths = ["Id", _MASTER, _MERGED_AT, *optional, *opt_out_paths(self.schema, kind), *names]
        is_merged = f"{_MASTER} != null"
        if kind is EntityType.CONTACT and elsewhere in optional:
            is_merged = f"({is_merged} OR Account.{_MASTER} != null)"
        source = f"{sobject} WHERE IsDeleted = true AND {is_merged}"
        query = BulkQuery(
            self.api, list(dict.fromkeys(paths)), source, f"merged records of {sobject}", with_deleted=True
        )
        for chunk in query.chunks():
            yield from (dict(zip(query.paths, row, strict=True)) for row in chunk)


def _with_remaining(kind: EntityType, rows: Mapping[str | None, Row]) -> Iterator[_Merged]:
    """Yield records with those that are left in the end: a record may be merged that others were merged into."""
    elsewhere = _ELSEWHERE.get(kind, "")
    for row in rows.values():
        last, seen = row, set[str | None]()
        while (following := rows.get(last[_MASTER])) and following["Id"] not in seen:
            seen.add(following["Id"])
            last = following
        contact = last.get(elsewhere)
        if kind is EntityType.LEAD and contact:
            yield _Merged(kind, row, EntityType.CONTACT, contact)
        elif remaining := last[_MASTER] or contact:
            yield _Merged(kind, row, kind, remaining)
