"""The section `erasure`: by which key people who were erased are recognized."""

from campaign_sync.config.base import ConfigModel
from campaign_sync.config.field_types import Credential, Location


class ErasureSettings(ConfigModel):
    """How people who were erased stay suppressed."""

    key: Credential | None = None
    """The key of the hashes by which erased people are recognized, at least 32 characters; {env: NAME} or {file: PATH}.
    It is needed for the first erasure, and must never change or get lost after it."""
    copies: Location | None = None
    """A folder or URL where each erasure is kept once more, apart from what is restored together with `storage`."""
