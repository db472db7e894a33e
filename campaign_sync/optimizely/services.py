"""The typed classes of the web services, with only the operations that the product uses."""

from campaign_sync.optimizely.batching import MAX_ROWS
from campaign_sync.optimizely.mailings import ClosedLoop, ClosedLoopReader, Mailings
from campaign_sync.optimizely.opt_outs import EVERY_LIST, Blacklist, Unsubscribes
from campaign_sync.optimizely.recipients import Batch, RecipientLists, Recipients

__all__ = [
    "EVERY_LIST",
    "MAX_ROWS",
    "Batch",
    "Blacklist",
    "ClosedLoop",
    "ClosedLoopReader",
    "Mailings",
    "RecipientLists",
    "Recipients",
    "Unsubscribes",
]
