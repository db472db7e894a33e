"""Records as they are before something is written to them, and how values are written."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from campaign_sync.crm.salesforce.api import SalesforceApi, literals
from campaign_sync.crm.salesforce.collections import MOST_RECORDS, Change
from campaign_sync.crm.salesforce.schema import OBJECTS, Schema
from campaign_sync.domain.entity import EntityType

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Records:
    """Reads single records again, and makes changes of them.

    Args:
        api: of the org.
        schema: of the org.
    """

    api: SalesforceApi
    schema: Schema

    def read(self, entity_type: EntityType, ids: Collection[str], paths: Collection[str]) -> dict[str, Record]:
        """Return records by id; those that don't exist are absent."""
        sobject = OBJECTS[entity_type]
        both = ("IsPersonAccount", "AccountId") if self._has_person_accounts(entity_type) else ()
        names = list(dict.fromkeys(["Id", *paths, *both]))
        return {row["Id"]: row for row in self.rows(sobject, names, "Id", ids)}

    def rows(
        self, sobject: str, names: Sequence[str], key: str, values: Collection[str], condition: str = ""
    ) -> Iterator[Record]:
        """Yield the records of an object where a field has one of these values."""
        ordered = sorted(values)
        for start in range(0, len(ordered), MOST_RECORDS):
            part = literals(ordered[start : start + MOST_RECORDS])
            soql = f"SELECT {', '.join(names)} FROM {sobject} WHERE {key} IN {part}{condition}"  # noqa: S608
            yield from self.api.rows(soql, f"reading {sobject} again")

    def change(self, entity_type: EntityType, record: Record, values: Mapping[str, object]) -> Change:
        """Return a change of a record; that of a person account's contact is made on the account."""
        if record.get("IsPersonAccount") is True:
            of_person = {person_field(name): value for name, value in values.items()}
            return Change("Account", record["AccountId"], of_person)
        return Change(OBJECTS[entity_type], record["Id"], values)

    def written(self, sobject: str, name: str, moment: datetime) -> str:
        """Return a moment as a field takes it."""
        field = self.schema.fields(sobject).get(name.lower())
        return moment.date().isoformat() if field and field.kind == "date" else written_time(moment)

    def _has_person_accounts(self, entity_type: EntityType) -> bool:
        return entity_type is EntityType.CONTACT and self.schema.has("Contact", "IsPersonAccount")


def value_at(record: Record, path: str) -> Any:
    """Return the value of a field, or of a parent's field such as `Account.Email__c`; None without such a parent."""
    value: Any = record
    for name in path.split("."):
        value = next((inner for key, inner in (value or {}).items() if key.lower() == name.lower()), None)
    return value


def person_field(name: str) -> str:
    """Return the name on the account of a field of a person account's contact."""
    return f"{name[:-3]}__pc" if name.endswith("__c") else f"Person{name}"


def whole_second(moment: datetime) -> datetime:
    """Return the next whole second, as Salesforce stores no fractions: never earlier than the moment."""
    return (moment + timedelta(microseconds=999_999)).replace(microsecond=0).astimezone(UTC)


def written_time(moment: datetime) -> str:
    """Return a time as Salesforce takes it."""
    return f"{whole_second(moment):%Y-%m-%dT%H:%M:%S}.000Z"
