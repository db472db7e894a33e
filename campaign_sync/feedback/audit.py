"""Compares the CRM with the vendor's unsubscribe list and blocklist, in both directions."""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from campaign_sync.config import UnsubscribeLists
from campaign_sync.crm.port import Crm, CrmSnapshot
from campaign_sync.domain.address import usable_address
from campaign_sync.domain.consent import VENDOR_SOURCE_PREFIX
from campaign_sync.domain.entity import Entity, EntityType
from campaign_sync.domain.feedback import ConsentRef
from campaign_sync.domain.suppression import SuppressionKind
from campaign_sync.feedback.list_opt_outs import withdraw_from_list
from campaign_sync.feedback.unsubscribe_lists import lists_left
from campaign_sync.feedback.write_back import record_live_opt_outs
from campaign_sync.optimizely.client import Optimizely
from campaign_sync.optimizely.errors import RefusedError
from campaign_sync.optimizely.services import MAX_ROWS
from campaign_sync.storage.feedback_imports import AUDIT_SOURCE
from campaign_sync.storage.files import FileStorage
from campaign_sync.storage.state import State


@dataclass(frozen=True)
class AuditResult:
    """What a comparison found. Counts are of addresses, unless said otherwise."""

    asked: int
    """Whom we could write to, and asked the vendor about."""
    missing: int
    """The vendor knows that they left, and the CRM didn't; it does now, or will when the feedback row has come."""
    consenting_still: int
    """They have a consent in the CRM and are known to be on the vendor's list, which writes to none of them; they have
    left no other opt-in of the mandator, so they consented again."""
    left_another: int
    """They keep a consent in the CRM and have left another opt-in of the mandator, which explains why they are on the
    vendor's list."""
    newly_blocked: int
    released: int
    """The CRM has them withdrawn because of the vendor, which doesn't have them on its list any more."""
    vendor_unsubscribed: int
    """How many entries the vendor's unsubscribe list has."""
    vendor_blocked: int
    """How many entries the vendor's blocklist has; patterns count once."""


def audit_unsubscribes(
    mandator: str,
    opt_ins: Mapping[int, str],
    unsubscribe_lists: UnsubscribeLists,
    vendor: Optimizely,
    crm: Crm,
    state: State,
    frames: FileStorage,
    on_rows: Callable[[int], None],
    *,
    rows_name_opt_ins: bool,
) -> AuditResult:
    """Ask the vendor about everybody we could write to; what the CRM lacks is imported.

    Args:
        mandator: a key of the configuration.
        opt_ins: recipient list id: the opt-in that the list stands on.
        unsubscribe_lists: whether lists have unsubscribe lists of their own.
        vendor: logged in to it.
        crm: to be compared, and told.
        state: what the product remembers.
        frames: where its snapshots are.
        on_rows: told how many addresses were asked about.
        rows_name_opt_ins: whether feedback rows name the opt-in that is affected, so that consents wait for them.

    Raises:
        OptimizelyError, CrmError, StateError: one of them can't be reached.
    """
    with crm.snapshot() as snapshot:
        consenting = {opt_in_id: _consenting(snapshot, opt_in_id) for opt_in_id in sorted(set(opt_ins.values()))}
        withdrawn = _withdrawn_by_vendor(snapshot, mandator)
    now = datetime.now(UTC)
    everybody = sorted(set().union(*consenting.values()))
    entries = vendor.unsubscribes.count()
    blocked = _asked(vendor.blacklist.are_blacklisted, everybody, on_rows)
    known_blocked = {address for address, _, _ in state.blocked_addresses.all(mandator)}
    state.blocked_addresses.record(mandator, blocked, AUDIT_SOURCE, now)
    withdrawn_by_vendor = set().union(*withdrawn.values())
    if unsubscribe_lists == "per_list":
        left, news = _left_lists(
            mandator, opt_ins, consenting, vendor, crm, state, now, on_rows, rows_name_opt_ins=rows_name_opt_ins
        )
        still = _on_lists(opt_ins, withdrawn, vendor, on_rows, rows_name_opt_ins=rows_name_opt_ins)
    else:
        left = set(_asked(vendor.unsubscribes.contains_all, everybody, on_rows))
        _require_credible(mandator, len(left), len(everybody), entries)
        news = record_live_opt_outs(
            mandator, everybody, left, now, AUDIT_SOURCE, crm, state, frames, await_rows=rows_name_opt_ins
        )
        still = set(_asked(vendor.unsubscribes.contains_all, sorted(withdrawn_by_vendor), on_rows))
    known = left - news
    return AuditResult(
        asked=len(everybody),
        missing=len(news),
        consenting_still=len(known - withdrawn_by_vendor),
        left_another=len(known & withdrawn_by_vendor),
        newly_blocked=len(set(blocked) - known_blocked),
        released=len(withdrawn_by_vendor - still),
        vendor_unsubscribed=entries,
        vendor_blocked=vendor.blacklist.count(),
    )


def _require_credible(mandator: str, left: int, asked: int, entries: int) -> None:
    if left > entries:
        raise RefusedError(
            f"the vendor says that {left} of {asked} people have left {mandator}, and that its unsubscribe list has "
            f"{entries} entries; so nobody was withdrawn. Ask its support what Unsubscribe.containsAll means"
        )


_A_FEW = 10
"""So few people may all have left a recipient list."""


def _left_lists(
    mandator: str,
    opt_ins: Mapping[int, str],
    consenting: Mapping[str, Mapping[str, frozenset[ConsentRef]]],
    vendor: Optimizely,
    crm: Crm,
    state: State,
    now: datetime,
    on_rows: Callable[[int], None],
    *,
    rows_name_opt_ins: bool,
) -> tuple[set[str], set[str]]:
    """Import who has left recipient lists with unsubscribe lists of their own. Return all, and the new ones.

    Where the user may not ask about single lists, who is on any unsubscribe list is counted, and nothing is withdrawn:
    nobody can tell which list they left. Who was on the client's list, and is on none any more, is forgotten.

    Raises:
        RefusedError: the vendor claims that most people have left a list. It doesn't say how many entries its
            unsubscribe list has.
    """
    recorded = state.unsubscribed_recipients.known(mandator).intersection(set().union(*consenting.values()))
    on_some = _asked(vendor.unsubscribes.contains_all, sorted(recorded), on_rows)
    state.unsubscribed_recipients.remove(mandator, recorded - set(on_some))
    everybody_left, news = set[str](), set[str]()
    for list_id, opt_in_id in opt_ins.items():
        people = consenting[opt_in_id]
        left = _asked(_of_list(vendor, list_id), sorted(people), on_rows)
        if vendor.unsubscribes.refuses_list_queries:
            addresses = sorted(set().union(*consenting.values()))
            return everybody_left | set(_asked(vendor.unsubscribes.contains_all, addresses, on_rows)), news
        if len(left) > max(_A_FEW, len(people) / 2):
            raise RefusedError(
                f"the vendor says that {len(left)} of {len(people)} people have left recipient list {list_id} of "
                f"{mandator}; so nobody was withdrawn from it. Ask its support what "
                "Unsubscribe.containsAllByRecipientList means"
            )
        # Who is on the client's list may be counted as having left each: a feedback row says which consent ended.
        lists = lists_left(vendor, left, rows_name_opt_ins=rows_name_opt_ins)
        consents = {address: people[address] for address in left if list_id in lists[address]}
        asked = people.keys() - (set(left) - consents.keys())
        news |= withdraw_from_list(mandator, list_id, asked, consents, now, AUDIT_SOURCE, crm, state)
        everybody_left |= set(left)
    return everybody_left, news


def _of_list(vendor: Optimizely, list_id: int) -> Callable[[Sequence[str]], list[bool]]:
    """Asks who has left a recipient list; nobody, as far as is known, where the user may not ask."""
    return lambda ids: vendor.unsubscribes.contains_all_of_list(list_id, ids) or [False] * len(ids)


def _on_lists(
    opt_ins: Mapping[int, str],
    withdrawn: Mapping[str, Collection[str]],
    vendor: Optimizely,
    on_rows: Callable[[int], None],
    *,
    rows_name_opt_ins: bool,
) -> set[str]:
    """Return the withdrawn who are still on an unsubscribe list that blocks a list of their opt-in."""
    on_some = {address for addresses in withdrawn.values() for address in addresses}
    on_some &= set(_asked(vendor.unsubscribes.contains_all, sorted(on_some), on_rows))
    lists = lists_left(vendor, on_some, rows_name_opt_ins=rows_name_opt_ins)
    return {
        address
        for opt_in_id, addresses in withdrawn.items()
        for address in on_some.intersection(addresses)
        if not lists[address] or any(opt_ins.get(list_id) == opt_in_id for list_id in lists[address])
    }


def _asked(
    ask: Callable[[Sequence[str]], list[bool]], addresses: Sequence[str], on_rows: Callable[[int], None]
) -> list[str]:
    """Return those of the addresses for which the vendor says yes."""
    matching: list[str] = []
    for start in range(0, len(addresses), MAX_ROWS):
        chunk = addresses[start : start + MAX_ROWS]
        matching += [address for address, yes in zip(chunk, ask(chunk), strict=True) if yes]
        on_rows(len(chunk))
    return matching


def _consenting(snapshot: CrmSnapshot, opt_in_id: str) -> dict[str, frozenset[ConsentRef]]:
    """By usable address, the consents of everybody who has granted this opt-in."""
    by_address: defaultdict[str, set[ConsentRef]] = defaultdict(set)
    for key, email, _ in snapshot.consenting(opt_in_id):
        if address := usable_address(email):
            entity_type, _, entity_id = key.partition(":")
            by_address[address].add(ConsentRef(Entity(EntityType(entity_type), entity_id), opt_in_id))
    return {address: frozenset(consents) for address, consents in by_address.items()}


def _withdrawn_by_vendor(snapshot: CrmSnapshot, mandator: str) -> dict[str, set[str]]:
    """By opt-in, the addresses whose withdrawal came from the vendor."""
    frame = snapshot.suppression(mandator)
    by_vendor = frame["source"].str.startswith(VENDOR_SOURCE_PREFIX).fillna(value=False)
    rows = frame[(frame["kind"] == SuppressionKind.UNSUBSCRIBE) & by_vendor & frame["address"].notna()]
    return {str(opt_in_id): set(group) for opt_in_id, group in rows.groupby("opt_in_id")["address"]}
