"""The assets that fetch what the vendor tells of people who left or can't be reached."""

import dagster as dg

from campaign_sync.assets.failures import explained
from campaign_sync.assets.metadata import Materialized, fetched_windows
from campaign_sync.assets.ports import Ports
from campaign_sync.assets.wording import page
from campaign_sync.configuration import MandatorSettings
from campaign_sync.domain.feedback import KIND_OF_READER, FeedbackKind
from campaign_sync.feedback.fetching import Fetching
from campaign_sync.replacing.progress import Progress, report
from campaign_sync.state.feedback import FeedbackImport
from campaign_sync.telemetry.spans import note_rows

_WHO = {
    FeedbackKind.BOUNCES: "Recipients of {called} whose addresses bounced",
    FeedbackKind.UNSUBSCRIBES: "Recipients of {called} who unsubscribed",
}


def feedback_asset(mandator: str, settings: MandatorSettings, kind: FeedbackKind) -> dg.AssetsDefinition:
    """The asset `[mandator, kind]`: fetches everything since the CRM was last told and keeps it as CSV files."""
    readers = [reader for reader in settings.feedback.readers if KIND_OF_READER[reader] is kind]

    called = settings.called(mandator)
    source = "the files that are delivered" if settings.feedback.files else " and ".join(readers)

    @dg.asset(
        key=[mandator, kind.value],
        group_name=mandator,
        kinds={"file", "csv"} if settings.feedback.files else {"csv"},
        description=page(
            f"{_WHO[kind].format(called=called)}: everything the vendor told since the last import, as it came.",
            f"rows of {source}. Who is told of twice counts twice here, and once in the CRM.",
            "Optimizely Campaign couldn't be asked, or its files couldn't be read. Nothing is lost: the next import "
            "begins where the last one ended. The run's error says what to mend; no list is replaced before.",
        ),
        metadata={"mandator": called, "mandator id": str(settings.mandator_id), "readers": ", ".join(readers)},
    )
    def fetch(context: dg.AssetExecutionContext, ports: dg.ResourceParam[Ports]) -> Materialized:
        with explained(context) as watch:
            fetching = Fetching(
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
        return dg.MaterializeResult(metadata={**fetched_windows(fetched), "seconds": watch.seconds})

    return fetch
