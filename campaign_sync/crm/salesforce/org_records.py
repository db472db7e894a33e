"""The records of an org with consents and bounces, and how they and what changed of them are read."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from campaign_sync.config.crm_salesforce import SalesforceSettings
from campaign_sync.crm.port import CrmError
from campaign_sync.crm.salesforce.api import SalesforceApi, literals
from campaign_sync.crm.salesforce.bulk import CALLS_PER_QUERY, BulkQuery
from campaign_sync.crm.salesforce.opt_outs import OPTED_OUT, individual_opt_outs
from campaign_sync.crm.salesforce.records import value_at, written_time
from campaign_sync.crm.salesforce.required_objects import uses_purposes
from campaign_sync.crm.salesforce.schema import OBJECTS, Schema
from campaign_sync.crm.salesforce.stated_consents import BRAND, CONSENT_RECORD, consent_paths
from campaign_sync.crm.web_api.shared_records import OpenRecords, Record, RecordApi, RecordTable
from campaign_sync.domain.entity import EntityType

Row = Mapping[str, str | None]

CONVERTED = ("IsConverted", "ConvertedContactId", "ConvertedDate")
"""The fields of a lead that say which contact it became."""

PERSON_ACCOUNT = "IsPersonAccount"

INDIVIDUAL = "IndividualId"
"""The field of a contact or lead with its individual."""

MASTER = "MasterRecordId"
"""The record that is left; set on a record that was deleted by a merge."""

MERGED_AT = "SystemModstamp"
"""Nothing changes a deleted record, so this is the time of the merge."""

MASTER_PERSON = "Account.MasterRecord.PersonContactId"
"""The contact that is left where a person account was merged. It stays what it is, unlike other values of parents."""

EMAIL = "Email"
"""The type of contact point of consent records that are about e-mail."""


@dataclass(frozen=True)
class OrgTable(RecordTable):
    """Records of one object."""

    sobject: str
    paths: tuple[str, ...]
    """The fields that are read; the id is the first."""
    is_calculated: bool
    """Whether a value may change without a change of the record: that of a formula, or of a parent."""
    with_deleted: bool = False
    """Whether deleted records matter as well."""
    is_referred_to: bool = False
    """Whether others refer to its records. After a merge they refer to another, and may not show as changed."""


@dataclass(frozen=True)
class OrgTables:
    """Everything that is read for consents and bounces."""

    people: Mapping[EntityType, OrgTable]
    merged: Mapping[EntityType, OrgTable]
    """Those that were merged into others. See `merged.MergedRecords`."""
    individuals: OrgTable | None
    """Those who opted out; None if the user can't read who."""
    consents: OrgTable | None
    """The consent records of all purposes; None if no opt-in has one."""

    @property
    def all(self) -> list[OrgTable]:
        """Every table. Merged records are read after all others, so that a merge in between hides nothing."""
        return [*self.people.values(), *filter(None, (self.individuals, self.consents)), *self.merged.values()]


def org_tables(schema: Schema, settings: SalesforceSettings, purpose_ids: Sequence[str]) -> OrgTables:
    """Return what is read for all opt-ins, so that all lists can share it.

    Args:
        schema: of the org.
        settings: the section `crm`.
        purpose_ids: the ids of the opt-ins' purposes.
    """
    people = {kind: table for kind in settings.entity_types if (table := _people(schema, settings, kind))}
    opt_outs = individual_opt_outs(schema)
    consents = f"ContactPointType = '{EMAIL}' AND DataUsePurposeId IN {literals(sorted(purpose_ids))}"
    return OrgTables(
        people,
        {kind: _merged(schema, kind, table) for kind, table in people.items() if schema.has(table.sobject, MASTER)},
        _individuals(schema, opt_outs) if opt_outs else None,
        _table(schema, CONSENT_RECORD, _consent_paths(schema), consents) if purpose_ids else None,
    )


def record_calls(settings: SalesforceSettings) -> int:
    """Return about how many calls it takes to read all records once."""
    return CALLS_PER_QUERY * (2 * len(settings.entity_types) + 1 + uses_purposes(settings)) + 10


@dataclass(frozen=True)
class OrgRecords(RecordApi[OrgTable]):
    """Reads the records of an org.

    Args:
        api: of the org.
        calls: about how many calls it takes to read everything.
    """

    api: SalesforceApi
    calls: int

    def begin(self) -> datetime | None:
        """Return the time of the org's clock. See `RecordApi.begin`."""
        self.api.require_calls(self.calls, "a read of consents and bounces")
        return self.api.now()

    def everything(self, table: OrgTable) -> Iterator[Sequence[Record]]:
        """Yield all records by a job. See `RecordApi.everything`."""
        source = table.query.partition(" FROM ")[2]
        title = f"consents of {table.name}"
        for chunk in BulkQuery(self.api, table.paths, source, title, with_deleted=table.with_deleted).chunks():
            yield [(str(row[0]), row) for row in chunk]

    def changed(self, table: OrgTable, since: datetime, most: int) -> Mapping[str, Sequence[str | None] | None] | None:
        """Return what changed, deleted records as well. See `RecordApi.changed`."""
        if table.is_calculated:
            return None
        selected = ", ".join([*table.paths, "IsDeleted", *([MASTER] if table.is_referred_to else [])])
        soql = f"SELECT {selected} FROM {table.sobject} WHERE SystemModstamp >= {written_time(since)}"  # noqa: S608
        rows = self.api.few_rows(soql, f"reading changes of {table.sobject}", most)
        if rows is None or (table.is_referred_to and any(row["IsDeleted"] and row[MASTER] for row in rows)):
            return None
        changes = {
            row["Id"]: [_text(value_at(row, path)) for path in table.paths]
            if table.with_deleted or not row["IsDeleted"]
            else None
            for row in rows
        }
        if len(changes) < len(rows):
            raise CrmError(
                f"a page of changes of {table.sobject} came from Salesforce a second time, in place of another; "
                "nothing was changed; run again"
            )
        return changes


def rows_of(records: OpenRecords, table: OrgTable) -> Iterator[Sequence[Row]]:
    """Yield the rows of a table by the names of their fields."""
    for chunk in records.values(table):
        yield [dict(zip(table.paths, values, strict=True)) for values in chunk]


def _people(schema: Schema, settings: SalesforceSettings, entity_type: EntityType) -> OrgTable | None:
    """Return what is read of a type of person; None for accounts without consents and bounces."""
    own, sobject = settings.written_fields(entity_type), OBJECTS[entity_type]
    is_account = entity_type is EntityType.ACCOUNT
    if is_account and not own:
        return None
    paths = [
        *("Id", *own),
        *([settings.field_of(entity_type, "email")] if settings.bounce_fields(entity_type) else []),
        *([] if is_account else [OPTED_OUT]),
        *([INDIVIDUAL] if not is_account and schema.has(sobject, INDIVIDUAL) else []),
        *(CONVERTED if entity_type is EntityType.LEAD else ()),
    ]
    if is_account and schema.has(sobject, PERSON_ACCOUNT):
        return _table(schema, sobject, [*paths, PERSON_ACCOUNT], f"{PERSON_ACCOUNT} = false")
    return _table(schema, sobject, paths, "")


def _merged(schema: Schema, entity_type: EntityType, people: OrgTable) -> OrgTable:
    """Return the records of a type that merges deleted; Salesforce has them in its recycle bin for fifteen days."""
    has_persons = entity_type is EntityType.CONTACT and schema.field(people.sobject, MASTER_PERSON) is not None
    is_merged = f"({MASTER} != null OR Account.{MASTER} != null)" if has_persons else f"{MASTER} != null"
    paths = [*people.paths, MASTER, MERGED_AT, *([MASTER_PERSON] if has_persons else [])]
    table = _table(schema, people.sobject, paths, f"IsDeleted = true AND {is_merged}")
    return replace(table, name=f"merged {people.sobject}", with_deleted=True, is_calculated=people.is_calculated)


def _individuals(schema: Schema, opt_outs: Sequence[str]) -> OrgTable:
    condition = " OR ".join(f"{name} = true" for name in opt_outs)
    table = _table(schema, "Individual", ["Id", *opt_outs], condition)
    return replace(table, is_referred_to=schema.has("Individual", MASTER))


def _table(schema: Schema, sobject: str, names: Sequence[str], condition: str) -> OrgTable:
    paths = tuple(dict.fromkeys(names))
    query = f"SELECT {', '.join(paths)} FROM {sobject}" + (f" WHERE {condition}" if condition else "")  # noqa: S608
    fields = [schema.field(sobject, path) for path in paths]
    is_calculated = any("." in path for path in paths) or any(field and field.calculated for field in fields)
    return OrgTable(sobject, query, sobject, paths, is_calculated)


def _consent_paths(schema: Schema) -> list[str]:
    return [*consent_paths(schema.has(CONSENT_RECORD, BRAND)), "ContactPointType"]


def _text(value: Any) -> str | None:
    """Return a value of JSON as a job writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    return None if value in (None, "") else str(value)
