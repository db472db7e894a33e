"""The plan that a run makes of a list that waits for an approval, so that people have something to approve."""

import dagster as dg

from campaign_sync.config import Configuration
from campaign_sync.domain.asset_names import AssetKind
from campaign_sync.domain.printable_text import printable_line
from campaign_sync.errors import CampaignSyncError
from campaign_sync.inquiry.plan_sources import open_planner
from campaign_sync.orchestration.asset_keys import asset_key
from campaign_sync.orchestration.assets.list_plan import plan_metadata
from campaign_sync.orchestration.errors import AssetAttempt
from campaign_sync.orchestration.names import approval_job_name
from campaign_sync.orchestration.resources import VendorResource
from campaign_sync.replacement.errors import ReplacementRefusedError
from campaign_sync.replacement.list_approval import name_plan, waits_for_approval
from campaign_sync.replacement.list_settings import ListSettings
from campaign_sync.replacement.preflight_checks import refusal


def request_approval(
    context: dg.AssetExecutionContext,
    configuration: Configuration,
    settings: ListSettings,
    vendor: VendorResource,
    error: ReplacementRefusedError,
    attempt: AssetAttempt,
) -> ReplacementRefusedError:
    """Return the error of a replacement that only lacks an approval with the plan to approve; any other as it is.

    The plan is stored, and materialized as the list's plan.
    """
    if not waits_for_approval(error.outcomes):
        return error
    try:
        with open_planner(configuration, vendor.login(settings.mandator), save=True) as planner:
            plan = planner.plan(settings)
    except CampaignSyncError as problem:  # what it waits for is true all the same
        context.log.warning("no plan could be made: %s", printable_line(str(problem)))
        return error
    if plan.id is None:
        return error
    key = asset_key(settings.mandator, AssetKind.PLAN, settings.name, prefix=settings.prefix)
    context.log_event(dg.AssetMaterialization(key, metadata=plan_metadata(plan)))
    attempt.awaited_plan = plan.id
    job = approval_job_name(settings.mandator, prefix=settings.prefix)
    return refusal(settings, name_plan(error.outcomes, settings, plan.id, job))
