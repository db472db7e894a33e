"""How findings look in Dagster's UI. Counts, codes and pseudonyms; never a person."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg
import pandas as pd

from campaign_sync.domain.checks import LIST_PREFIX, CheckOutcome
from campaign_sync.domain.printable_text import printable
from campaign_sync.domain.pseudonym import Pseudonyms
from campaign_sync.storage.import_windows import ImportWindow

if TYPE_CHECKING:
    Materialized = dg.MaterializeResult[Any]
else:
    Materialized = dg.MaterializeResult  # Dagster doesn't know its own class under a type parameter
"""What an asset returns."""

SHOWN_CASES = 10
"""How many failing rows of each kind a check names, by pseudonym."""


def check_result(
    outcome: CheckOutcome, key: dg.AssetKey, rows: pd.DataFrame, pseudonyms: Pseudonyms
) -> dg.AssetCheckResult:
    """An outcome as the asset check of the same name; failing rows of `rows` appear as keyed pseudonyms."""
    metadata: dict[str, Any] = {"rows checked": len(rows)}
    if outcome.failures:
        metadata["failing rows"] = sum(len(failure.positions) for failure in outcome.failures)
        metadata["failures"] = table(
            {
                "code": failure.code,
                "column": failure.column.removeprefix(LIST_PREFIX),
                "rows": len(failure.positions),
                "cases": ", ".join(
                    pseudonyms.of(entity_key(rows, position)) for position in failure.positions[:SHOWN_CASES]
                ),
            }
            for failure in outcome.failures
        )
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=outcome.name,
        passed=outcome.passed,
        severity=dg.AssetCheckSeverity.WARN if outcome.warning else dg.AssetCheckSeverity.ERROR,
        description=printable(outcome.summary),
        metadata=metadata,
    )


def entity_key(rows: pd.DataFrame, position: int) -> str:
    """`entity_type:entity_id` of a row."""
    row = rows.iloc[position]
    return f"{row['entity_type']}:{row['entity_id']}"


def table(records: Iterable[Mapping[str, Any]]) -> dg.TableMetadataValue:
    """Records as a table; their keys are its columns."""
    return dg.MetadataValue.table([dg.TableRecord(dict(record)) for record in records])


def reasons(rejections: pd.DataFrame) -> dict[str, Any]:
    """Rejections by stage and reason: as a table, and each reason as a number that Dagster plots over days."""
    counts = sorted(Counter(zip(rejections["stage"], rejections["reason"], strict=True)).items())
    plotted = {f"rejected: {reason}": count for (_, reason), count in counts}
    records = [{"stage": stage, "reason": reason, "rows": count} for (stage, reason), count in counts]
    return {"rejected": len(rejections), **plotted} | ({"rejections": table(records)} if records else {})


def column_schema(rows: pd.DataFrame, descriptions: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Row count and columns, as Dagster's own pages show them."""
    columns = [
        dg.TableColumn(str(name), str(dtype), description=(descriptions or {}).get(str(name)))
        for name, dtype in rows.dtypes.items()
    ]
    return {"dagster/row_count": len(rows), "dagster/column_schema": dg.TableSchema(columns=columns)}


def fetched_windows(fetched: Sequence[ImportWindow]) -> dict[str, Any]:
    """How much was fetched, from when to when, and the files it is kept in."""
    counts: dict[str, Any] = {"dagster/row_count": sum(one.rows for one in fetched), "windows": len(fetched)}
    if not fetched:
        return counts
    since, until = min(one.since for one in fetched), max(one.until for one in fetched)
    return counts | {
        "since (vendor's clock)": dg.MetadataValue.timestamp(since),
        "until (vendor's clock)": dg.MetadataValue.timestamp(until),
        "window hours": round((until - since).total_seconds() / 3600, 2),
        "files": table(
            {"reader": one.reader, "rows": one.rows, "file": one.file, "digest": one.digest} for one in fetched
        ),
    }
