"""Results as metadata of Dagster's UI: counts, codes and pseudonyms, but no personal data."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg
import pandas as pd

from campaign_sync.crm.port import CopyTimes
from campaign_sync.domain.checks import LIST_PREFIX, CheckOutcome
from campaign_sync.domain.feedback_age import format_duration
from campaign_sync.domain.message import Language
from campaign_sync.domain.printable_text import printable
from campaign_sync.domain.pseudonym import Pseudonyms
from campaign_sync.domain.rejection import describe_reason
from campaign_sync.localization.catalogs import translate
from campaign_sync.orchestration.metadata_labels import labelled
from campaign_sync.replacement.list_settings import ListSettings
from campaign_sync.storage.import_windows import ImportWindow
from campaign_sync.storage.replacements import StoredSnapshot

if TYPE_CHECKING:
    Materialized = dg.MaterializeResult[Any]
else:
    Materialized = dg.MaterializeResult  # Dagster doesn't know its own class under a type parameter
"""What an asset returns."""

RECIPIENT_LIST_ID = "recipient list id"
"""The key of the vendor's id of a list, in the metadata of its assets and of what they return."""

SHOWN_CASES = 10
"""How many failing rows of each kind a check names, by pseudonym."""


def check_result(
    outcome: CheckOutcome, key: dg.AssetKey, rows: pd.DataFrame, pseudonyms: Pseudonyms
) -> dg.AssetCheckResult:
    """Return an outcome as the asset check of the same name; failing rows of `rows` appear as keyed pseudonyms."""
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
        description=outcome.summary,
        metadata=metadata,
    )


def in_language(result: dg.AssetCheckResult, language: Language) -> dg.AssetCheckResult:
    """Return the result of a check with its sentence in a language."""
    return dg.AssetCheckResult(
        asset_key=result.asset_key,
        check_name=result.check_name,
        passed=result.passed,
        severity=result.severity,
        description=None if result.description is None else printable(translate(result.description, language)),
        metadata=labelled(result.metadata, language),
    )


def entity_key(rows: pd.DataFrame, position: int) -> str:
    """Return `entity_type:entity_id` of a row."""
    row = rows.iloc[position]
    return f"{row['entity_type']}:{row['entity_id']}"


def seen_in(context: dg.AssetExecutionContext) -> dg.DataVersion:
    """Return the data version of what a run has read outside of Dagster: whether it was the same before isn't known."""
    return dg.DataVersion(context.run.run_id)


def table(records: Iterable[Mapping[str, Any]]) -> dg.TableMetadataValue:
    """Return records as a table whose columns are their keys."""
    return dg.MetadataValue.table([dg.TableRecord(dict(record)) for record in records])


def reasons(rejections: pd.DataFrame) -> dict[str, Any]:
    """Return rejections by stage and reason: as a table, and by reason as numbers that Dagster plots over days."""
    counts = sorted(Counter(zip(rejections["stage"], rejections["reason"], strict=True)).items())
    plotted = {f"rejected: {reason}": count for (_, reason), count in counts}
    records = [rejection_record(stage, reason, count) for (stage, reason), count in counts]
    return {"rejected": len(rejections), **plotted} | ({"rejections": table(records)} if records else {})


def rejection_record(stage: str, reason: str, rows: int) -> dict[str, str | int]:
    """Return the line of a table that counts rejections of one reason."""
    return {"stage": stage, "reason": reason, "meaning": describe_reason(reason), "rows": rows}


def pick_metadata(settings: ListSettings) -> dict[str, str]:
    """Return who is selected for a list, and who is excluded from it. Neither queries nor filters are quoted."""
    pick = settings.pick
    selected = {pick.kind: pick.name if pick.kind in ("marketing_list", "report") else pick.title}
    return selected | ({"excluded": settings.exclusion_titles} if settings.exclusions else {})


def copy_metadata(times: CopyTimes | None) -> dict[str, dg.TimestampMetadataValue]:
    """Return of when the data are, where a copy or a delivery of the CRM was read; nothing where the CRM itself was."""
    if times is None:
        return {}
    return {
        "people of": dg.MetadataValue.timestamp(times.people),
        "consents of": dg.MetadataValue.timestamp(times.consents),
    }


def age_metadata(snapshot: StoredSnapshot) -> dict[str, Any]:
    """Return of when the data of a snapshot are, and how old they were when it was frozen. See `copy_metadata`."""
    if snapshot.people_of is None or snapshot.consents_of is None:
        return {}
    oldest = min(snapshot.people_of, snapshot.consents_of)
    return {
        **copy_metadata(CopyTimes(snapshot.people_of, snapshot.consents_of)),
        "age of the data": format_duration(snapshot.created_at - oldest),
    }


def column_schema(rows: pd.DataFrame, descriptions: Mapping[str, str], language: Language) -> dict[str, Any]:
    """Return row count and columns, as Dagster's own pages show them."""
    columns = [
        dg.TableColumn(str(name), str(dtype), description=_description(descriptions, str(name), language))
        for name, dtype in rows.dtypes.items()
    ]
    return {"dagster/row_count": len(rows), "dagster/column_schema": dg.TableSchema(columns=columns)}


def declared_columns(names: Iterable[str], descriptions: Mapping[str, str], language: Language) -> dict[str, Any]:
    """Return columns of text that are the same in every run: metadata of the asset, not of each of its events."""
    columns = [dg.TableColumn(name, "str", description=_description(descriptions, name, language)) for name in names]
    return {"dagster/column_schema": dg.TableSchema(columns=columns)}


def _description(descriptions: Mapping[str, str], column: str, language: Language) -> str | None:
    return translate(descriptions[column], language) if column in descriptions else None


def fetched_windows(fetched: Sequence[ImportWindow]) -> dict[str, Any]:
    """Return the number of rows fetched, their window, and their files."""
    counts: dict[str, Any] = {"dagster/row_count": sum(window.rows for window in fetched), "windows": len(fetched)}
    if not fetched:
        return counts
    since, until = min(window.since for window in fetched), max(window.until for window in fetched)
    return counts | {
        "since (vendor's clock)": dg.MetadataValue.timestamp(since),
        "until (vendor's clock)": dg.MetadataValue.timestamp(until),
        "window hours": round((until - since).total_seconds() / 3600, 2),
        "files": table(
            {"reader": window.reader, "rows": window.rows, "file": window.file, "digest": window.digest}
            for window in fetched
        ),
    }
