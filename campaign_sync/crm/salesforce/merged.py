"""Records that were merged into others. What they withdrew counts for the record that is left."""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

from campaign_sync.config.crm_salesforce import ConsentFields
from campaign_sync.crm.salesforce.opt_outs import opt_out_of
from campaign_sync.crm.salesforce.org_records import (
    INDIVIDUAL,
    MASTER,
    MASTER_PERSON,
    MERGED_AT,
    OrgTables,
    Row,
    rows_of,
)
from campaign_sync.crm.salesforce.schema import OBJECTS
from campaign_sync.crm.salesforce.stated_consents import of_checkbox
from campaign_sync.crm.web_api.shared_records import OpenRecords
from campaign_sync.domain.consent import ConsentKind
from campaign_sync.domain.entity import EntityType

_SOURCE = "Salesforce"


@dataclass(frozen=True)
class MergedRecord:
    """A record that is gone, and the one that is left."""

    kind: EntityType
    row: Row
    entity_type: EntityType
    entity_id: str

    @property
    def individual(self) -> str | None:
        """The individual of the record that is gone."""
        return self.row.get(INDIVIDUAL)

    def states(self, fields: Mapping[str, ConsentFields], opt_out: str | None) -> Iterator[tuple[str | None, ...]]:
        """Yield its withdrawals as states of the record that is left.

        An opt-out without a date is as old as the merge at the latest: what was granted later counts.

        Args:
            fields: its consent fields, by opt-in.
            opt_out: the checkbox of its individual that is ticked.
        """
        sobject, subject = OBJECTS[self.kind], (self.entity_type.value, self.entity_id, None)
        evidence = f"of the merged {self.row['Id']}"
        for opt_in_id, field in fields.items():
            stated = of_checkbox(self.row[field.granted], self.row[field.at] if field.at else None)
            if stated.is_withdrawn:
                yield *subject, opt_in_id, stated.kind, stated.at, _SOURCE, f"{sobject}.{field.granted} {evidence}"
        if opted_out := opt_out_of(self.row, opt_out):
            at = self.row[MERGED_AT]
            yield *subject, None, ConsentKind.WITHDRAWN.value, at, _SOURCE, f"{sobject}.{opted_out} {evidence}"


def merged_records(records: OpenRecords, tables: OrgTables) -> Sequence[MergedRecord]:
    """Return the records that merges deleted, with those that are left."""
    merged: list[MergedRecord] = []
    for kind, table in tables.merged.items():
        rows = (row for chunk in rows_of(records, table) for row in chunk)
        # Among those that changed are some that weren't merged.
        gone = {row["Id"]: row for row in rows if _next(row)}
        remaining = {record_id: _last(gone, row) for record_id, row in gone.items()}
        contacts = _converted(records, tables, set(remaining.values())) if kind is EntityType.LEAD else {}
        kept = kept_contacts(merged)
        for record_id, row in gone.items():
            last = remaining[record_id]
            contact = contacts.get(last)
            contact = kept.get(contact, contact)
            merged.append(MergedRecord(kind, row, EntityType.CONTACT if contact else kind, contact or last))
    return merged


def kept_contacts(merged: Sequence[MergedRecord]) -> Mapping[str | None, str]:
    """Return the contacts that are left, by the ids of those that were merged: converted leads may refer to these."""
    return {record.row["Id"]: record.entity_id for record in merged if record.kind is EntityType.CONTACT}


def _next(row: Row) -> str | None:
    """Return the record that a record was merged into."""
    return row[MASTER] or row.get(MASTER_PERSON)


def _last(gone: Mapping[str | None, Row], row: Row) -> str:
    """Return the record that is left in the end: a record may be merged that others were merged into."""
    following, seen = _next(row), {row["Id"]}
    while following in gone and following not in seen:
        seen.add(following)
        following = _next(gone[following])
    return following or ""


def _converted(records: OpenRecords, tables: OrgTables, leads: Set[str]) -> dict[str, str | None]:
    """Return the contacts that those of the leads became that were converted since."""
    if not leads:
        return {}
    return {
        str(row["Id"]): row["ConvertedContactId"]
        for chunk in rows_of(records, tables.people[EntityType.LEAD])
        for row in chunk
        if row["Id"] in leads and row["IsConverted"] == "true"
    }
