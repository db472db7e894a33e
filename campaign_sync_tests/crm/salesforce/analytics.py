"""Reports of the stand-in, with Salesforce's limit of rows."""

from dataclasses import dataclass, field
from typing import Any

MOST_ROWS = 5


@dataclass
class StandInReport:
    """A report, and how its server runs it."""

    columns: dict[str, str]
    """The types of columns by their names."""
    rows: list[list[Any]]
    form: str = "TABULAR"
    scope: str = "organization"
    top_rows: int | None = None
    loses: bool = False
    runs: list[dict[str, Any]] = field(default_factory=list)

    def describe(self) -> dict[str, Any]:
        """Return the report's description."""
        infos = {
            name: {"label": name.title(), "dataType": kind, "filterable": True} for name, kind in self.columns.items()
        }
        return {
            "reportMetadata": self._metadata(),
            "reportTypeMetadata": {
                "categories": [{"columns": infos}],
                "dataTypeFilterOperatorMap": {"id": [{"name": "equals"}, {"name": "greaterThan"}]},
            },
        }

    def start(self, body: dict[str, Any]) -> dict[str, Any]:
        """Begin a run."""
        self.runs.append(body.get("reportMetadata", {}))
        return {"id": str(len(self.runs) - 1), "status": "New"}

    def result(self, run: str) -> dict[str, Any]:
        """Return the result of a run: filtered by `greaterThan` and sorted, as real reports do with ids."""
        metadata = self.runs[int(run)]
        names = list(self.columns)
        rows = list(self.rows)
        for own in metadata.get("reportFilters", []):
            rows = [row for row in rows if row[names.index(own["column"])] > own["value"]]
        for sort in metadata.get("sortBy", []):
            rows.sort(key=lambda row: row[names.index(sort["sortColumn"])])
        shown = rows[:MOST_ROWS]
        cells = [{"dataCells": [{"value": value, "label": f"<{value}>"} for value in row]} for row in shown]
        fact = {"rows": cells[:-1] if self.loses else cells, "aggregates": [{"value": len(rows)}]}
        return {
            "attributes": {"status": "Success"},
            "allData": len(rows) <= MOST_ROWS,
            "factMap": {"T!T": fact},
            "reportMetadata": self._metadata(),
        }

    def _metadata(self) -> dict[str, Any]:
        return {
            "reportFormat": self.form,
            "scope": self.scope,
            "detailColumns": list(self.columns),
            "aggregates": ["RowCount"],
            "reportFilters": [],
            "reportBooleanFilter": None,
            "topRows": {"rowLimit": self.top_rows} if self.top_rows else None,
        }
