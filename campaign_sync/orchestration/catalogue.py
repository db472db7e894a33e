"""What Dagster's catalogue shows of assets: tags, and the version of what made them."""

from functools import cache
from importlib.metadata import PackageNotFoundError, version

from campaign_sync.config import RecipientListSettings
from campaign_sync.domain.asset_names import LIST_CHAIN, AssetKind
from campaign_sync.replacement.list_settings import settings_digest

_DAILY_PATH = frozenset({AssetKind.BOUNCES, AssetKind.UNSUBSCRIBES, AssetKind.SUPPRESSION_STATE, *LIST_CHAIN})
"""Assets without which no list is replaced."""

_WITHOUT_PEOPLE = frozenset(
    {AssetKind.CONFIGURATION, AssetKind.AUDIT, AssetKind.LIST_DRIFT, AssetKind.PLAN, AssetKind.REPORT}
)
"""Assets that keep counts only. All others keep data about persons."""


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
