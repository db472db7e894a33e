"""The port for notices: mail, webhook, log and Apprise implement it."""

from typing import Protocol

from campaign_sync.domain.incident import Notice
from campaign_sync.errors import CampaignSyncError


class ChannelError(CampaignSyncError):
    """A notice couldn't be delivered. The message names the channel and the remedy; never a password or an address."""


class Channel(Protocol):
    """Delivers notices of incidents."""

    @property
    def name(self) -> str:
        """The name under which deliveries are recorded."""

    def send(self, notice: Notice) -> None:
        """Deliver a notice.

        Raises:
            ChannelError: it wasn't delivered, as far as can be known.
        """
