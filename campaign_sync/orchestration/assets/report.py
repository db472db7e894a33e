"""The asset that is the daily report of a mandator."""

from datetime import UTC, datetime
from typing import Any

import dagster as dg

from campaign_sync.config import Configuration
from campaign_sync.domain.asset_names import AssetKind
from campaign_sync.domain.message import Message
from campaign_sync.orchestration.asset_builder import AssetBuilder
from campaign_sync.orchestration.asset_keys import asset_key
from campaign_sync.orchestration.descriptions import asset_description
from campaign_sync.orchestration.errors import translate_errors
from campaign_sync.orchestration.mandator_days import reported_day, unfinished_days
from campaign_sync.orchestration.metadata import Materialized, seen_in
from campaign_sync.orchestration.metadata_labels import labelled
from campaign_sync.orchestration.repair_hindrances import RepairHindrances
from campaign_sync.orchestration.resources import FilesResource, RunResource, StateResource, VendorResource
from campaign_sync.orchestration.run_attempts import newest_attempts
from campaign_sync.replacement.scheduled_mailings import scheduled_mailings
from campaign_sync.reports.collection import gather
from campaign_sync.reports.daily_report import Report
from campaign_sync.reports.publication import publish, report_link

REPORT_TAG = "campaign_sync/report"
"""Tag of a daily run: where the report on it is."""

OF_RUN_TAG = "campaign_sync/report_of"
"""Tag of a run that makes a report: the daily run that it is about."""


def report_asset(builder: AssetBuilder, configuration: Configuration, mandator: str) -> dg.AssetsDefinition | None:
    """Return the asset `[mandator, "report"]`: pages for people who send mailings; None if no language is configured.

    It depends on no asset, so that it is made also when lists have failed.
    """
    if not configuration.reports.languages:
        return None
    called = configuration.mandators[mandator].display_name(mandator)

    @builder.asset(
        asset_key(mandator, AssetKind.REPORT, prefix=configuration.prefix),
        kinds={"report", "file"},
        metadata=labelled({"mandator": called}, configuration.language),
        description=asset_description(
            configuration.language,
            Message(
                "The daily report on {called}: which lists are ready for mail, how they grew, how many left or were "
                "kept out, and why. One page for each language, linked below; it names no recipient.",
                called=called,
            ),
            Message("what the product has recorded of its replacements, and what Dagster knows of runs and checks."),
            Message(
                "the lists aren't concerned. The error says what to do; the next daily run writes the report again."
            ),
        ),
    )
    def report(
        context: dg.AssetExecutionContext,
        run: RunResource,
        state: StateResource,
        files: FilesResource,
        vendor: VendorResource,
    ) -> Materialized:
        from campaign_sync.reports.mail import mail_report  # Jinja and Babel are for runs alone

        with translate_errors(context, run, state) as attempt:
            database, storage = state.open(), files.open()
            lists = list(configuration.mandators[mandator].lists)
            attempts = newest_attempts(context.instance, mandator, lists, prefix=configuration.prefix)
            now = datetime.now(UTC)
            hindrances = RepairHindrances(configuration, context.instance)
            days = unfinished_days(configuration, context.instance, database, [mandator], now, hindrances)
            missing = reported_day(days.get(mandator))
            mailings = scheduled_mailings(
                configuration.mandators[mandator], attempts.values(), lambda: vendor.login(mandator)
            )
            gathered = gather(configuration, mandator, database, storage, now, attempts, missing, mailings)
            addresses = publish(gathered, mandator, configuration.reports, storage)
            link = report_link(configuration, mandator, addresses)
            if problem := mail_report(gathered, mandator, configuration, database, link, now):
                context.log.warning("the report isn't mailed: %s", problem)
        _link_from_daily_run(context, next(iter(addresses.values())))
        pages = {f"page: {language}": _link(address) for language, address in addresses.items()}
        return dg.MaterializeResult(
            data_version=seen_in(context),
            metadata=labelled({**pages, **_plotted(gathered), "seconds": attempt.seconds}, configuration.language),
        )

    return report


def _link(address: str) -> dg.MetadataValue[Any]:
    return dg.MetadataValue.url(address) if "://" in address else dg.MetadataValue.path(address)


def _plotted(report: Report) -> dict[str, int]:
    movements = [entry.movement for entry in report.lists if entry.movement]
    return {
        "lists": len(report.lists),
        "lists ready": sum(entry.ready for entry in report.lists),
        "joined": sum(movement.joined for movement in movements),
        "left": sum(sum(movement.left.values()) for movement in movements),
        **{
            Message("people in {name}", name=entry.name): entry.people
            for entry in report.lists
            if entry.people is not None
        },
    }


def _link_from_daily_run(context: dg.AssetExecutionContext, address: str) -> None:
    """Add the address of the report to the tags of the daily run."""
    run_id = context.run.tags.get(OF_RUN_TAG)
    if run_id and context.instance.has_run(run_id):
        context.instance.add_run_tags(run_id, {REPORT_TAG: address})
