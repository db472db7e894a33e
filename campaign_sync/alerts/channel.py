"""The port: a way to tell somebody something."""

from typing import Protocol

from campaign_sync.domain.incident import Notice
from campaign_sync.errors import CampaignSyncError


class ChannelError(CampaignSyncError):
    """A notice couldn't be delivered. The message names the channel and the remedy; never a password or an address."""


class Channel(Protocol):
    """Tells people of troubles."""

    @property
    def name(self) -> str:
        """What it is called where deliveries are written down."""

    def send(self, notice: Notice) -> None:
        """Deliver a notice.

        Raises:
            ChannelError: it wasn't delivered, as far as anybody knows.
        """
