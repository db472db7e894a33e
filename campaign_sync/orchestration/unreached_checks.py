"""Checks that a run won't evaluate: reported as such, so that no result of an earlier day is taken for the current one.

They are warnings, which Dagster's UI shows in yellow as “Failed”: without any result they would be red there. What
failed is reported as a failed step or a failed check anyway.
"""

from collections.abc import Collection, Iterator
from datetime import UTC

import dagster as dg

from campaign_sync.domain.asset_names import AssetKind
from campaign_sync.domain.message import Message, join_messages
from campaign_sync.domain.moment import moment
from campaign_sync.domain.printable_text import printable
from campaign_sync.localization.catalogs import translate
from campaign_sync.orchestration.asset_keys import asset_name
from campaign_sync.orchestration.check_names import CHECKS_OF_SENSORS
from campaign_sync.orchestration.metadata import RECIPIENT_LIST_ID
from campaign_sync.orchestration.metadata_labels import labelled, unlabelled
from campaign_sync.orchestration.resources import RunResource, StateResource
from campaign_sync.storage.errors import StateError


def report_unevaluated(
    context: dg.AssetExecutionContext,
    run: RunResource,
    state: StateResource,
    reason: str,
    *,
    own: bool,
    evaluated: Collection[str] = (),
) -> None:
    """Report the checks of downstream assets in this run as not evaluated.

    Args:
        context: of the asset that failed, or whose check has stopped the others.
        run: knows the language.
        state: says what the lists hold.
        reason: why, as part of a sentence without personal data.
        own: whether the asset's own checks weren't evaluated either.
        evaluated: names of its own checks that were evaluated.
    """
    downstream = set(_downstream(context))
    for key in sorted(context.job_def.asset_layer.asset_graph.asset_check_keys):
        is_own = own and key.asset_key == context.asset_key and key.name not in evaluated
        if key.name not in CHECKS_OF_SENSORS and (is_own or key.asset_key in downstream):
            contents = _list_contents(state, key.asset_key, context)
            not_reached = Message("Not reached, so neither passed nor failed, because {reason:inline}.", reason=reason)
            description = join_messages(" ", [not_reached, *([contents] if contents else [])])
            context.instance.report_runless_asset_event(
                dg.AssetCheckEvaluation(
                    asset_key=key.asset_key,
                    check_name=key.name,
                    passed=False,
                    severity=dg.AssetCheckSeverity.WARN,
                    description=printable(translate(description, run.configuration.language)),
                    metadata=labelled({"run": context.run.run_id}, run.configuration.language),
                )
            )


def _downstream(context: dg.AssetExecutionContext) -> Iterator[dg.AssetKey]:
    """Yield the assets of this run that depend on the current one."""
    layer = context.job_def.asset_layer
    seen, waiting = {context.asset_key}, [context.asset_key]
    while waiting:
        for child in layer.asset_graph.get(waiting.pop()).child_keys:
            if child in layer.selected_asset_keys and child not in seen:
                seen.add(child)
                waiting.append(child)
                yield child


def _list_contents(state: StateResource, key: dg.AssetKey, context: dg.AssetExecutionContext) -> str:
    """Return a sentence on what a recipient list holds by its last proof; an empty text for other assets."""
    name = asset_name(key)
    if name.kind is not AssetKind.RECIPIENT_LIST or name.recipient_list is None:
        return ""
    of_list = (name.mandator, name.recipient_list, _recipient_list_id(context, key))
    try:
        opened = state.open()
        unfinished = opened.replacements.incomplete(*of_list)
        proven = opened.replacements.last_proven(*of_list)
        drift = opened.list_drifts.of(name.mandator, name.recipient_list, proven.id) if proven else None
    except StateError:
        return Message("Whether the last proof of the list holds isn't known: the state database can't be asked.")
    if unfinished:
        since = unfinished.cleared_at or unfinished.started_at
        return Message(
            "The list is INCOMPLETE since {moment}, so no proof holds; send nothing to it.", moment=moment(since, UTC)
        )
    if proven is None:
        return Message("The list was never proven.")
    at = proven.finished_at or proven.started_at
    if drift and drift.drifted_since:
        return Message(
            "The list was changed at the vendor after its last proof, of {moment}: send nothing to it.",
            moment=moment(at, UTC),
        )
    return Message("The list wasn't touched: its last proof, of {moment}, holds.", moment=moment(at, UTC))


def _recipient_list_id(context: dg.AssetExecutionContext, key: dg.AssetKey) -> int:
    return int(unlabelled(context.job_def.asset_layer.asset_graph.get(key).metadata)[RECIPIENT_LIST_ID])
