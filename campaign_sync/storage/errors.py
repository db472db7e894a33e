"""Errors of the state database: `StateError`, and `RevisionError` below it."""

from campaign_sync.errors import CampaignSyncError


class StateError(CampaignSyncError):
    """The state database can't be used. The message names it without its password, and the remedy, but no data."""

    retryable = True


class RevisionError(StateError):
    """The tables belong to another version of the product. Retrying doesn't help."""

    retryable = False
