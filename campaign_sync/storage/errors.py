"""Errors of the state database: `StateError`, and `RevisionError` below it; and `ErasureKeyError`."""

from campaign_sync.errors import CampaignSyncError


class StateError(CampaignSyncError):
    """The state database can't be used. The message names it without its password, and the remedy, but no data."""

    retryable = True


class RevisionError(StateError):
    """The tables belong to another version of the product. Retrying doesn't help."""

    retryable = False


class ErasureKeyError(CampaignSyncError):
    """Erased people can't be recognized, or none can be erased: `erasure.key` is missing, or another."""
