"""The keys of all assets in Dagster, and which asset a key is of."""

from collections.abc import Sequence

import dagster as dg

from campaign_sync.domain.asset_names import LIST_CHAIN, AssetKind, AssetName

FEEDBACK_KINDS = (AssetKind.BOUNCES, AssetKind.UNSUBSCRIBES, AssetKind.SUPPRESSION_STATE)
"""The assets that bring feedback into the CRM, in their order."""


def asset_key(mandator: str, kind: AssetKind, recipient_list: str | None = None, *, prefix: str = "") -> dg.AssetKey:
    """Return the key of an asset; `recipient_list` is the name of its list where it belongs to one."""
    return dg.AssetKey(list(AssetName(mandator, kind, recipient_list, prefix=prefix).path))


def asset_name(key: dg.AssetKey) -> AssetName:
    """Return the name of the asset that has this key of ours."""
    return AssetName.parse(key.path)


def feedback_keys(mandator: str, *, prefix: str = "") -> list[dg.AssetKey]:
    """Return the keys of what brings a mandator's feedback into the CRM."""
    return [asset_key(mandator, kind, prefix=prefix) for kind in FEEDBACK_KINDS]


def list_keys(mandator: str, recipient_list: str, *, prefix: str = "") -> list[dg.AssetKey]:
    """Return the keys of a list's own assets, in their order."""
    return [asset_key(mandator, kind, recipient_list, prefix=prefix) for kind in LIST_CHAIN]


def replacement_keys(mandator: str, recipient_lists: Sequence[str], *, prefix: str = "") -> list[dg.AssetKey]:
    """Return the keys of everything that leads to these lists of a mandator, and of the lists themselves."""
    lists = (key for name in recipient_lists for key in list_keys(mandator, name, prefix=prefix))
    return [*feedback_keys(mandator, prefix=prefix), *lists]
