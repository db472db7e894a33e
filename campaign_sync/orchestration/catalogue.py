"""What Dagster's catalogue shows of assets: tags, owners, and the version of what made them."""

from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, version

import dagster as dg

from campaign_sync.config import MandatorSettings, RecipientListSettings
from campaign_sync.domain.asset_names import LIST_CHAIN, AssetKind
from campaign_sync.orchestration.asset_keys import asset_name
from campaign_sync.replacement.list_settings import settings_digest

_DAILY_PATH = frozenset({AssetKind.BOUNCES, AssetKind.UNSUBSCRIBES, AssetKind.SUPPRESSION_STATE, *LIST_CHAIN})
"""Assets without which no list is replaced."""

_WITHOUT_PEOPLE = frozenset(
    {AssetKind.CONFIGURATION, AssetKind.AUDIT, AssetKind.LIST_DRIFT, AssetKind.PLAN, AssetKind.REPORT}
)
"""Assets that keep counts only. All others keep data about persons."""


def with_catalogue(assets: Iterable[dg.AssetsDefinition], settings: MandatorSettings) -> list[dg.AssetsDefinition]:
    """Return the mandator's assets with their tags, owners and code versions."""
    versions = {name: code_version(section) for name, section in settings.lists.items()}

    def describe(spec: dg.AssetSpec) -> dg.AssetSpec:
        name = asset_name(spec.key)
        section = settings.lists[name.recipient_list] if name.recipient_list else None
        return spec.replace_attributes(
            owners=list((section.owners if section else None) or settings.owners),
            code_version=versions[name.recipient_list] if name.recipient_list else code_version(None),
            tags=asset_tags(name.kind),
        )

    return [asset.map_asset_specs(describe) for asset in assets]


def asset_tags(kind: AssetKind) -> dict[str, str]:
    """Return the tags of an asset: its domain, whether it keeps data about persons, and how urgent it is.

    Tier 1 is what a mailing depends on, tier 2 watches over that, and tier 3 can wait.
    """
    watching = kind in (AssetKind.AUDIT, AssetKind.LIST_DRIFT)
    return {
        "domain": "marketing",
        "pii": "false" if kind in _WITHOUT_PEOPLE else "true",
        "tier": "1" if kind in _DAILY_PATH or kind is AssetKind.CONFIGURATION else "2" if watching else "3",
    }


def code_version(section: RecipientListSettings | None) -> str:
    """Return the version of what makes an asset: of the product, and of the settings where a list is made by them."""
    if section is None:
        return _product_version()
    return f"{_product_version()}-{settings_digest(section)[:8]}"


@cache
def _product_version() -> str:
    try:
        return version("campaign-sync")
    except PackageNotFoundError:  # run from its source
        return "unknown"
