"""Opt-outs that the vendor's unsubscribe lists show before, or without, a feedback row."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from campaign_sync.config import FeedbackSettings
from campaign_sync.crm.port import Crm
from campaign_sync.domain.erasure import Erased
from campaign_sync.domain.feedback import ConsentRef, Unsubscribe
from campaign_sync.domain.vendor_sources import LIVE_LIST_SOURCE
from campaign_sync.feedback.crm_withdrawals import record_withdrawals, unsubscribes_of
from campaign_sync.feedback.earlier_attributions import EarlierAttributions, attribute_unsubscribes
from campaign_sync.storage.files import FileStorage
from campaign_sync.storage.state import State
from campaign_sync.storage.vendor_unsubscribes import PendingOptOut

IMPORTS_AWAITED = 2
"""How many imports can bring the feedback row of an opt-out that was found on the vendor's unsubscribe list."""

DAYS_AWAITED = timedelta(days=2)
"""The shortest wait for that row where feedback is imported more often than daily: the vendor's export may run only
once a day."""


@dataclass(frozen=True)
class VendorOptOuts:
    """Passes on opt-outs of one mandator from the vendor's unsubscribe lists to the CRM and the state database.

    A recipient who is known to be on a list doesn't opt out a second time. A recipient who was on it and isn't any more
    is forgotten.
    """

    mandator: str
    crm: Crm
    state: State
    frames: FileStorage

    def record(
        self, asked: Iterable[str], left: Collection[str], seen_at: datetime, source: str, *, await_rows: bool
    ) -> set[str]:
        """Record who is on the mandator's unsubscribe list, and withdraw the consents of those who left.

        Args:
            asked: the recipient ids that the vendor was asked about.
            left: those of them that are on the list.
            seen_at: the time of the answer by the vendor's clock; it replaces the unknown time of the opt-out.
            source: the source that the withdrawal names.
            await_rows: whether feedback rows name the opt-in that is affected. Then no consent is withdrawn yet: the
                opt-out is pending until its row comes, or until `withdraw_overdue` stops waiting for it.

        Returns:
            The recipients whose opt-outs are new.

        Raises:
            CrmError, FileStorageError, StateError: one of them fails.
        """
        remembered, erased = self.state.unsubscribed_recipients, self.state.erasures.erased()
        asked = {*asked, *left} if erased else asked
        recorded = _with_addresses(remembered.known(self.mandator), asked, erased)
        pending = {opt_out.recipient_id for opt_out in remembered.pending(self.mandator)}
        unknown = set(left) - recorded
        # The time is kept if the run dies before the CRM has the withdrawals.
        since = remembered.record_pending(self.mandator, unknown, seen_at, source)
        if not await_rows:
            opt_outs = [self._opt_out(recipient, since[recipient], source) for recipient in sorted(unknown)]
            remembered.mark_known(self.mandator, unknown - self._withdraw(opt_outs), seen_at)
        remembered.remove(self.mandator, _with_tokens(recorded.intersection(asked) - set(left), erased))
        return unknown - pending if await_rows else unknown

    def record_of_list(
        self,
        list_id: int,
        asked: Iterable[str],
        left: Mapping[str, frozenset[ConsentRef]],
        seen_at: datetime,
        source: str,
    ) -> set[str]:
        """Withdraw the consents for a recipient list with its own unsubscribe list, and no other consents.

        Args:
            list_id: the recipient list.
            asked: the recipient ids that the vendor was asked about.
            left: those of them that are on its unsubscribe list, each with the consents on which they are in the list.
            seen_at: the time of the answer by the vendor's clock; it replaces the unknown time of the opt-out.
            source: the source that the withdrawal names.

        Returns:
            The recipients whose opt-outs are new.

        Raises:
            CrmError, StateError: one of them can't be reached.
        """
        remembered, erased = self.state.list_unsubscribes, self.state.erasures.erased()
        asked = {*asked, *left} if erased else asked
        known = _with_addresses(remembered.known(self.mandator, list_id), asked, erased)
        new = set(left) - known
        # The time is kept if the run dies before the CRM has the withdrawals.
        since = remembered.record_pending(self.mandator, list_id, new, seen_at)
        opt_outs = [self._opt_out(recipient, since[recipient], source, left[recipient]) for recipient in sorted(new)]
        remembered.mark_known(self.mandator, list_id, set(left) - self._write(opt_outs), seen_at)
        recorded = known | remembered.pending(self.mandator, list_id)
        off = _with_tokens(recorded.intersection(asked) - set(left), erased)
        remembered.remove(self.mandator, list_id, off)
        return new

    def withdraw_overdue(self, feedback: FeedbackSettings) -> int:
        """Withdraw, by the snapshots, the pending opt-outs whose feedback row is overdue.

        Returns:
            How many these are, without those that the CRM refuses: they stay pending.
        """
        overdue = self._overdue(feedback)
        refused = self._withdraw(
            [self._opt_out(entry.recipient_id, entry.since, entry.source or LIVE_LIST_SOURCE) for entry in overdue]
        )
        recipients = {entry.recipient_id for entry in overdue} - refused
        self.state.unsubscribed_recipients.mark_known(self.mandator, recipients, datetime.now(UTC))
        return len(recipients)

    def _overdue(self, feedback: FeedbackSettings) -> list[PendingOptOut]:
        """Return those whose row none of the imports since has brought. All, where no reader names opt-ins any more."""
        pending = self.state.unsubscribed_recipients.pending(self.mandator)
        for reader in feedback.opt_in_readers:
            ends = self.state.feedback_imports.last_ends(self.mandator, reader, IMPORTS_AWAITED)
            if len(ends) < IMPORTS_AWAITED:
                return []
            before = min(ends[-1], ends[0] - DAYS_AWAITED) if feedback.schedule else ends[-1]
            pending = [opt_out for opt_out in pending if opt_out.since < before]
        return pending

    def _opt_out(
        self, recipient: str, since: datetime, source: str, consents: frozenset[ConsentRef] = frozenset()
    ) -> Unsubscribe:
        return Unsubscribe(recipient, since, self.mandator, source, dated=False, consents=consents)

    def _withdraw(self, opt_outs: Sequence[Unsubscribe]) -> set[str]:
        """Withdraw the consents that the snapshots show for these opt-outs. Return as `_write` does."""
        earlier = EarlierAttributions(opt_outs, self.state, {})
        attributed = attribute_unsubscribes(opt_outs, earlier, self.state, self.frames)
        return self._write(attributed)

    def _write(self, opt_outs: Sequence[Unsubscribe]) -> set[str]:
        """Write withdrawals to the CRM. Return the recipients of whom it refused any."""
        result, _ = record_withdrawals(self.crm, self.state, opt_outs)
        return {unsubscribe.address for unsubscribe in unsubscribes_of(result.refused)}


def _with_addresses(known: set[str], addresses: Iterable[str], erased: Erased) -> set[str]:
    """Return the known recipients, with those of the addresses that are known by the token of an erased person."""
    return known.union(address for address in addresses if erased.address_token(address) in known) if erased else known


def _with_tokens(addresses: set[str], erased: Erased) -> set[str]:
    return addresses.union(map(erased.address_token, addresses))
