"""Reports: complete, or refused. Salesforce returns 2,000 rows at most; more of them are read in parts, by ids."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from campaign_sync.crm.mirror.source import MEMBER_COLUMNS, SourceRows
from campaign_sync.crm.port import CrmError, CrmSetupError
from campaign_sync.crm.salesforce.api import SalesforceApi
from campaign_sync.crm.salesforce.ids import entity_type_of_id, long_id
from campaign_sync.domain.entity import EntityType

_REMEDY: Final = "select a campaign, a list view or a query instead"

_DESCRIPTION: Final = ("reportMetadata", "reportTypeMetadata")

_ALL: Final = "organization"
"""The scope of a report on all records."""

_POLL_SECONDS = (0.5, 1.0, 2.0, 4.0)

_LONGEST_SECONDS = 1800.0

_KEY_OPERATOR = "greaterThan"

Cells = Sequence[Any]


@dataclass(frozen=True)
class Report:
    """A report of an org.

    Args:
        api: of the org.
        report_id: its id.
        title: how messages call it.
    """

    api: SalesforceApi
    report_id: str
    title: str

    def rows(self, wanted: Collection[str]) -> SourceRows:
        """Return everybody in the report, with those of its own columns that are wanted, by API name or label.

        Raises:
            CrmError: it isn't tabular, or can't be read completely.
        """
        description = self._described()
        names = description["reportMetadata"]["detailColumns"]
        labels = {str(info["label"]): name for name, info in _columns(description).items() if name in names}
        own = {name: names.index(labels.get(name, name)) for name in sorted(wanted) if labels.get(name, name) in names}
        yielded = 0

        def chunks() -> Iterator[Sequence[tuple[object, ...]]]:
            nonlocal yielded
            for page in self._pages(description):
                key = self._people_column(page)
                members = [
                    (
                        _type_name(cells[key]),
                        long_id(str(cells[key])),
                        *(_value(cells[place]) for place in own.values()),
                    )
                    for cells in page
                    if cells[key] is not None
                ]
                yielded += len(members)
                yield members

        return SourceRows((*MEMBER_COLUMNS, *own), chunks(), lambda: yielded)

    def _described(self) -> dict[str, Any]:
        path = f"/analytics/reports/{quote(self.report_id)}/describe"
        description: dict[str, Any] = self.api.document("GET", path, f"describing {self.title}", has=_DESCRIPTION)
        if description["reportMetadata"]["reportFormat"] != "TABULAR":
            raise CrmSetupError(f"{self.title} has groups, so its rows can't be read; remove them, or {_REMEDY}")
        scope = str(description["reportMetadata"].get("scope") or _ALL).lower()
        if not scope.startswith(("all", _ALL)):
            raise CrmSetupError(
                f"{self.title} shows only the records of the user who runs it (its scope is {scope!r}), which is the "
                f"integration user here; set Show Me to all records in its filters, or {_REMEDY}"
            )
        return description

    def _pages(self, description: Mapping[str, Any]) -> Iterator[list[list[Any]]]:
        """Yield the cells of the rows, in parts if they are many."""
        rows, is_complete = self._run({})
        if is_complete:
            yield rows
            return
        metadata = description["reportMetadata"]
        key = self._key_column(description)
        place = metadata["detailColumns"].index(key)
        last: str | None = None
        while True:
            rows, is_complete = self._run(_part_of(metadata, key, last))
            ids = [str(row[place]) for row in rows]
            if ids != sorted(ids) or (last is not None and ids and ids[0] <= last):
                raise CrmSetupError(
                    f"{self.title}: Salesforce sorts its ids otherwise than it compares them; {_REMEDY}"
                )
            if is_complete:
                yield rows
                return
            # More rows of the last record may follow: it comes again with the next part.
            whole = [row for row, row_id in zip(rows, ids, strict=True) if row_id != ids[-1]]
            if not whole:
                raise CrmSetupError(f"{self.title} has too many rows of a single record; {_REMEDY}")
            yield whole
            last = str(whole[-1][place])

    def _key_column(self, description: Mapping[str, Any]) -> str:
        """Return a column with ids of people by which the report can be read in parts.

        Formulas such as CASESAFEID are none: Salesforce sorts them without regard to case, and loses rows.
        """
        metadata = description["reportMetadata"]
        operators = description["reportTypeMetadata"]["dataTypeFilterOperatorMap"].get("id", [])
        can_compare = any(operator["name"] == _KEY_OPERATOR for operator in operators)
        infos = _columns(description)
        keys = [
            name
            for name in metadata["detailColumns"]
            if infos.get(name, {}).get("dataType") == "id" and infos[name].get("filterable", False)
        ]
        if metadata.get("topRows") or not can_compare or len(keys) != 1:
            raise CrmSetupError(
                f"{self.title} has more than 2,000 rows. Salesforce returns more only of a report without a row limit "
                "that has exactly one column with record ids (Contact ID or Lead ID, no formula) by which it can be "
                f"filtered; change the report, or {_REMEDY}"
            )
        return str(keys[0])

    def _people_column(self, rows: Sequence[Cells]) -> int:
        """Return which column has the ids of people: of contacts or leads, else of accounts."""
        if not rows:
            return 0
        kinds = [{entity_type_of_id(cells[place]) for cells in rows} - {None} for place in range(len(rows[0]))]
        people = [place for place, kind in enumerate(kinds) if kind & {EntityType.CONTACT, EntityType.LEAD}]
        chosen = people or [place for place, kind in enumerate(kinds) if kind]
        if len(chosen) != 1:
            raise CrmSetupError(
                f"{self.title} needs exactly one column with the ids of its people (Contact ID, Lead ID or Account "
                f"ID), and has {len(chosen)}; change its columns"
            )
        return chosen[0]

    def _run(self, metadata: Mapping[str, Any]) -> tuple[list[list[Any]], bool]:
        """Run the report, and return the cells of its rows, and whether these are all.

        Raises:
            CrmError: it fails, or fewer rows came than Salesforce counts.
        """
        path = f"/analytics/reports/{quote(self.report_id)}/instances"
        body = {"reportMetadata": metadata} if metadata else {}
        run = self.api.document(
            "POST",
            path,
            f"running {self.title}",
            has=("id",),
            query={"includeDetails": "true"},
            json=body,
            repeatable=True,
        )
        result = self._finished(f"{path}/{quote(str(run['id']))}")
        fact = result["factMap"]["T!T"]
        rows = [[cell["value"] for cell in row["dataCells"]] for row in fact["rows"]]
        is_complete = result.get("allData") is True
        aggregates = result["reportMetadata"]["aggregates"]
        if is_complete and "RowCount" in aggregates:
            count = int(fact["aggregates"][aggregates.index("RowCount")]["value"])
            if count != len(rows):
                raise CrmError(f"{len(rows)} of {count} rows of {self.title} came from Salesforce; run again")
        return rows, is_complete

    def _finished(self, path: str) -> dict[str, Any]:
        for _ in self.api.pauses(_POLL_SECONDS, _LONGEST_SECONDS):
            result: dict[str, Any] = self.api.document("GET", path, f"running {self.title}", has=("attributes",))
            status = result["attributes"]["status"]
            if status == "Success":
                return result
            if status not in ("New", "Running"):
                break
        raise CrmError(f"{self.title} isn't finished by Salesforce; see whether it runs there, or {_REMEDY}")


def _part_of(metadata: Mapping[str, Any], key: str, last: str | None) -> dict[str, Any]:
    """Return the report's metadata for the rows whose key is greater than the last one."""
    sort = {"sortBy": [{"sortColumn": key, "sortOrder": "Asc"}]}
    if last is None:
        return sort
    filters = [*metadata["reportFilters"], {"column": key, "operator": _KEY_OPERATOR, "value": last}]
    logic = metadata.get("reportBooleanFilter")
    combined = {"reportBooleanFilter": f"({logic}) AND {len(filters)}"} if logic else {}
    return {**sort, "reportFilters": filters, **combined}


def _columns(description: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    categories = description["reportTypeMetadata"]["categories"]
    return {name: info for category in categories for name, info in category["columns"].items()}


def _type_name(value: object) -> str:
    entity_type = entity_type_of_id(value)
    return entity_type.value if entity_type else "record"


def _value(value: object) -> object:
    """Return a value of a cell; of an amount of money only the amount."""
    return value.get("amount") if isinstance(value, dict) else value
