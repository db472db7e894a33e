"""One typed class per web service, with the operations the product uses and no others."""

from campaign_sync.optimizely.batching import MAX_ROWS
from campaign_sync.optimizely.mailings import ClosedLoop, Mailings, Reader
from campaign_sync.optimizely.opt_outs import EVERY_LIST, Blacklist, Unsubscribes
from campaign_sync.optimizely.recipients import Batch, RecipientLists, Recipients

__all__ = [
    "EVERY_LIST",
    "MAX_ROWS",
    "Batch",
    "Blacklist",
    "ClosedLoop",
    "Mailings",
    "Reader",
    "RecipientLists",
    "Recipients",
    "Unsubscribes",
]
