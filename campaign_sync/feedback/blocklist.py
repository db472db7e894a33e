"""What is known of a mandator's blocklist. It suppresses addresses and touches no consent."""

from dataclasses import dataclass

from campaign_sync.optimizely.client import Optimizely
from campaign_sync.state.blocked import BlockedAddresses

ADD_ALL_SOURCE = "optimizely:addAll3"
LIVE_LOOK_SOURCE = "optimizely:live_look"
AUDIT_SOURCE = "optimizely:audit"


@dataclass(frozen=True)
class Recheck:
    """What a look at those known to be blocked found."""

    blocked: int
    released: int


def recheck(mandator: str, vendor: Optimizely, blocked: BlockedAddresses) -> Recheck:
    """Ask the vendor about every address known to be blocked, and forget those that it has released.

    Raises:
        OptimizelyError: it can't be asked.
    """
    known = [address for address, _, _ in blocked.all(mandator)]
    still = vendor.blacklist.are_blacklisted(known)
    released = [address for address, is_blocked in zip(known, still, strict=True) if not is_blocked]
    blocked.released(mandator, released)
    return Recheck(len(known) - len(released), len(released))
