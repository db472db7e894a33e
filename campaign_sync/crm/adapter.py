"""What a kind of CRM brings: its settings, and the function that opens it. Importing it imports nothing heavy."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from campaign_sync.config.base import ConfigModel
from campaign_sync.config.crm import CrmSettings

if TYPE_CHECKING:
    from campaign_sync.crm.mirror.memory import ConsentMemory
    from campaign_sync.crm.outline import CrmOutline
    from campaign_sync.crm.port import Crm, CrmNeeds


@dataclass(frozen=True)
class CrmContext:
    """What an adapter gets beside its own settings."""

    needs: "CrmNeeds"
    """What the configured lists ask of the CRM."""
    memory: "ConsentMemory"
    """What the CRM showed before, and what was written to it."""
    folder: Path
    """Where local copies of the CRM are stored. It needn't exist."""


@dataclass(frozen=True)
class CrmAdapter:
    """A kind of CRM, found by its name in the entry points `campaign_sync.crm`.

    The configuration imports the module that holds it, so what is heavy is imported by `open`.
    """

    settings: type[CrmSettings]
    """The model of the section `crm`. Its `adapter` is the name of the entry point."""
    open: "Callable[[Any, CrmContext], Crm]"
    """Opens the CRM of these settings. Raises CrmError."""
    login: type[ConfigModel] | None = None
    """The part of the settings that `outline` needs: where the CRM is, and who logs in."""
    outline: "Callable[[Any], CrmOutline] | None" = None
    """Asks the CRM of this login what a first configuration can name, for `campaign-sync init`. Raises CrmError."""
