"""Compares the CRM with the vendor's unsubscribe list and blocklist, in both directions."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from campaign_sync.crm.port import Crm, CrmSnapshot
from campaign_sync.domain.address import usable_address
from campaign_sync.domain.consent import VENDOR_SOURCE
from campaign_sync.feedback.write_back import hear
from campaign_sync.optimizely.client import Optimizely
from campaign_sync.optimizely.faults import RefusedError
from campaign_sync.optimizely.services import MAX_ROWS
from campaign_sync.state.feedback import AUDIT_SOURCE
from campaign_sync.state.frames import Frames
from campaign_sync.state.store import State


@dataclass(frozen=True)
class Audit:
    """What a comparison found. Counts are of addresses, unless said otherwise."""

    asked: int
    """Whom we could write to, and asked the vendor about."""
    missing: int
    """The vendor knows that they left, and the CRM didn't; it does now."""
    consenting_still: int
    """They have a consent in the CRM and are known to be on the vendor's list, which writes to none of them: they
    consented again, or left another list."""
    newly_blocked: int
    released: int
    """The CRM has them withdrawn because of the vendor, which doesn't have them on its list any more."""
    vendor_unsubscribed: int
    """How many entries the vendor's unsubscribe list has."""
    vendor_blocked: int
    """How many entries the vendor's blocklist has; patterns count once."""


def audit(
    mandator: str,
    opt_in_ids: Collection[str],
    vendor: Optimizely,
    crm: Crm,
    state: State,
    frames: Frames,
    on_rows: Callable[[int], None],
) -> Audit:
    """Ask the vendor about everybody we could write to; what the CRM lacks is imported.

    Args:
        mandator: a key of the configuration.
        opt_in_ids: the opt-ins of its lists.
        vendor: logged in to it.
        crm: to be compared, and told.
        state: what the product remembers.
        frames: where its snapshots are.
        on_rows: told how many addresses were asked about.

    Raises:
        OptimizelyError, CrmError, StateError: one of them can't be reached.
    """
    with crm.snapshot() as snapshot:
        consenting = sorted({address for opt_in_id in opt_in_ids for address in _addresses(snapshot, opt_in_id)})
        withdrawn = _withdrawn_by_vendor(snapshot, mandator)
    now = datetime.now(UTC)
    left = _asked(vendor.unsubscribes.contains_all, consenting, on_rows)
    blocked = _asked(vendor.blacklist.are_blacklisted, consenting, on_rows)
    unsubscribed = vendor.unsubscribes.count()
    if len(left) > unsubscribed:
        raise RefusedError(
            f"the vendor says that {len(left)} of {len(consenting)} people have left {mandator}, and that its "
            f"unsubscribe list has {unsubscribed} entries; so nobody was withdrawn. Ask its support what "
            "Unsubscribe.containsAll means"
        )
    known_blocked = {address for address, _, _ in state.blocked.all(mandator)}
    state.blocked.found(mandator, blocked, AUDIT_SOURCE, now)
    missing = len(hear(mandator, consenting, left, now, AUDIT_SOURCE, crm, state, frames))
    still = _asked(vendor.unsubscribes.contains_all, withdrawn, on_rows)
    return Audit(
        asked=len(consenting),
        missing=missing,
        consenting_still=len(left) - missing,
        newly_blocked=len(set(blocked) - known_blocked),
        released=len(withdrawn) - len(still),
        vendor_unsubscribed=unsubscribed,
        vendor_blocked=vendor.blacklist.count(),
    )


def _asked(
    ask: Callable[[Sequence[str]], list[bool]], addresses: Sequence[str], on_rows: Callable[[int], None]
) -> list[str]:
    """Those of the addresses for which the vendor says yes."""
    found: list[str] = []
    for start in range(0, len(addresses), MAX_ROWS):
        some = addresses[start : start + MAX_ROWS]
        found += [address for address, yes in zip(some, ask(some), strict=True) if yes]
        on_rows(len(some))
    return found


def _addresses(snapshot: CrmSnapshot, opt_in_id: str) -> Iterable[str]:
    return filter(None, (usable_address(email) for _, email, _ in snapshot.consenting(opt_in_id)))


def _withdrawn_by_vendor(snapshot: CrmSnapshot, mandator: str) -> list[str]:
    frame = snapshot.suppression(mandator)
    by_vendor = frame["source"].str.startswith(VENDOR_SOURCE).fillna(value=False)
    addresses = frame.loc[(frame["kind"] == "unsubscribe") & by_vendor, "address"]
    return sorted(set(addresses.dropna()))
