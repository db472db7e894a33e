"""The assets that fetch what the vendor tells of people who left or can't be reached."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import dagster as dg

from campaign_sync.config import MandatorSettings
from campaign_sync.domain.asset_names import AssetKind
from campaign_sync.domain.feedback import READER_KINDS, FeedbackKind
from campaign_sync.domain.feedback_age import AgeLimits, Freshness, format_duration
from campaign_sync.feedback.feedback_fetcher import FeedbackFetcher
from campaign_sync.feedback.freshness import ReaderFreshness, reader_freshness, vendor_time
from campaign_sync.feedback.parsing import SHOWN_FILES, UnparsedRows, preview_imports
from campaign_sync.orchestration.asset_keys import asset_key
from campaign_sync.orchestration.descriptions import asset_description, check_description
from campaign_sync.orchestration.errors import translate_errors
from campaign_sync.orchestration.metadata import Materialized, fetched_windows
from campaign_sync.orchestration.resources import Resources
from campaign_sync.replacement.progress import Progress, report
from campaign_sync.storage.feedback_imports import FeedbackImport
from campaign_sync.telemetry.spans import note_rows

_WHO = {
    FeedbackKind.BOUNCES: "Recipients of {called} whose addresses bounced",
    FeedbackKind.UNSUBSCRIBES: "Recipients of {called} who unsubscribed",
}


CHECKS = {
    "readable": (
        "everything that was fetched and waits for the CRM can be read.",
        "its text names the file and the remedy. The rows are kept; suppression_state's check layout has them all.",
    ),
    "fresh": (
        "the rows show that they are complete up to now. Delivered files show it by what is new in them.",
        "ask Optimizely whether its export job runs. Too old, feedback stops every replace of the mandator.",
    ),
}
"""What each check demands, and what to do if it doesn't hold."""


def feedback_asset(mandator: str, settings: MandatorSettings, kind: FeedbackKind) -> dg.AssetsDefinition:
    """The asset `[mandator, kind]`: fetches everything since the CRM was last told and keeps it as CSV files."""
    readers = [reader for reader in settings.feedback.readers if READER_KINDS[reader] is kind]

    called = settings.display_name(mandator)
    key = asset_key(mandator, AssetKind(kind))
    source = "the files that are delivered" if settings.feedback.files else " and ".join(readers)

    @dg.asset(
        key=key,
        group_name=mandator,
        kinds={"file", "csv"} if settings.feedback.files else {"csv"},
        description=asset_description(
            f"{_WHO[kind].format(called=called)}: everything the vendor told since the last import, as it came.",
            f"rows of {source}. Who is told of twice counts twice here, and once in the CRM.",
            "Optimizely Campaign couldn't be asked, or its files couldn't be read. Nothing is lost: the next import "
            "begins where the last one ended. The run's error says what to mend; no list is replaced before.",
        ),
        metadata={"mandator": called, "mandator id": str(settings.mandator_id), "readers": ", ".join(readers)},
        check_specs=[
            dg.AssetCheckSpec(name, asset=key, description=check_description(called, *told))
            for name, told in CHECKS.items()
        ],
    )
    def fetch(context: dg.AssetExecutionContext, ports: dg.ResourceParam[Resources]) -> Materialized:
        with translate_errors(context) as attempt:
            fetching = FeedbackFetcher(
                mandator, settings, lambda: ports.vendor(mandator), ports.state, ports.frames, context.run.run_id
            )
            fetched: list[FeedbackImport] = []

            def on_rows(rows: int) -> None:
                before = sum(one.rows for one in fetched)
                report(Progress(mandator, kind.value, "fetch", before + rows, None))

            for reader in readers:
                for one in fetching.fetch(reader, on_rows):
                    fetched.append(one)  # noqa: PERF402 - on_rows counts them as they come
            rows = sum(one.rows for one in fetched)
            report(Progress(mandator, kind.value, "fetched", rows, rows))
            note_rows(rows)
            waiting = [one for reader in readers for one in ports.state.feedback_imports.uncommitted(mandator, reader)]
            found = preview_imports(waiting, ports.state, ports.frames, mandator, settings)
            # Where files are delivered, they come in also while the vendor's API fails.
            now = datetime.now(UTC) if settings.feedback.files else vendor_time(False, ports.vendor(mandator))
            read = [(one, found.read[one.id]) for one in waiting]
            ages = [reader_freshness(mandator, reader, ports.state.feedback_imports, read) for reader in readers]
        return dg.MaterializeResult(
            metadata={**fetched_windows(fetched), "seconds": attempt.seconds},
            check_results=[
                _readable(key, sum(one.rows for one in waiting), found.unread, fetching.unavailable),
                _fresh(key, mandator, ages, settings.feedback.age_limits, now),
            ],
        )

    return fetch


def _readable(
    key: dg.AssetKey, rows: int, unread: Sequence[UnparsedRows], unavailable: Sequence[str]
) -> dg.AssetCheckResult:
    """An error where a delivered file couldn't be had; rows that aren't understood fail the check `layout`."""
    troubles = [*unavailable, *(f"{one.unread} of {one.rows} rows of {one.origin}: {one.why}" for one in unread)]
    more = f" · and {len(troubles) - SHOWN_FILES} more" if len(troubles) > SHOWN_FILES else ""
    return dg.AssetCheckResult(
        asset_key=key,
        check_name="readable",
        passed=not troubles,
        severity=dg.AssetCheckSeverity.ERROR if unavailable else dg.AssetCheckSeverity.WARN,
        description=" · ".join(troubles[:SHOWN_FILES]) + more or f"all of the {rows} rows can be read",
        metadata={"files that couldn't be had": len(unavailable), "rows not read": sum(one.unread for one in unread)},
    )


def _fresh(
    key: dg.AssetKey, mandator: str, ages: Sequence[ReaderFreshness], limits: AgeLimits, now: datetime
) -> dg.AssetCheckResult:
    """At most a warning: the check `feedback_age` of `suppression_state` stops the lists."""
    missing = [one.reader for one in ages if one.until is None]
    oldest = None if missing else min(one.until for one in ages if one.until)
    verdict = limits.assess(mandator, oldest, now, " and ".join(missing))
    told = " · ".join(
        f"{one.reader}: complete up to {_ago(one.until, now)}, newest event {_ago(one.newest_event, now)}"
        for one in ages
    )
    advice = "" if verdict.freshness is Freshness.FRESH else f". {verdict.message}"
    return dg.AssetCheckResult(
        asset_key=key,
        check_name="fresh",
        passed=verdict.freshness is Freshness.FRESH,
        severity=dg.AssetCheckSeverity.WARN,
        description=told + advice,
        metadata={"hours": round(verdict.age.total_seconds() / 3600, 2)} if verdict.age else {},
    )


def _ago(moment: datetime | None, now: datetime) -> str:
    return f"{format_duration(max(now - moment, timedelta()))} ago" if moment else "unknown"
