"""The asset that is the recipient list at the vendor: replaced completely, and proven."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import dagster as dg

from campaign_sync.crm.port import CrmError
from campaign_sync.domain.asset_names import AssetKind
from campaign_sync.domain.checks import CHECK_NAMES, CheckOutcome
from campaign_sync.domain.message import Message, join_messages
from campaign_sync.domain.rejection import ACCEPTED, DATA_REASONS, VENDOR_REASONS, Reason
from campaign_sync.optimizely.errors import OptimizelyError
from campaign_sync.orchestration.asset_builder import AssetBuilder
from campaign_sync.orchestration.asset_keys import asset_key
from campaign_sync.orchestration.assets.approval_request import request_approval
from campaign_sync.orchestration.daily_replacement import GROUP_OF
from campaign_sync.orchestration.descriptions import asset_description, check_description
from campaign_sync.orchestration.errors import translate_errors
from campaign_sync.orchestration.metadata import (
    RECIPIENT_LIST_ID,
    Materialized,
    age_metadata,
    in_language,
    pick_metadata,
    rejection_record,
    table,
)
from campaign_sync.orchestration.metadata_labels import labelled
from campaign_sync.orchestration.resources import CrmResource, FilesResource, RunResource, StateResource, VendorResource
from campaign_sync.orchestration.turns import Turn
from campaign_sync.replacement.applied_plan import AppliedPlan, find_plan
from campaign_sync.replacement.errors import IncompleteListError, ReplacementRefusedError, not_touched
from campaign_sync.replacement.list_replacer import ListReplacer, ReplacementOutcome, still_incomplete
from campaign_sync.replacement.list_settings import ListSettings
from campaign_sync.replacement.preflight_checks import FEEDBACK
from campaign_sync.storage.replacement_steps import ADD_ALL, Step
from campaign_sync.storage.replacements import StoredSnapshot
from campaign_sync.telemetry.spans import note_rows

REPLAY_TAG = "campaign_sync/replay"
"""Tag of a run that goes back to an earlier snapshot; its value is the snapshot's id."""

APPLY_TAG = "campaign_sync/apply"
"""Tag of a run that applies a stored plan; its value is the plan's id."""

CHECKS = {
    "gate": (
        Message("what must hold before the list is touched, holds."),
        Message(
            "correct what the check says. Red: the list has its old recipients until then. Yellow: it was replaced."
        ),
    ),
    "proof": (
        Message("read back, the list is exactly the snapshot without the rejected."),
        Message(
            "red: send nothing to this list until it is green again, and inform the operator. Yellow: it wasn't "
            "reached; its text says whether the last proof holds."
        ),
    ),
    "rejections": (
        Message("the vendor refused only people who may not be written to."),
        Message("some people are missing because of their data: correct it; `campaign-sync why` explains each case."),
    ),
}
"""By check: its rule, and what to do if it doesn't hold."""

SHOWN_DETAILS = 3
"""How many different details of calls of one kind its page shows; the state database has all of them."""


def recipient_list_asset(
    builder: AssetBuilder, settings: ListSettings, turn: Turn, report: dg.AssetKey | None
) -> dg.AssetsDefinition:
    """Return the asset `[mandator, "<list>_recipient_list"]`: preflight, clear, fill, sweep, read back, proof.

    `report` is the asset of the report that is about the list, if there is one; its page links it.
    """
    mandator = settings.mandator
    key = asset_key(mandator, AssetKind.RECIPIENT_LIST, settings.name, prefix=settings.prefix)

    @builder.asset(
        key,
        kinds={"table"},
        op_tags=turn.op_tags(AssetKind.RECIPIENT_LIST),
        deps=[
            asset_key(mandator, AssetKind.SNAPSHOT, settings.name, prefix=settings.prefix),
            asset_key(mandator, AssetKind.SUPPRESSION_STATE, prefix=settings.prefix),  # a plan has its own snapshot
        ],
        description=asset_description(
            settings.language,
            Message(
                "“{display_name}”, recipient list {recipient_list_id} of {mandator_display_name} in Optimizely "
                "Campaign: replaced completely, swept, read back, proven. Green means that it holds whom it should.",
                display_name=settings.display_name,
                recipient_list_id=settings.recipient_list_id,
                mandator_display_name=settings.mandator_display_name,
            ),
            Message(
                "rows of the snapshot, and what became of them at the vendor; in list is what was read back at the end."
            ),
            Message(
                "open the last run. If the list wasn't touched, it has its old recipients, and its error says what "
                "to correct. If it is INCOMPLETE, send nothing to it until it is green again."
            ),
        ),
        metadata=labelled(
            {
                "mandator": settings.mandator_display_name,
                "list": settings.display_name,
                RECIPIENT_LIST_ID: str(settings.recipient_list_id),
                "opt-in": settings.schema.opt_in_id,
                **pick_metadata(settings),
                "strategy": settings.recipient_list.strategy,
                **({"daily report": dg.MetadataValue.asset(report)} if report else {}),
            },
            settings.language,
        ),
        check_specs=[
            dg.AssetCheckSpec(
                name,
                asset=key,
                blocking=name == "gate",
                description=check_description(settings.language, settings.display_name, *texts),
            )
            for name, texts in CHECKS.items()
        ],
    )
    def recipient_list(
        context: dg.AssetExecutionContext,
        run: RunResource,
        vendor: VendorResource,
        crm: CrmResource,
        state: StateResource,
        files: FilesResource,
    ) -> Iterator[Materialized | dg.AssetCheckResult]:
        with translate_errors(context, run, state) as attempt:
            replayed = _replayed(state, settings, context.run.tags.get(REPLAY_TAG))
            applied = _applied(state, settings, context.run.tags.get(APPLY_TAG))
            try:
                with _incomplete_lists(settings, state):
                    replacer = ListReplacer(
                        vendor.login(mandator),
                        crm.open(),
                        state.open(),
                        files.open(),
                        context.run.run_id,
                        on_wait=context.log.info,
                    )
                outcome = replacer.replace(settings, replayed, applied)
            except (ReplacementRefusedError, IncompleteListError) as caught:
                error = caught
                if isinstance(error, ReplacementRefusedError) and not replayed and not applied:
                    error = request_approval(context, run.configuration, settings, vendor, error, attempt)
                if error.outcomes:
                    attempt.evaluated_checks.add("gate")
                    yield in_language(_gate(key, error.outcomes), settings.language)
                # The run that completes the day imports the feedback first.
                stopping = [outcome.name for outcome in error.outcomes if outcome.stops]
                attempt.passes_later = GROUP_OF in context.run.tags and stopping == [FEEDBACK]
                raise error from None
            note_rows(outcome.proof.in_list)
            list_digest = state.open().digests.of(outcome.proof.digest)
        yield dg.MaterializeResult(
            data_version=dg.DataVersion(list_digest),
            metadata=labelled(
                {**_metadata(settings, outcome, list_digest), "seconds": attempt.seconds}, settings.language
            ),
            check_results=[
                in_language(result, settings.language)
                for result in (
                    _gate(key, outcome.preflight),
                    _proof(key, outcome, list_digest),
                    _rejections(key, outcome),
                )
            ],
        )

    return recipient_list


def _replayed(state: StateResource, settings: ListSettings, snapshot_id: str | None) -> StoredSnapshot | None:
    if snapshot_id is None:
        return None
    database = state.open()
    snapshot = database.snapshots.get(snapshot_id)
    if snapshot is None or snapshot_id not in database.replacements.proven_snapshots(settings.mandator, settings.name):
        raise ReplacementRefusedError(
            not_touched(
                settings.reference,
                Message(
                    "It has no proven snapshot {snapshot} to be replayed (tag {tag})",
                    snapshot=snapshot_id,
                    tag=REPLAY_TAG,
                ),
            )
        )
    return snapshot


def _applied(state: StateResource, settings: ListSettings, plan_id: str | None) -> AppliedPlan | None:
    if plan_id is None:
        return None
    applied = find_plan(state.open(), plan_id)
    if applied is None or (applied.plan.mandator, applied.plan.list) != (settings.mandator, settings.name):
        raise ReplacementRefusedError(
            not_touched(
                settings.reference,
                Message("No plan {plan} of this list is stored (tag {tag})", plan=plan_id, tag=APPLY_TAG),
            )
        )
    return applied


@contextmanager
def _incomplete_lists(settings: ListSettings, state: StateResource) -> Iterator[None]:
    """Let the error say so if the list is incomplete, and what would complete it can't be opened."""
    try:
        yield
    except (CrmError, OptimizelyError) as error:
        unfinished = state.open().replacements.incomplete(settings.mandator, settings.name, settings.recipient_list_id)
        if unfinished is None:
            raise
        raise still_incomplete(settings, unfinished, error) from None


def _gate(key: dg.AssetKey, outcomes: Sequence[CheckOutcome]) -> dg.AssetCheckResult:
    """Return the check of the preflight: a warning if only outcomes warn that no check of the snapshot shows."""
    stopping = [_named(outcome) for outcome in outcomes if outcome.stops]
    warning = [outcome for outcome in outcomes if outcome.warning]
    unseen = [outcome for outcome in warning if outcome.name not in CHECK_NAMES]
    summary = (
        Message("stopped by {checks}", checks=join_messages("; ", stopping))
        if stopping
        else Message("the list may be replaced")
    )
    warned = [Message("{check} warns", check=outcome.name) for outcome in warning if outcome not in unseen]
    warned += [_named(outcome) for outcome in unseen]
    return dg.AssetCheckResult(
        asset_key=key,
        check_name="gate",
        passed=not stopping and not unseen,
        severity=dg.AssetCheckSeverity.ERROR if stopping or not unseen else dg.AssetCheckSeverity.WARN,
        description=join_messages("; ", [summary, *warned]),
        metadata={"checks": table(_record(outcome) for outcome in outcomes)},
    )


def _named(outcome: CheckOutcome) -> Message:
    return join_messages(": ", [outcome.name, outcome.summary])


def _record(outcome: CheckOutcome) -> dict[str, str]:
    failed = Message("warning") if outcome.warning else Message("stops")
    return {
        "check": outcome.name,
        "verdict": Message("passed") if outcome.passed else failed,
        "found": outcome.summary,
    }


def _proof(key: dg.AssetKey, outcome: ReplacementOutcome, list_digest: str) -> dg.AssetCheckResult:
    proof = outcome.proof
    return dg.AssetCheckResult(
        asset_key=key,
        check_name="proof",
        passed=proof.holds,
        description=proof.summary,
        metadata={
            "expected": proof.expected,
            "in list": proof.in_list,
            "digest of the list": list_digest,
            **age_metadata(outcome.snapshot),
        },
    )


def _rejections(key: dg.AssetKey, outcome: ReplacementOutcome) -> dg.AssetCheckResult:
    """Return a warning if the vendor refused rows because of their data, to be corrected in the CRM."""
    turned_away = _turned_away(outcome)
    faulty = sum(rows for (_, reason), rows in turned_away.items() if reason in DATA_REASONS)
    records = [rejection_record(stage, reason, rows) for (stage, reason), rows in turned_away.items()]
    metadata: dict[str, Any] = {"rows": sum(turned_away.values()), "rows with faulty data": faulty}
    return dg.AssetCheckResult(
        asset_key=key,
        check_name="rejections",
        passed=not faulty,
        severity=dg.AssetCheckSeverity.WARN,
        description=(
            Message(
                "the vendor refused {rows} rows because of their data; `campaign-sync why` explains each case",
                rows=faulty,
            )
            if faulty
            else Message(
                "{people} left, bounced or were blocked meanwhile; no other rows were refused",
                people=sum(turned_away.values()),
            )
        ),
        metadata=metadata | ({"by reason": table(records)} if records else {}),
    )


def _turned_away(outcome: ReplacementOutcome) -> dict[tuple[str, str], int]:
    """Return how many of the snapshot's rows aren't in the list, by stage and reason."""
    counts: Counter[tuple[str, str]] = Counter()
    counts.update({("gate", reason): rows for reason, rows in outcome.dropped.items()})
    for code, rows in outcome.codes.items():
        if code != ACCEPTED:
            counts["vendor", VENDOR_REASONS.get(code, Reason.VENDOR_ERROR).value] += rows
    counts.update({("sweep", reason): rows for reason, rows in outcome.swept.items()})
    return dict(counts)


def _metadata(settings: ListSettings, outcome: ReplacementOutcome, list_digest: str) -> dict[str, Any]:
    turned_away = _turned_away(outcome)
    refused = {reason: rows for (stage, reason), rows in turned_away.items() if stage == "vendor"}
    return {
        "dagster/row_count": outcome.proof.in_list,
        "dropped": sum(outcome.dropped.values()),
        **{f"dropped: {reason}": rows for reason, rows in outcome.dropped.items()},
        "sent": outcome.sent,
        "accepted": outcome.codes.get(ACCEPTED, 0),
        "refused": sum(refused.values()),
        **{f"refused: {reason}": rows for reason, rows in refused.items()},
        "swept": sum(outcome.swept.values()),
        **{f"swept: {reason}": rows for reason, rows in outcome.swept.items()},
        "in list": outcome.proof.in_list,
        "proof": outcome.proof.summary,
        "digest of the list": list_digest,
        **age_metadata(outcome.snapshot),
        "batches": sum(step.step == ADD_ALL for step in outcome.steps),
        "strategy": settings.recipient_list.strategy + (", resumed" if outcome.resumed else ""),
        "seconds incomplete": round(outcome.incomplete_for.total_seconds(), 3),
        "journal": table(_call_record(call, steps) for call, steps in _by_call(outcome.steps).items()),
        "replace": outcome.replace_id,
        RECIPIENT_LIST_ID: str(settings.recipient_list_id),
    }


def _by_call(steps: Sequence[Step]) -> dict[str, list[Step]]:
    """Return the steps by what was called, in the order of the first calls: a large list has thousands of batches."""
    by_call: dict[str, list[Step]] = {}
    for step in steps:
        by_call.setdefault(step.step, []).append(step)
    return by_call


def _call_record(call: str, steps: Sequence[Step]) -> dict[str, str | int | float]:
    outcomes = Counter(step.outcome.value if step.outcome else "not known to have ended" for step in steps)
    details = list(dict.fromkeys(step.detail for step in steps if step.detail))
    more = ["…"] if len(details) > SHOWN_DETAILS else []
    return {
        "call": call,
        "calls": len(steps),
        "rows": sum(step.rows or 0 for step in steps),
        "outcome": ", ".join(
            f"{outcome} ({calls})" if len(outcomes) > 1 else outcome for outcome, calls in outcomes.items()
        ),
        "detail": "; ".join([*details[:SHOWN_DETAILS], *more]),
        "begun": f"{min(step.begun_at for step in steps):%Y-%m-%d %H:%M:%S}",
        "seconds": round(sum((step.ended_at - step.begun_at).total_seconds() for step in steps if step.ended_at), 3),
    }
