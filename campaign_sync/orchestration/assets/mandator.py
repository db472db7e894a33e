"""All assets of one mandator: feedback in, then one chain per recipient list."""

import re
from datetime import datetime

import dagster as dg

from campaign_sync.config import Configuration
from campaign_sync.domain.feedback import FeedbackKind
from campaign_sync.orchestration.asset_builder import AssetBuilder
from campaign_sync.orchestration.assets.audit import audit_asset
from campaign_sync.orchestration.assets.bounces_unsubscribes import feedback_asset
from campaign_sync.orchestration.assets.list_drift import list_drift_asset
from campaign_sync.orchestration.assets.list_plan import list_plan_asset
from campaign_sync.orchestration.assets.recipient_list import recipient_list_asset
from campaign_sync.orchestration.assets.report import report_asset
from campaign_sync.orchestration.assets.responses import response_assets
from campaign_sync.orchestration.assets.selection import selection_asset
from campaign_sync.orchestration.assets.snapshot import snapshot_asset
from campaign_sync.orchestration.assets.suppression_state import suppression_asset
from campaign_sync.orchestration.turns import turns_of
from campaign_sync.replacement.list_settings import list_settings


def mandator_assets(configuration: Configuration, mandator: str, now: datetime) -> list[dg.AssetsDefinition]:
    """Return the assets of a mandator.

    Args:
        configuration: all mandators.
        mandator: a key of the configuration.
        now: the moment from which freshness policies look at the schedules.
    """
    settings, crm_kind = configuration.mandators[mandator], _crm_kind(configuration.crm.adapter)
    lists = [list_settings(configuration, mandator, name) for name in settings.lists]
    turns = turns_of({name: section.priority for name, section in settings.lists.items()})
    builder = AssetBuilder(mandator, settings, now)
    report = report_asset(builder, configuration, mandator)
    return [
        *(feedback_asset(builder, mandator, settings, kind) for kind in FeedbackKind),
        suppression_asset(builder, mandator, settings, crm_kind),
        audit_asset(builder, mandator, settings, crm_kind),
        list_drift_asset(builder, configuration, mandator),
        *response_assets(builder, mandator, settings),
        *(
            asset
            for recipient_list in lists
            for asset in (
                selection_asset(builder, recipient_list, crm_kind, turns[recipient_list.name]),
                snapshot_asset(builder, recipient_list, turns[recipient_list.name]),
                recipient_list_asset(
                    builder, recipient_list, turns[recipient_list.name], report.key if report else None
                ),
                list_plan_asset(builder, configuration, recipient_list),
            )
        ),
        *([report] if report else []),
    ]


def _crm_kind(adapter: str) -> str:
    """Return the kind of CRM, by its adapter, as Dagster accepts kinds of assets."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", adapter)
