"""The asset that selects people for a list: who may be written to, and on which consent."""

import dagster as dg

from campaign_sync.domain.asset_names import AssetKind
from campaign_sync.domain.message import Message
from campaign_sync.domain.parquet_rows import ParquetRows
from campaign_sync.orchestration.asset_builder import AssetBuilder
from campaign_sync.orchestration.asset_keys import asset_key
from campaign_sync.orchestration.descriptions import asset_description, check_description
from campaign_sync.orchestration.errors import translate_errors
from campaign_sync.orchestration.io_manager import FrameHandover
from campaign_sync.orchestration.metadata import (
    Materialized,
    check_result,
    copy_metadata,
    in_language,
    pick_metadata,
    reasons,
    seen_in,
)
from campaign_sync.orchestration.metadata_labels import labelled
from campaign_sync.orchestration.resources import CrmResource, RunResource, StateResource
from campaign_sync.orchestration.turns import Turn
from campaign_sync.orchestration.unreached_checks import report_unevaluated
from campaign_sync.replacement.list_settings import ListSettings
from campaign_sync.replacement.selected_people import select_people
from campaign_sync.telemetry.spans import note_rows, note_stopped

CHECKS = {
    "withdrawals": (
        Message(
            "no withdrawal that the CRM once had has vanished from it, or become a grant, without a newer consent."
        ),
        Message(
            "load what was lost into the CRM again. Void ones, once: `campaign-sync run MANDATOR --list LIST "
            "--accept-withdrawals REASON`."
        ),
    ),
    "consents": (
        Message(
            "the consent events of the list's opt-in are understood. People with other events are kept out; ten "
            "of them and 0.1 % stop the list."
        ),
        Message(
            "the check says which column holds what; correct the events in the CRM, or declare its words in the "
            "configuration (crm.consent_kinds)."
        ),
    ),
    "exclusions": (
        Message("every exclusion has records in it. One without any is a warning: it leaves no record out."),
        Message("correct exclude in the configuration, or who is in it in the CRM."),
    ),
}
"""By check: its rule, and what to do if it doesn't hold."""


def selection_asset(builder: AssetBuilder, settings: ListSettings, crm_kind: str, turn: Turn) -> dg.AssetsDefinition:
    """Return the asset `[mandator, "<list>_selection"]`: picked people with a granted consent and a usable address."""
    mandator, opt_in_id = settings.mandator, settings.schema.opt_in_id
    checks = {name: texts for name, texts in CHECKS.items() if name != "exclusions" or settings.exclusions}
    key = asset_key(mandator, AssetKind.SELECTION, settings.name, prefix=settings.prefix)

    @builder.asset(
        key,
        kinds={crm_kind, "parquet"},
        op_tags=turn.op_tags(AssetKind.SELECTION),
        ins={"suppression_state": asset_key(mandator, AssetKind.SUPPRESSION_STATE, prefix=settings.prefix)},
        returns_frame=True,
        description=asset_description(
            settings.language,
            Message(
                "Who “{display_name}” of {mandator_display_name} is for: everybody in the CRM's {pick_title} whose "
                "consent {opt_in_id} is granted and whom nothing suppresses{exclusion_text}.",
                display_name=settings.display_name,
                mandator_display_name=settings.mandator_display_name,
                pick_title=settings.pick_title,
                opt_in_id=opt_in_id,
                exclusion_text=_exclusion_text(settings),
            ),
            Message(
                "people in the CRM. Picked are all that the CRM names, selected those that remain, rejected the "
                "others, by reason."
            ),
            Message(
                "the CRM couldn't be read, or what the list asks of it isn't there. The run's error names it. The "
                "list stays as it is; when that is corrected, start the daily job again."
            ),
        ),
        metadata=labelled(
            {
                "mandator": settings.mandator_display_name,
                "list": settings.display_name,
                "opt-in": opt_in_id,
                **pick_metadata(settings),
            },
            settings.language,
        ),
        check_specs=[
            dg.AssetCheckSpec(
                name,
                asset=key,
                blocking=True,
                description=check_description(settings.language, settings.display_name, *check),
            )
            for name, check in checks.items()
        ],
    )
    def selection(
        context: dg.AssetExecutionContext,
        suppression_state: ParquetRows,
        run: RunResource,
        crm: CrmResource,
        state: StateResource,
    ) -> Materialized:
        with translate_errors(context, run, state) as attempt, crm.list_view(settings, is_last=False) as view:
            database = state.open()
            known = database.known_withdrawals.count(mandator, opt_in_id)
            selected = select_people(view, database, settings, suppression_state.frame(), known)
            rows, excluded, outcomes = selected.rows, selected.excluded, selected.outcomes
            people = rows[["entity_type", "entity_id"]]
            database.rejections.record(mandator, settings.name, selected.rejections, context.run.run_id)
            note_rows(len(rows))
            stopped = [outcome.name for outcome in outcomes if outcome.stops]
            note_stopped(stopped)
            if stopped:
                report_unevaluated(
                    context,
                    run,
                    state,
                    Message("{checks} of the selection stops the list", checks=", ".join(stopped)),
                    own=False,
                )
            results = [
                in_language(check_result(outcome, key, people, database.pseudonyms), settings.language)
                for outcome in outcomes
            ]
        return dg.MaterializeResult(
            data_version=seen_in(context),
            value=FrameHandover(rows),
            metadata=labelled(
                {
                    "dagster/row_count": len(rows),
                    "picked": selected.picked,
                    "selected": len(rows),
                    **({"in exclusions": len(excluded.records)} if settings.exclusions else {}),
                    **{Message("in {name}", name=place): count for place, count in excluded.counts.items()},
                    "seconds": attempt.seconds,
                    **copy_metadata(view.copy_times),
                    **reasons(selected.rejections),
                    **{
                        f"selected: {entity_type}": int(count)
                        for entity_type, count in people["entity_type"].value_counts().items()
                    },
                },
                settings.language,
            ),
            check_results=results,
        )

    return selection


def _exclusion_text(settings: ListSettings) -> str:
    titles = settings.exclusion_titles
    if not titles:
        return ""
    return Message(", except for everybody in the {titles} and everybody with the same address", titles=titles)
