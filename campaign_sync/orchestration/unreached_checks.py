"""Says of checks that a run doesn't come to why it didn't, so that nobody takes their result of the day before for now.

They are warnings: what failed is told as a failed step or a failed check already.
"""

from collections.abc import Collection, Iterator

import dagster as dg

from campaign_sync.domain.asset_names import AssetKind
from campaign_sync.orchestration.asset_keys import asset_name
from campaign_sync.orchestration.resources import Resources
from campaign_sync.storage.errors import StateError

_FOUND_OTHERWISE = frozenset({"feedback_age"})
"""Checks that a sensor evaluates as well, whatever becomes of a run."""


def say_not_evaluated(
    context: dg.AssetExecutionContext, reason: str, *, own: bool, evaluated: Collection[str] = ()
) -> None:
    """Report the checks that this run was to evaluate further down as not evaluated.

    Args:
        context: of the asset that failed, or whose check has stopped the others.
        reason: why, as part of a sentence. Nobody's data.
        own: whether the asset's own checks weren't evaluated either.
        evaluated: those of its own that were.
    """
    below = set(_downstream(context))
    for key in sorted(context.job_def.asset_layer.asset_graph.asset_check_keys):
        mine = own and key.asset_key == context.asset_key and key.name not in evaluated
        if key.name not in _FOUND_OTHERWISE and (mine or key.asset_key in below):
            context.instance.report_runless_asset_event(
                dg.AssetCheckEvaluation(
                    asset_key=key.asset_key,
                    check_name=key.name,
                    passed=False,
                    severity=dg.AssetCheckSeverity.WARN,
                    description=f"not evaluated, because {reason.rstrip('.')}.{_standing(context, key.asset_key)}",
                    metadata={"run": context.run.run_id},
                )
            )


def _downstream(context: dg.AssetExecutionContext) -> Iterator[dg.AssetKey]:
    """The assets of this run that wait for this one."""
    layer = context.job_def.asset_layer
    seen, waiting = {context.asset_key}, [context.asset_key]
    while waiting:
        for child in layer.asset_graph.get(waiting.pop()).child_keys:
            if child in layer.selected_asset_keys and child not in seen:
                seen.add(child)
                waiting.append(child)
                yield child


def _standing(context: dg.AssetExecutionContext, key: dg.AssetKey) -> str:
    """Of a list, what it holds by its last proof; nothing of anything else."""
    name = asset_name(key)
    if name.kind is not AssetKind.RECIPIENT_LIST or name.recipient_list is None:
        return ""
    ports = context.resources.ports
    assert isinstance(ports, Resources)  # noqa: S101 - every asset has them
    try:
        broken = ports.state.replacements.incomplete(name.mandator, name.recipient_list)
        proven = ports.state.replacements.last_proven(name.mandator, name.recipient_list)
    except StateError:
        return " Whether its last proof holds isn't known: the state database can't be asked."
    if broken:
        since = broken.cleared_at or broken.started_at
        return f" The list is INCOMPLETE since {since:%Y-%m-%d %H:%M} UTC, so no proof holds; send nothing to it."
    if proven is None:
        return " The list was never proven."
    at = proven.finished_at or proven.started_at
    return f" This run didn't touch the list: its last proof, of {at:%Y-%m-%d %H:%M} UTC, is of what it was left with."
