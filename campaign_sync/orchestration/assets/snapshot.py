"""The asset that stores the rows of a list exactly as they will be sent, with the checks that can stop them."""

from datetime import UTC, datetime

import dagster as dg

from campaign_sync.domain.asset_names import AssetKind
from campaign_sync.domain.checks import CHECK_NAMES
from campaign_sync.domain.message import Message
from campaign_sync.domain.parquet_rows import ParquetRows
from campaign_sync.domain.recipient import RECIPIENT_ID, TechnicalField
from campaign_sync.domain.row_digests import frame_digest
from campaign_sync.orchestration.asset_builder import AssetBuilder
from campaign_sync.orchestration.asset_keys import asset_key
from campaign_sync.orchestration.descriptions import asset_description, check_description
from campaign_sync.orchestration.errors import translate_errors
from campaign_sync.orchestration.metadata import (
    RECIPIENT_LIST_ID,
    Materialized,
    age_metadata,
    check_result,
    declared_columns,
    in_language,
    reasons,
)
from campaign_sync.orchestration.metadata_labels import labelled
from campaign_sync.orchestration.resources import CrmResource, FilesResource, RunResource, StateResource, VendorResource
from campaign_sync.orchestration.turns import Turn
from campaign_sync.orchestration.unreached_checks import report_unevaluated
from campaign_sync.replacement.frozen_rows import freeze_rows
from campaign_sync.replacement.list_settings import ListSettings
from campaign_sync.telemetry.spans import note_rows, note_stopped

CHECK_DESCRIPTIONS = {
    "utf8": (
        Message(
            "every text can be sent, and none was read in a wrong encoding (“KÃ¶ln”). A few such rows are a "
            "warning; max_mojibake says how many stop the list."
        ),
        Message("correct the texts in the CRM; the check names columns and cases."),
    ),
    "technical_fields": (
        Message("opt-in-id, description, media-type, entity-type and entity-id are filled on every row."),
        Message("complete the opt-in or the people in the CRM; the check names columns and cases."),
    ),
    "single_consent": (
        Message("every row has the list's one opt-in, and that consent is granted."),
        Message("consents changed while people were picked: start the daily job again; examine the cases if it stays."),
    ),
    "not_suppressed": (
        Message("no recipient bounced, unsubscribed or withdrew."),
        Message("people left while others were picked: start the daily job again."),
    ),
    "unique_recipients": (
        Message("every recipient and every address comes once."),
        Message("merge the people in the CRM who share an address; the check names cases."),
    ),
    "list_attributes": (
        Message("the vendor's list has every attribute that will be sent, and lets us write it."),
        Message("add the attribute to the recipient list in Campaign, or correct attributes in the configuration."),
    ),
    "plausible_size": (
        Message("the list keeps its limits and doesn't jump against its last proven size."),
        Message(
            "check whether the CRM picks the right people. If the size is right: materialize the list's plan, and "
            "approve it, as its page says; or `campaign-sync run MANDATOR --list LIST --accept-size REASON`."
        ),
    ),
}
"""By check: its rule, and what to do if it doesn't hold."""

_COLUMNS = {RECIPIENT_ID: Message("The vendor's key: the address in one spelling. It never changes.")}


def snapshot_asset(builder: AssetBuilder, settings: ListSettings, turn: Turn) -> dg.AssetsDefinition:
    """Return the asset `[mandator, "<list>_snapshot"]`: mapped, normalized, unique, checked, stored."""
    mandator, schema = settings.mandator, settings.schema
    key = asset_key(mandator, AssetKind.SNAPSHOT, settings.name, prefix=settings.prefix)

    @builder.asset(
        key,
        kinds={"pandera", "parquet"},
        op_tags=turn.op_tags(AssetKind.SNAPSHOT),
        ins={"selection": asset_key(mandator, AssetKind.SELECTION, settings.name, prefix=settings.prefix)},
        description=asset_description(
            settings.language,
            Message(
                "What will be in “{display_name}” of {mandator_display_name}: the rows exactly as they will be "
                "sent, checked and stored.",
                display_name=settings.display_name,
                mandator_display_name=settings.mandator_display_name,
            ),
            Message(
                "rows of the selection, one for each recipient; rejected counts those that can't be sent, by reason."
            ),
            Message(
                "a check has stopped this list, and this list alone: it stays as it is at Optimizely Campaign. Open "
                "the check that is red; it says what has to be corrected in the CRM."
            ),
        ),
        metadata=labelled(
            {
                "mandator": settings.mandator_display_name,
                "list": settings.display_name,
                RECIPIENT_LIST_ID: str(settings.recipient_list_id),
                **declared_columns([RECIPIENT_ID, *schema.list_columns], _COLUMNS, settings.language),
            },
            settings.language,
        ),
        check_specs=[
            dg.AssetCheckSpec(
                name,
                asset=key,
                blocking=True,
                description=check_description(settings.language, settings.display_name, *CHECK_DESCRIPTIONS[name]),
            )
            for name in CHECK_NAMES
        ],
    )
    def snapshot(
        context: dg.AssetExecutionContext,
        selection: ParquetRows,
        run: RunResource,
        vendor: VendorResource,
        crm: CrmResource,
        state: StateResource,
        files: FilesResource,
    ) -> Materialized:
        with translate_errors(context, run, state) as attempt, crm.list_view(settings, is_last=True) as view:
            database, optimizely = state.open(), vendor.login(mandator)
            now = datetime.now(UTC)
            frozen = freeze_rows(view, optimizely, database, settings, selection, now, context.run.run_id)
            frozen.size.record(settings, database)
            split, rows = frozen.split, frozen.split.rows
            note_rows(len(rows))
            stopped = [outcome.name for outcome in frozen.outcomes if outcome.stops]
            note_stopped(stopped)
            now = datetime.now(UTC)
            file = files.open().write_frame(f"snapshots/{mandator}/{settings.name}", now, rows)
            database.rejections.record(mandator, settings.name, split.rejections, context.run.run_id)
            times = view.copy_times
            stored = database.snapshots.add(
                mandator,
                settings.name,
                len(rows),
                file,
                context.run.run_id,
                now,
                people_of=times.people if times else None,
                consents_of=times.consents if times else None,
            )
            results = [
                in_language(check_result(outcome, key, rows, database.pseudonyms), settings.language)
                for outcome in frozen.outcomes
            ]
            if stopped:
                report_unevaluated(
                    context,
                    run,
                    state,
                    Message("{checks} of the snapshot stops the list", checks=", ".join(stopped)),
                    own=False,
                )
            rows_digest = database.digests.of(frame_digest(rows, [RECIPIENT_ID, *schema.list_columns]))
        entity_types = rows[schema.technical_column(TechnicalField.ENTITY_TYPE)].value_counts()
        return dg.MaterializeResult(
            data_version=dg.DataVersion(rows_digest),
            metadata=labelled(
                {
                    "dagster/row_count": len(rows),
                    "rows": len(rows),
                    **{f"rows: {entity_type}": int(count) for entity_type, count in entity_types.items()},
                    **reasons(split.rejections),
                    "snapshot": stored.id,
                    **age_metadata(stored),
                    "file": stored.file,
                    "digest of the rows": rows_digest,
                    RECIPIENT_LIST_ID: str(settings.recipient_list_id),
                    "seconds": attempt.seconds,
                },
                settings.language,
            ),
            check_results=results,
        )

    return snapshot
