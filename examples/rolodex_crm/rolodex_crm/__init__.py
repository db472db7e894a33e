"""The adapter `rolodex`: its settings, and how it is opened. What is heavy is imported when the CRM is opened."""

from typing import TYPE_CHECKING, ClassVar, Literal

from campaign_sync.config.crm import CrmSettings
from campaign_sync.config.field_types import BaseUrl, Credential
from campaign_sync.crm.adapter import CrmAdapter, CrmContext

if TYPE_CHECKING:
    from campaign_sync.crm.port import Crm


class RolodexSettings(CrmSettings):
    """The section `crm` for Rolodex."""

    NOT_CONTENT: ClassVar[frozenset[str]] = CrmSettings.NOT_CONTENT | {"page_size"}

    adapter: Literal["rolodex"]
    """The kind of CRM."""
    base_url: BaseUrl
    """Address of the API, like https://crm.example.org/api."""
    token: Credential
    """The API's token; {env: NAME} or {file: PATH}."""
    page_size: int = 500
    """How many records are read with one call."""


def _open(settings: RolodexSettings, context: CrmContext) -> "Crm":
    from campaign_sync.crm.mirror.adapter import MirrorCrm
    from rolodex_crm.source import RolodexSource

    return MirrorCrm(RolodexSource(settings), settings, context, settings.base_url)


ADAPTER = CrmAdapter(RolodexSettings, _open)
