"""The assets that import what recipients did with mailings: opens, clicks and other responses."""

from typing import Any

import dagster as dg

from campaign_sync.config import MandatorSettings
from campaign_sync.domain.asset_names import AssetKind
from campaign_sync.domain.message import Message
from campaign_sync.domain.progress import Progress, report
from campaign_sync.domain.response import RESPONSE_READER_KINDS, ResponseKind
from campaign_sync.domain.text import format_row_count
from campaign_sync.orchestration.asset_builder import AssetBuilder
from campaign_sync.orchestration.asset_keys import asset_key
from campaign_sync.orchestration.descriptions import asset_description, check_description
from campaign_sync.orchestration.errors import translate_errors
from campaign_sync.orchestration.metadata import Materialized, fetched_windows, in_language, seen_in
from campaign_sync.orchestration.metadata_labels import labelled
from campaign_sync.orchestration.resources import CrmResource, FilesResource, RunResource, StateResource, VendorResource
from campaign_sync.responses.dataset import dataset_folder
from campaign_sync.responses.response_fetcher import ResponseFetcher
from campaign_sync.responses.response_import import ResponseImportSummary, import_responses
from campaign_sync.storage.import_windows import ImportWindow
from campaign_sync.telemetry.spans import note_rows

_DESCRIPTIONS = {
    ResponseKind.OPENS: Message(
        "Who opened which mailing, and when. An open is counted where images are loaded, so some are missing, and some "
        "were made by a mail program and not by a person."
    ),
    ResponseKind.CLICKS: Message("Who clicked in which mailing, when, and on which link."),
    ResponseKind.RESPONSES: Message(
        "What came back to which mailing, and when: answers, autoresponders, bounces, by category."
    ),
}


def response_assets(builder: AssetBuilder, mandator: str, settings: MandatorSettings) -> list[dg.AssetsDefinition]:
    """Return the assets `[mandator, kind]`, one per configured reader."""
    responses = settings.responses
    return [_response_asset(builder, mandator, settings, reader) for reader in responses.readers] if responses else []


def response_keys(mandator: str, settings: MandatorSettings) -> list[dg.AssetKey]:
    """Return the keys of these assets."""
    readers = settings.responses.readers if settings.responses else ()
    return [_key(mandator, reader, settings.prefix) for reader in readers]


def _response_asset(
    builder: AssetBuilder, mandator: str, settings: MandatorSettings, reader: str
) -> dg.AssetsDefinition:
    key, kind = _key(mandator, reader, settings.prefix), RESPONSE_READER_KINDS[reader]
    called = settings.display_name(mandator)
    description = asset_description(
        settings.language,
        Message("Mailings of {called}: {kind}", called=called, kind=_DESCRIPTIONS[kind]),
        Message(
            "rows of {reader}. Kept as Parquet, one folder for each day in UTC; every response is stored once.",
            reader=reader,
        ),
        Message(
            "Optimizely Campaign couldn't be asked, or the CRM didn't take the rows. Nothing is lost and no list "
            "waits for it: the next run begins where the last one ended. The run's error says what to correct."
        ),
    )
    layout = check_description(
        settings.language,
        called,
        Message("every fetched row fits the layout of its reader."),
        Message("correct responses.readers in the configuration; the rows are kept and read again then."),
    )

    @builder.asset(
        key,
        kinds={"parquet"},
        description=description,
        metadata=labelled(
            {"mandator": called, "readers": reader, "folder": dataset_folder(mandator, kind)}, settings.language
        ),
        check_specs=[dg.AssetCheckSpec("layout", asset=key, description=layout)],
    )
    def responses(
        context: dg.AssetExecutionContext,
        run: RunResource,
        vendor: VendorResource,
        crm: CrmResource,
        state: StateResource,
        files: FilesResource,
    ) -> Materialized:
        with translate_errors(context, run, state) as attempt:
            database, storage, optimizely = state.open(), files.open(), vendor.login(mandator)
            fetched: list[ImportWindow] = []

            def on_rows(rows: int) -> None:
                before = sum(window.rows for window in fetched)
                report(Progress(mandator, kind.value, "fetch", before + rows, None))

            fetcher = ResponseFetcher(mandator, settings, optimizely, database, storage, context.run.run_id)
            for window in fetcher.fetch(reader, on_rows):
                fetched.append(window)  # noqa: PERF402 - on_rows counts them as they come

            def on_responses(done: int) -> None:
                report(Progress(mandator, kind.value, "store", done, None))

            summary = import_responses(
                mandator, reader, settings, crm.open, database, storage, lambda: optimizely, on_responses
            )
            done = summary.new + summary.known_before
            report(Progress(mandator, kind.value, "stored", done, done))
            note_rows(done)
        return dg.MaterializeResult(
            data_version=seen_in(context),
            metadata=labelled(
                {**fetched_windows(fetched), **_counts(summary), "seconds": attempt.seconds}, settings.language
            ),
            check_results=[in_language(_layout(key, mandator, reader, summary.unparsed), settings.language)],
        )

    return responses


def _key(mandator: str, reader: str, prefix: str) -> dg.AssetKey:
    return asset_key(mandator, AssetKind(RESPONSE_READER_KINDS[reader]), prefix=prefix)


def _counts(summary: ResponseImportSummary) -> dict[str, Any]:
    """Return the counts of an import, which Dagster plots over days."""
    counts = {"new": summary.new, "known before": summary.known_before, "rows that didn't fit": summary.unparsed}
    if summary.in_crm is None:
        return counts
    return counts | {
        "written to the CRM": summary.in_crm.written,
        "known to the CRM before": summary.in_crm.already_known,
        "without a campaign in the CRM": summary.in_crm.without_campaign,
        "recipient unknown": summary.in_crm.unknown_recipient,
    }


def _layout(key: dg.AssetKey, mandator: str, reader: str, unparsed: int) -> dg.AssetCheckResult:
    bad = Message(
        "{rows} of {reader} can't be read; they are kept, and read again as soon as their layout in {setting} is "
        "corrected",
        rows=format_row_count(unparsed),
        reader=reader,
        setting=f"mandators.{mandator}.responses.readers",
    )
    return dg.AssetCheckResult(
        asset_key=key,
        check_name="layout",
        passed=not unparsed,
        severity=dg.AssetCheckSeverity.WARN,
        description=bad if unparsed else Message("every row fits"),
        metadata={"rows": unparsed},
    )
