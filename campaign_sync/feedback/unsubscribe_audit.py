"""The comparison of the CRM with the vendor's unsubscribe list and blocklist, in both directions."""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from campaign_sync.config import MandatorSettings
from campaign_sync.crm.port import CrmSnapshot
from campaign_sync.domain.address_columns import usable_addresses
from campaign_sync.domain.consent import VENDOR_SOURCE_PREFIX
from campaign_sync.domain.entity import Entity, EntityType
from campaign_sync.domain.erasure import Erased
from campaign_sync.domain.feedback import ConsentRef
from campaign_sync.domain.suppression import SuppressionKind
from campaign_sync.domain.vendor_sources import AUDIT_SOURCE
from campaign_sync.feedback.unsubscribe_lists import lists_left
from campaign_sync.feedback.vendor_opt_outs import VendorOptOuts
from campaign_sync.optimizely.client import Optimizely
from campaign_sync.optimizely.errors import RefusedError
from campaign_sync.optimizely.services import MAX_ROWS

_FEW_PEOPLE = 10
"""Up to this number, all people of a recipient list may have left it."""

Consenting = Mapping[str, Mapping[str, frozenset[ConsentRef]]]
"""By opt-in and usable address, the consents of everybody who has granted the opt-in."""


@dataclass(frozen=True)
class AuditResult:
    """The result of a comparison. Counts are of addresses, unless said otherwise."""

    asked: int
    """Addresses with a granted consent, which the vendor was asked about."""
    missing: int
    """They opted out at the vendor, and the CRM didn't know; it does now, or will when the feedback row has come."""
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


@dataclass(frozen=True)
class UnsubscribeAudit:
    """Asks the vendor about everybody with a granted consent; opt-outs that the CRM lacks are imported."""

    settings: MandatorSettings
    vendor: Optimizely
    opt_outs: VendorOptOuts
    on_rows: Callable[[int], None]
    """Receives the number of addresses of each call."""

    def run(self) -> AuditResult:
        """Compare both sides, import what the CRM lacks, and return the counts.

        Raises:
            OptimizelyError, CrmError, StateError: one of them can't be reached.
            RefusedError: the vendor's answers contradict each other.
        """
        opt_outs, vendor = self.opt_outs, self.vendor
        with opt_outs.crm.snapshot() as snapshot:
            consenting = {
                opt_in_id: _consenting(snapshot, opt_in_id, opt_outs.state.erasures.erased())
                for opt_in_id in sorted(set(self.settings.opt_ins_of_lists.values()))
            }
            withdrawn = _withdrawn_by_vendor(snapshot, opt_outs.mandator)
        now = datetime.now(UTC)
        everybody = _addresses(consenting)
        entries = vendor.unsubscribes.count()
        blocked = self._matching(vendor.blacklist.are_blacklisted, everybody)
        blocklist = opt_outs.state.blocked_addresses
        known_blocked = {address for address, _, _ in blocklist.all(opt_outs.mandator)}
        blocklist.record(opt_outs.mandator, blocked, AUDIT_SOURCE, now)
        withdrawn_by_vendor = set().union(*withdrawn.values())
        if self.settings.unsubscribe_lists == "per_list":
            left, new = self._import_from_lists(consenting, now)
            still = self._still_on_lists(withdrawn)
        else:
            left, new = self._import_from_client_list(everybody, entries, now)
            still = set(self._matching(vendor.unsubscribes.contains_all, sorted(withdrawn_by_vendor)))
        known = left - new
        return AuditResult(
            asked=len(everybody),
            missing=len(new),
            consenting_still=len(known - withdrawn_by_vendor),
            left_another=len(known & withdrawn_by_vendor),
            newly_blocked=len(set(blocked) - known_blocked),
            released=len(withdrawn_by_vendor - still),
            vendor_unsubscribed=entries,
            vendor_blocked=vendor.blacklist.count(),
        )

    @property
    def _rows_name_opt_ins(self) -> bool:
        """Whether feedback rows name the opt-in that is affected, so that consents wait for them."""
        return bool(self.settings.feedback.opt_in_readers)

    def _import_from_client_list(
        self, everybody: Sequence[str], entries: int, now: datetime
    ) -> tuple[set[str], set[str]]:
        """Import who is on the mandator's unsubscribe list. Return all of them, and the new ones.

        Raises:
            RefusedError: the vendor claims more opt-outs than its list has entries.
        """
        mandator = self.opt_outs.mandator
        left = set(self._matching(self.vendor.unsubscribes.contains_all, everybody))
        if len(left) > entries:
            raise RefusedError(
                f"the vendor says that {len(left)} of {len(everybody)} people have left {mandator}, and that its "
                f"unsubscribe list has {entries} entries; so no consent was withdrawn. Ask its support what "
                "Unsubscribe.containsAll means"
            )
        return left, self.opt_outs.record(everybody, left, now, AUDIT_SOURCE, await_rows=self._rows_name_opt_ins)

    def _import_from_lists(self, consenting: Consenting, now: datetime) -> tuple[set[str], set[str]]:
        """Import who has left recipient lists with their own unsubscribe lists. Return all of them, and the new ones.

        Where the user may not ask about single lists, the people on any unsubscribe list are counted and no consent is
        withdrawn, for it isn't known which list they left.

        Raises:
            RefusedError: the vendor claims that most people have left a list. It doesn't say how many entries the
                list's unsubscribe list has.
        """
        self._forget_removed(consenting)
        all_left, all_new = set[str](), set[str]()
        for list_id, opt_in_id in self.settings.opt_ins_of_lists.items():
            people = consenting[opt_in_id]
            left = self._matching(self._on_list(list_id), sorted(people))
            if self.vendor.unsubscribes.refuses_list_queries:
                on_any = self._matching(self.vendor.unsubscribes.contains_all, _addresses(consenting))
                return all_left | set(on_any), all_new
            if len(left) > max(_FEW_PEOPLE, len(people) / 2):
                raise RefusedError(
                    f"the vendor says that {len(left)} of {len(people)} people have left recipient list {list_id} of "
                    f"{self.opt_outs.mandator}; so no consent was withdrawn from it. Ask its support what "
                    "Unsubscribe.containsAllByRecipientList means"
                )
            # A recipient on the client's list may count as having left each: a feedback row says which consent ended.
            lists = lists_left(self.vendor, left, rows_name_opt_ins=self._rows_name_opt_ins)
            consents = {address: people[address] for address in left if list_id in lists[address]}
            asked = people.keys() - (set(left) - consents.keys())
            all_new |= self.opt_outs.record_of_list(list_id, asked, consents, now, AUDIT_SOURCE)
            all_left |= set(left)
        return all_left, all_new

    def _forget_removed(self, consenting: Consenting) -> None:
        """Forget recipients who were on the client's unsubscribe list and are on no list any more."""
        remembered, mandator = self.opt_outs.state.unsubscribed_recipients, self.opt_outs.mandator
        recorded = remembered.known(mandator).intersection(_addresses(consenting))
        on_any = self._matching(self.vendor.unsubscribes.contains_all, sorted(recorded))
        remembered.remove(mandator, recorded - set(on_any))

    def _on_list(self, list_id: int) -> Callable[[Sequence[str]], list[bool]]:
        """Return the question who has left a recipient list; the answer is no where the user may not ask."""
        return lambda ids: self.vendor.unsubscribes.contains_all_of_list(list_id, ids) or [False] * len(ids)

    def _still_on_lists(self, withdrawn: Mapping[str, Collection[str]]) -> set[str]:
        """Return the withdrawn who are still on an unsubscribe list that blocks a list of their opt-in."""
        on_any = set().union(*withdrawn.values())
        on_any &= set(self._matching(self.vendor.unsubscribes.contains_all, sorted(on_any)))
        lists = lists_left(self.vendor, on_any, rows_name_opt_ins=self._rows_name_opt_ins)
        opt_ins = self.settings.opt_ins_of_lists
        return {
            address
            for opt_in_id, addresses in withdrawn.items()
            for address in on_any.intersection(addresses)
            if not lists[address] or any(opt_ins.get(list_id) == opt_in_id for list_id in lists[address])
        }

    def _matching(self, ask: Callable[[Sequence[str]], list[bool]], addresses: Sequence[str]) -> list[str]:
        """Return those of the addresses for which the vendor says yes."""
        matching: list[str] = []
        for start in range(0, len(addresses), MAX_ROWS):
            chunk = addresses[start : start + MAX_ROWS]
            matching += [address for address, yes in zip(chunk, ask(chunk), strict=True) if yes]
            self.on_rows(len(chunk))
        return matching


def _addresses(consenting: Consenting) -> list[str]:
    """Return the addresses of all opt-ins, sorted."""
    return sorted(set().union(*consenting.values()))


def _consenting(snapshot: CrmSnapshot, opt_in_id: str, erased: Erased) -> dict[str, frozenset[ConsentRef]]:
    """Return, by usable address, the consents of everybody who has granted this opt-in, but for erased people."""
    by_address: defaultdict[str, set[ConsentRef]] = defaultdict(set)
    for people in snapshot.consenting(opt_in_id):
        columns = (people["entity_type"], people["entity_id"], usable_addresses(people["email"]), people["consent_at"])
        for entity_type, entity_id, address, consent_at in zip(*columns, strict=True):
            if isinstance(address, str) and not erased.ends(consent_at, address, f"{entity_type}:{entity_id}"):
                by_address[address].add(ConsentRef(Entity(EntityType(entity_type), entity_id), opt_in_id))
    return {address: frozenset(consents) for address, consents in by_address.items()}


def _withdrawn_by_vendor(snapshot: CrmSnapshot, mandator: str) -> dict[str, set[str]]:
    """Return, by opt-in, the addresses whose withdrawal came from the vendor."""
    frame = snapshot.suppression(mandator)
    by_vendor = frame["source"].str.startswith(VENDOR_SOURCE_PREFIX).fillna(value=False)
    rows = frame[(frame["kind"] == SuppressionKind.UNSUBSCRIBE) & by_vendor & frame["address"].notna()]
    return {str(opt_in_id): set(group) for opt_in_id, group in rows.groupby("opt_in_id")["address"]}
