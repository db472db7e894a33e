"""The asset that writes feedback to the CRM, and reads from it who is suppressed."""

from datetime import UTC, datetime

import dagster as dg

from campaign_sync.config import MandatorSettings
from campaign_sync.crm.port import CrmError
from campaign_sync.domain.asset_names import AssetKind
from campaign_sync.domain.feedback import FeedbackKind
from campaign_sync.domain.message import Message
from campaign_sync.domain.progress import Progress, report
from campaign_sync.domain.suppression import SuppressionKind
from campaign_sync.feedback.blocklist_check import recheck_blocklist
from campaign_sync.feedback.consent_silence import watch_consents
from campaign_sync.feedback.current_suppression import current_suppression
from campaign_sync.feedback.freshness import find_silent_readers, judge_age, vendor_time
from campaign_sync.feedback.pending_feedback import PendingFeedback, read_pending
from campaign_sync.feedback.propagation_measurement import measure_delays
from campaign_sync.feedback.withdrawal_history import add_vanished
from campaign_sync.feedback.write_back import FeedbackWriteBack, WriteBackSummary
from campaign_sync.orchestration.asset_builder import AssetBuilder
from campaign_sync.orchestration.asset_keys import asset_key
from campaign_sync.orchestration.descriptions import asset_description, check_description
from campaign_sync.orchestration.errors import translate_errors
from campaign_sync.orchestration.feedback_checks import (
    CHECKS,
    check_attributed,
    check_consent_changes,
    check_feedback_age,
    check_layout,
    check_matched,
    check_propagation,
    check_silence,
    check_unsubscribes,
    count_outdated,
    delay_metadata,
    hours,
)
from campaign_sync.orchestration.io_manager import FrameHandover
from campaign_sync.orchestration.metadata import Materialized, column_schema, in_language, seen_in
from campaign_sync.orchestration.metadata_labels import labelled
from campaign_sync.orchestration.resources import CrmResource, FilesResource, RunResource, StateResource, VendorResource
from campaign_sync.storage.state import State
from campaign_sync.telemetry.spans import note_rows

_COLUMNS = {
    "kind": Message(
        "bounce (of an address, in every mandator), unsubscribe (of a consent), pending (of one or another), unclear "
        "(an event that isn't understood), block (of an address), remembered (withdrawn, and vanished from the CRM) or "
        "regranted (withdrawn, and granted again without a newer date)"
    ),
    "address": Message("Normalized; missing where an entity has none that can be used"),
    "entity_type": Message("contact, lead or account; missing where it is of the address alone"),
    "entity_id": Message("The entity's id in the CRM"),
    "opt_in_id": Message("The consent that is withdrawn"),
    "since": Message("When they bounced or left, or when it was seen"),
    "source": Message("Where it comes from; optimizely:… for the vendor"),
}


def suppression_asset(
    builder: AssetBuilder, mandator: str, settings: MandatorSettings, crm_kind: str
) -> dg.AssetsDefinition:
    """Return the asset `[mandator, "suppression_state"]`: feedback into the CRM, then who is suppressed out of it."""
    key, called = (
        asset_key(mandator, AssetKind.SUPPRESSION_STATE, prefix=settings.prefix),
        settings.display_name(mandator),
    )
    opt_in_readers = settings.feedback.opt_in_readers

    @builder.asset(
        key,
        kinds={crm_kind, "parquet"},
        deps=[asset_key(mandator, AssetKind(kind), prefix=settings.prefix) for kind in FeedbackKind],
        returns_frame=True,
        description=asset_description(
            settings.language,
            Message(
                "Who may not be written to by {called}, and why. All fetched feedback is written to the CRM first.",
                called=called,
            ),
            Message(
                "rows that were read, and what of them was new to the CRM; then everybody the CRM keeps from being "
                "written to. A bounce counts for every mandator, an unsubscribe for the consent it withdrew."
            ),
            Message(
                "the feedback couldn't be written to the CRM, so no list of this mandator is replaced. The run's "
                "error says what to correct; then start the daily job again."
            ),
        ),
        metadata=labelled({"mandator": called, "mandator id": str(settings.mandator_id)}, settings.language),
        check_specs=[
            dg.AssetCheckSpec(name, asset=key, description=check_description(settings.language, called, *texts))
            for name, texts in CHECKS.items()
            if name != "attributed" or opt_in_readers
        ],
    )
    def suppression_state(
        context: dg.AssetExecutionContext,
        run: RunResource,
        vendor: VendorResource,
        crm: CrmResource,
        state: StateResource,
        files: FilesResource,
    ) -> Materialized:
        with translate_errors(context, run, state) as attempt:
            database, storage, feedback = state.open(), files.open(), settings.feedback
            pending = read_pending(database, storage, mandator, settings)
            report(Progress(mandator, "suppression_state", "write to the CRM", 0, None))
            begun = datetime.now(UTC)
            written = FeedbackWriteBack(
                mandator,
                crm.open(),
                database,
                storage,
                lambda: vendor.login(mandator),
                feedback,
                settings.opt_ins_of_lists if settings.unsubscribe_lists == "per_list" else {},
            ).run(pending)
            _remove_unused_copies(context, crm)
            optimizely = vendor.login(mandator)
            released = recheck_blocklist(mandator, optimizely, database.blocked_addresses)
            opt_in_ids = {recipient_list.opt_in_id for recipient_list in settings.lists.values()}
            accepted = _forget_accepted(database, context.run.run_id, mandator, settings)
            utc_now = datetime.now(UTC)
            with crm.open().snapshot() as view:
                known = current_suppression(view, database, mandator)
                frame = add_vanished(view, database, mandator, opt_in_ids, known, utc_now)
                activity = watch_consents(view, database, mandator, opt_in_ids, utc_now)
            outdated = count_outdated(database.write_backs.unsubscribes(mandator, begun), frame)
            now = vendor_time(feedback.files is not None, optimizely)
            until = database.feedback_imports.committed_until(mandator)
            age = judge_age(mandator, feedback.readers, feedback.age_limits, until, now)
            silences = find_silent_readers(mandator, feedback, database.feedback_imports, optimizely, now)
            to_crm, to_absence = measure_delays(mandator, settings.lists, database, utc_now)
            report(Progress(mandator, "suppression_state", "suppressed", len(frame), len(frame)))
            hidden = database.erasures.erased().hide(frame)
            note_rows(len(frame))
        by_kind = frame["kind"].value_counts()
        return dg.MaterializeResult(
            data_version=seen_in(context),
            value=FrameHandover(hidden),
            metadata=labelled(
                {
                    **column_schema(frame, _COLUMNS, settings.language),
                    "bounces read": len(pending.bounces),
                    "unsubscribes read": len(pending.unsubscribes),
                    "replies that are no bounces": pending.ignored,
                    "new in the CRM": written.written,
                    "known to the CRM before": written.already_known,
                    "unmatched": written.unmatched,
                    "refused by the CRM": written.refused,
                    "waiting for their consents in the CRM": written.not_shown,
                    **(_attributions(pending, written) if opt_in_readers else {}),
                    "rows that didn't fit": pending.unparsed.total(),
                    **{f"suppressed: {kind}": int(by_kind.get(kind, 0)) for kind in SuppressionKind},
                    **({"vanished withdrawals accepted": accepted} if accepted is not None else {}),
                    "rows about ids that are no address": sum(len(ids) for ids in pending.without_address.values()),
                    "unsubscribes older than the consent": outdated.outdated,
                    "released by the blocklist": released,
                    **({"feedback age hours": hours(age.age)} if age.age else {}),
                    **delay_metadata("opt-out to CRM", to_crm),
                    **delay_metadata("opt-out to absence", to_absence),
                    "seconds": attempt.seconds,
                },
                settings.language,
            ),
            check_results=[
                in_language(result, settings.language)
                for result in (
                    check_layout(key, mandator, pending),
                    check_matched(key, written.unmatched, written.refused),
                    check_unsubscribes(key, pending, outdated),
                    check_feedback_age(key, age),
                    check_silence(key, silences),
                    check_propagation(key, to_absence),
                    check_consent_changes(key, activity, utc_now),
                    *([check_attributed(key, opt_in_readers, pending, written)] if opt_in_readers else []),
                )
            ],
        )

    return suppression_state


def _forget_accepted(state: State, run_id: str, mandator: str, settings: MandatorSettings) -> int | None:
    """Forget the vanished withdrawals that were accepted for this run. Return how many; None if none were accepted."""
    accepted = state.known_withdrawals.acceptances(run_id, mandator)
    by_opt_in = {
        settings.lists[acceptance.list].opt_in_id: acceptance
        for acceptance in accepted
        if acceptance.list in settings.lists
    }
    forgotten = [
        state.known_withdrawals.forget_accepted(acceptance, opt_in_id) for opt_in_id, acceptance in by_opt_in.items()
    ]
    return sum(forgotten) if forgotten else None


def _attributions(pending: PendingFeedback, written: WriteBackSummary) -> dict[str, int]:
    return {
        "unsubscribes that name a known opt-in": written.naming_opt_in,
        "unsubscribes that name another opt-in": len(pending.named) - written.naming_opt_in,
        "opt-outs whose row is awaited": written.pending,
        "opt-outs whose row didn't come": written.given_up,
    }


def _remove_unused_copies(context: dg.AssetExecutionContext, crm: CrmResource) -> None:
    """Remove unused copies of the CRM. What can't be removed stops no list: the next run tries it again."""
    try:
        crm.remove_unused_copies(datetime.now(UTC))
    except CrmError as error:
        context.log.warning(str(error))
