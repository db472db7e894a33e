"""The recheck of a mandator's known blocked addresses. The blocklist suppresses addresses and changes no consent."""

from campaign_sync.optimizely.client import Optimizely
from campaign_sync.storage.blocklist import BlockedAddresses


def recheck_blocklist(mandator: str, vendor: Optimizely, blocked: BlockedAddresses) -> int:
    """Ask the vendor about every address known to be blocked, and forget those it has released. Return their number.

    Raises:
        OptimizelyError: the vendor can't be asked.
    """
    known = [address for address, _, _ in blocked.all(mandator)]
    still = vendor.blacklist.are_blacklisted(known)
    released = [address for address, is_blocked in zip(known, still, strict=True) if not is_blocked]
    blocked.remove(mandator, released)
    return len(released)
