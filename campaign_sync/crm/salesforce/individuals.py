"""Individuals: who of them opted out of all e-mail, and which contacts and leads are the same person."""

import sqlite3
from collections.abc import Sequence

from campaign_sync.crm.salesforce.merged import MergedRecord
from campaign_sync.crm.salesforce.opt_outs import INDIVIDUAL_OPT_OUTS, ticked
from campaign_sync.crm.salesforce.org_records import INDIVIDUAL, OrgTables, Row, rows_of
from campaign_sync.crm.web_api.shared_records import OpenRecords
from campaign_sync.domain.entity import EntityType


class Individuals:
    """The individuals of an org, in a file that is gone when it is closed.

    Args:
        records: those of the org.
        tables: their names.
        with_people: whether `people` is called, after all were added.
    """

    def __init__(self, records: OpenRecords, tables: OrgTables, *, with_people: bool) -> None:
        self._connection, self._with_people = sqlite3.connect("", isolation_level=None), with_people
        self._is_indexed = False
        try:
            self._load(records, tables)
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        """Remove the file."""
        self._connection.close()

    def add_people(self, entity_type: EntityType, rows: Sequence[Row]) -> None:
        """Add contacts or leads."""
        self._add([_person(entity_type, row) for row in rows if row.get(INDIVIDUAL)])

    def add_merged(self, merged: Sequence[MergedRecord]) -> None:
        """Add records that are gone: their individuals are those of the records that are left, too."""
        self._add([(record.individual, record.entity_type.value, record.entity_id, 1) for record in merged])

    def _add(self, people: Sequence[tuple[str | None, str, str | None, int]]) -> None:
        if self._with_people:
            statement = "INSERT INTO person (individual, entity_type, entity_id, only_withdraws) VALUES (?, ?, ?, ?)"
            self._connection.executemany(statement, [person for person in people if person[0] and person[2]])

    def opted_out(self, individuals: Sequence[str | None]) -> dict[str | None, str]:
        """Return the checkbox that is ticked of those individuals who opted out."""
        self._choose(individuals)
        query = "SELECT individual, checkbox FROM opt_out JOIN chosen USING (individual)"
        return dict(self._connection.execute(query).fetchall())

    def people(self, individuals: Sequence[str | None]) -> dict[str | None, list[tuple[str, str, bool]]]:
        """Return type and id of the records of each individual, and whether only its withdrawals count for a record.

        That is so for a converted lead's contact, and for what is left of a merge.
        """
        if not self._is_indexed:
            self._connection.execute("CREATE INDEX person_individual ON person (individual)")
            self._is_indexed = True
        self._choose(individuals)
        holders: dict[str | None, list[tuple[str, str, bool]]] = {}
        query = "SELECT individual, entity_type, entity_id, only_withdraws FROM person JOIN chosen USING (individual)"
        for individual, entity_type, entity_id, only_withdraws in self._connection.execute(query):
            holders.setdefault(individual, []).append((entity_type, entity_id, bool(only_withdraws)))
        return holders

    def _choose(self, individuals: Sequence[str | None]) -> None:
        self._connection.execute("DELETE FROM chosen")
        self._connection.executemany(
            "INSERT OR IGNORE INTO chosen VALUES (?)", [(individual,) for individual in individuals if individual]
        )

    def _load(self, records: OpenRecords, tables: OrgTables) -> None:
        self._connection.execute("BEGIN")
        self._connection.execute(
            "CREATE TABLE person (individual TEXT, entity_type TEXT, entity_id TEXT, only_withdraws INT)"
        )
        self._connection.execute("CREATE TABLE chosen (individual TEXT PRIMARY KEY)")
        self._connection.execute("CREATE TABLE opt_out (individual TEXT PRIMARY KEY, checkbox TEXT)")
        for chunk in rows_of(records, tables.individuals) if tables.individuals else ():
            opt_outs = [(row["Id"], ticked(row, INDIVIDUAL_OPT_OUTS)) for row in chunk]
            self._connection.executemany(
                "INSERT OR REPLACE INTO opt_out VALUES (?, ?)", [opt_out for opt_out in opt_outs if opt_out[1]]
            )


def _person(entity_type: EntityType, row: Row) -> tuple[str | None, str, str | None, int]:
    if row.get("IsConverted") == "true":
        return row[INDIVIDUAL], EntityType.CONTACT.value, row["ConvertedContactId"], 1
    return row[INDIVIDUAL], entity_type.value, row["Id"], 0
