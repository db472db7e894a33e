"""The installed kinds of CRM: packages offer their adapters as entry points of the group `campaign_sync.crm`."""

import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from campaign_sync.config.crm import CrmSettings
from campaign_sync.distribution import is_clone
from campaign_sync.errors import CampaignSyncError

ENTRY_POINTS = "campaign_sync.crm"
"""The group of the entry points; the name of each is a value of `crm.adapter`."""

DEFAULT_ADAPTER = "sql"
"""The adapter of a section `crm` that names none."""

_OWN_PACKAGE = "campaign-sync"


class AdapterError(CampaignSyncError):
    """An adapter isn't installed, or can't be loaded. The message names its package."""


@cache
def all_offers(path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    """Return what the packages on `sys.path` offer: searching them takes longer than all else of a configuration."""
    return tuple(entry_points(group=ENTRY_POINTS))


def adapter_names() -> list[str]:
    """Return the names of all installed adapters."""
    return sorted({offer.name for offer in all_offers(tuple(sys.path))})


def load_adapter(name: str) -> Any:
    """Import an adapter, and return what its package offers: an object with a model as `settings`.

    Raises:
        AdapterError: no package, or more than one, offers an adapter of this name.
        AdapterError: it can't be imported.
    """
    offers = [offer for offer in all_offers(tuple(sys.path)) if offer.name == name]
    if len(offers) != 1:
        raise AdapterError(_several(offers) if offers else _unknown())
    try:
        adapter = offers[0].load()
    except ImportError as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
    except Exception as error:  # noqa: BLE001 - it is other people's code
        raise AdapterError(f"{_title(offers[0])} can't be imported: {type(error).__name__}") from None
    else:
        return _checked(adapter, offers[0])
    raise AdapterError(_not_importable(offers[0], missing))


def settings_model(section: Mapping[str, object]) -> type[CrmSettings]:
    """Return the model of a section `crm`, by the adapter that it names.

    Raises:
        AdapterError: see `load_adapter`.
    """
    name = section.get("adapter", DEFAULT_ADAPTER)
    if not isinstance(name, str):
        raise AdapterError(f"the name of an adapter is expected: {', '.join(adapter_names())}")
    model: type[CrmSettings] = load_adapter(name).settings
    return model


def _checked(adapter: Any, offer: EntryPoint) -> Any:
    settings = getattr(adapter, "settings", None)
    if isinstance(settings, type) and issubclass(settings, CrmSettings):
        return adapter
    raise AdapterError(f"{_title(offer)} offers no CrmAdapter whose settings are a CrmSettings ({offer.value})")


def _title(offer: EntryPoint) -> str:
    return f"the adapter {offer.name} of the package {_package(offer)}"


def _package(offer: EntryPoint) -> str:
    return offer.dist.name if offer.dist else offer.module


def _unknown() -> str:
    names = adapter_names()
    if not names:
        return f"no adapter is installed at all; {'run `uv sync`' if is_clone() else f'install {_OWN_PACKAGE} again'}"
    return (
        f"there is no such adapter; installed are {', '.join(names)}. Correct the name, or install the package that "
        f"offers it as an entry point {ENTRY_POINTS}"
    )


def _several(offers: list[EntryPoint]) -> str:
    packages = ", ".join(sorted(_package(offer) for offer in offers))
    return f"several packages offer the adapter {offers[0].name}: {packages}; uninstall all but one of them"


def _not_importable(offer: EntryPoint, missing: str | None) -> str:
    package = _package(offer)
    wanted = f"{package}[{','.join(offer.extras)}]" if offer.extras else package
    why = f"the module {missing} isn't installed" if missing else "a module of it, or of what it needs, doesn't fit"
    return f"{_title(offer)} can't be imported: {why}; run pip install --upgrade '{wanted}'"
