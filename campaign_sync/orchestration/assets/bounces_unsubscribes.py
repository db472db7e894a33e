"""The assets that fetch the vendor's feedback: bounces and unsubscribes."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import dagster as dg

from campaign_sync.config import MandatorSettings
from campaign_sync.domain.asset_names import AssetKind
from campaign_sync.domain.feedback import READER_KINDS, FeedbackKind
from campaign_sync.domain.feedback_age import AgeLimits, Freshness, format_duration
from campaign_sync.domain.message import Message, and_joined, join_messages
from campaign_sync.domain.progress import Progress, report
from campaign_sync.feedback.feedback_fetcher import FeedbackFetcher
from campaign_sync.feedback.freshness import ReaderFreshness, reader_freshness, vendor_time
from campaign_sync.feedback.pending_feedback import SHOWN_FILES, UnparsedRows, preview_imports
from campaign_sync.orchestration.asset_builder import AssetBuilder
from campaign_sync.orchestration.asset_keys import asset_key
from campaign_sync.orchestration.descriptions import asset_description, check_description
from campaign_sync.orchestration.errors import translate_errors
from campaign_sync.orchestration.metadata import Materialized, fetched_windows, in_language, seen_in
from campaign_sync.orchestration.metadata_labels import labelled
from campaign_sync.orchestration.resources import FilesResource, RunResource, StateResource, VendorResource
from campaign_sync.storage.feedback_imports import FeedbackImport
from campaign_sync.telemetry.spans import note_rows

_WHO = {
    FeedbackKind.BOUNCES: lambda called: Message(
        "Recipients of {called} whose addresses bounced: everything reported since the last import, as received.",
        called=called,
    ),
    FeedbackKind.UNSUBSCRIBES: lambda called: Message(
        "Recipients of {called} who unsubscribed: everything reported since the last import, as received.",
        called=called,
    ),
}


CHECKS = {
    "readable": (
        Message("everything that was fetched and waits for the CRM can be read."),
        Message(
            "its text names the file and the remedy. The rows are kept; suppression_state's check layout has them all."
        ),
    ),
    "fresh": (
        Message("the rows show that they are complete up to now. Delivered files show it by what is new in them."),
        Message(
            "ask Optimizely whether its export job runs. Feedback that is too old stops all replacements of the "
            "mandator."
        ),
    ),
}
"""By check: its rule, and what to do if it doesn't hold."""


def feedback_asset(
    builder: AssetBuilder, mandator: str, settings: MandatorSettings, kind: FeedbackKind
) -> dg.AssetsDefinition:
    """Return the asset `[mandator, kind]`, which fetches everything since the last import into CSV files."""
    readers = [reader for reader in settings.feedback.readers if READER_KINDS[reader] is kind]

    called = settings.display_name(mandator)
    key = asset_key(mandator, AssetKind(kind), prefix=settings.prefix)
    source = Message("the files that are delivered") if settings.feedback.files else and_joined(readers)

    @builder.asset(
        key,
        kinds={"file", "csv"} if settings.feedback.files else {"csv"},
        description=asset_description(
            settings.language,
            _WHO[kind](called),
            Message("rows of {source}. A person with two rows counts twice here, and once in the CRM.", source=source),
            Message(
                "Optimizely Campaign couldn't be asked, or its files couldn't be read. Nothing is lost: the next "
                "import begins where the last one ended. The run's error says what to correct; no list is replaced "
                "before."
            ),
        ),
        metadata=labelled(
            {"mandator": called, "mandator id": str(settings.mandator_id), "readers": ", ".join(readers)},
            settings.language,
        ),
        check_specs=[
            dg.AssetCheckSpec(name, asset=key, description=check_description(settings.language, called, *texts))
            for name, texts in CHECKS.items()
        ],
    )
    def fetch(
        context: dg.AssetExecutionContext,
        run: RunResource,
        vendor: VendorResource,
        state: StateResource,
        files: FilesResource,
    ) -> Materialized:
        with translate_errors(context, run, state) as attempt:
            database, storage = state.open(), files.open()
            fetcher = FeedbackFetcher(
                mandator, settings, lambda: vendor.login(mandator), database, storage, context.run.run_id
            )
            fetched: list[FeedbackImport] = []

            def on_rows(rows: int) -> None:
                before = sum(window.rows for window in fetched)
                report(Progress(mandator, kind.value, "fetch", before + rows, None))

            for reader in readers:
                for window in fetcher.fetch(reader, on_rows):
                    fetched.append(window)  # noqa: PERF402 - on_rows counts them as they come
            rows = sum(window.rows for window in fetched)
            report(Progress(mandator, kind.value, "fetched", rows, rows))
            note_rows(rows)
            imports = database.feedback_imports
            pending = [window for reader in readers for window in imports.uncommitted(mandator, reader)]
            preview = preview_imports(pending, database, storage, mandator, settings)
            # Delivered files arrive also while the vendor's API fails.
            now = datetime.now(UTC) if settings.feedback.files else vendor_time(False, vendor.login(mandator))
            read = [(window, preview.read[window.id]) for window in pending]
            ages = [reader_freshness(mandator, reader, imports, read) for reader in readers]
        return dg.MaterializeResult(
            data_version=seen_in(context),
            metadata=labelled({**fetched_windows(fetched), "seconds": attempt.seconds}, settings.language),
            check_results=[
                in_language(result, settings.language)
                for result in (
                    _readable(key, sum(window.rows for window in pending), preview.unread, fetcher.unavailable),
                    _fresh(key, mandator, ages, settings.feedback.age_limits, now),
                )
            ],
        )

    return fetch


def _readable(
    key: dg.AssetKey, rows: int, unread: Sequence[UnparsedRows], unavailable: Sequence[str]
) -> dg.AssetCheckResult:
    """Return an error if a delivered file wasn't available; unparsed rows fail the check `layout`."""
    problems = [
        *unavailable,
        *(
            Message(
                "{unread} of {rows} rows of {file}: {why}",
                unread=file.unread,
                rows=file.rows,
                file=file.origin,
                why=file.why,
            )
            for file in unread
        ),
    ]
    shown = problems[:SHOWN_FILES]
    if len(problems) > SHOWN_FILES:
        shown.append(Message("and {count} more", count=len(problems) - SHOWN_FILES))
    return dg.AssetCheckResult(
        asset_key=key,
        check_name="readable",
        passed=not problems,
        severity=dg.AssetCheckSeverity.ERROR if unavailable else dg.AssetCheckSeverity.WARN,
        description=join_messages(" · ", shown) if shown else Message("all of the {rows} rows can be read", rows=rows),
        metadata={"files not available": len(unavailable), "rows not read": sum(file.unread for file in unread)},
    )


def _fresh(
    key: dg.AssetKey, mandator: str, ages: Sequence[ReaderFreshness], limits: AgeLimits, now: datetime
) -> dg.AssetCheckResult:
    """Return at most a warning: the check `feedback_age` of `suppression_state` stops the lists."""
    missing = [age.reader for age in ages if age.until is None]
    oldest = None if missing else min(age.until for age in ages if age.until)
    verdict = limits.assess(mandator, oldest, now, " and ".join(missing))
    by_reader = join_messages(
        " · ",
        [
            Message(
                "{reader}: complete up to {until}, newest event {newest}",
                reader=age.reader,
                until=_ago(age.until, now),
                newest=_ago(age.newest_event, now),
            )
            for age in ages
        ],
    )
    advice = [] if verdict.freshness is Freshness.FRESH else [verdict.message]
    return dg.AssetCheckResult(
        asset_key=key,
        check_name="fresh",
        passed=verdict.freshness is Freshness.FRESH,
        severity=dg.AssetCheckSeverity.WARN,
        description=join_messages(". ", [by_reader, *advice]),
        metadata={"hours": round(verdict.age.total_seconds() / 3600, 2)} if verdict.age else {},
    )


def _ago(moment: datetime | None, now: datetime) -> Message:
    if moment is None:
        return Message("unknown")
    return Message("{duration} ago", duration=format_duration(max(now - moment, timedelta())))
