"""Withdrawals and bounces that the CRM has accepted and doesn't show yet: they are added to a copy."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, column, insert, select, table

from campaign_sync.crm.mirror.current_consents import CurrentConsents
from campaign_sync.crm.mirror.memory import ConsentMemory, WrittenBounce, WrittenWithdrawal
from campaign_sync.crm.sql.feedback_plan import bounces_on_record, shows_bounce, streamed
from campaign_sync.domain.consent import ConsentKind, ConsentWords, normalize_word

_EVENTS = table(
    "consent_event",
    *map(column, ("id", "entity_type", "entity_id", "opt_in_id", "kind", "occurred_at", "source", "evidence")),
)

_BOUNCES = table("address_state", *map(column, ("address", "bounce_kind", "bounced_at", "mandator", "source")))

_HOLDERS = table("address_holder", column("address"))


@dataclass(frozen=True)
class FeedbackOverlay:
    """Adds to a copy what the CRM has accepted and doesn't show, and reports what it shows now.

    Args:
        connection: to the copy.
        words: how the CRM calls what happens to a consent.
        memory: what was written.
        now: the present moment.
    """

    connection: Connection
    words: ConsentWords
    memory: ConsentMemory
    now: datetime

    def add(self, opt_in_ids: Collection[str] | None) -> None:
        """Add withdrawals of these opt-ins (None means all) and bounces."""
        shown_events = self._add_withdrawals(opt_in_ids)
        shown_addresses = self._add_bounces()
        if shown_events or shown_addresses:
            self.memory.mark_shown(shown_events, shown_addresses)

    def _add_withdrawals(self, opt_in_ids: Collection[str] | None) -> list[str]:
        wanted = None if opt_in_ids is None else set(map(normalize_word, opt_in_ids))
        withdrawals = [
            withdrawal
            for withdrawal in self.memory.unshown_withdrawals()
            if wanted is None or normalize_word(withdrawal.opt_in_id) in wanted
        ]
        if not withdrawals:
            return []
        entities = {withdrawal.entity for withdrawal in withdrawals}
        consents = CurrentConsents.read(self.connection, self.words, entities, self.now)
        shown, missing, withdrawn = [], [], []
        for withdrawal in withdrawals:
            parts = (withdrawal.event_id, withdrawal.entity, withdrawal.opt_in_id, withdrawal.occurred_at)
            if consents.knows(*parts):
                shown.append(withdrawal.event_id)
                if consents.show_withdrawn(withdrawal.entity, withdrawal.opt_in_id):
                    withdrawn.append(withdrawal)
            # A withdrawal of an opt-in that is no longer defined would keep its person out of all lists.
            elif normalize_word(withdrawal.opt_in_id) in consents.opt_ins:
                missing.append(_event(withdrawal))
        if missing:
            self.connection.execute(insert(_EVENTS), missing)
        self.memory.note_withdrawals(withdrawn)
        return shown

    def _add_bounces(self) -> list[str]:
        bounces = {bounce.address_pseudonym: bounce for bounce in self.memory.unshown_bounces()}
        if not bounces:
            return []
        addresses = dict(self._named(bounces))
        stored = bounces_on_record(self.connection, addresses)
        shown, missing = [], []
        for address, bounce in addresses.items():
            if address in stored and shows_bounce(stored[address], bounce.kind, bounce.occurred_at):
                shown.append(bounce.address_pseudonym)
            else:
                missing.append(_state(address, bounce))
        if missing:
            self.connection.execute(insert(_BOUNCES), missing)
        return shown

    def _named(self, bounces: dict[str, WrittenBounce]) -> Iterator[tuple[str, WrittenBounce]]:
        """Yield the addresses of people in the CRM that bounced, by their pseudonyms."""
        for row in streamed(self.connection, select(_HOLDERS.c.address).distinct()):
            bounce = bounces.get(self.memory.pseudonym(row.address))
            if bounce:
                yield row.address, bounce


def _event(withdrawal: WrittenWithdrawal) -> dict[str, str]:
    return {
        "id": withdrawal.event_id,
        "entity_type": withdrawal.entity.entity_type.value,
        "entity_id": withdrawal.entity.entity_id,
        "opt_in_id": withdrawal.opt_in_id,
        "kind": ConsentKind.WITHDRAWN.value,
        "occurred_at": withdrawal.occurred_at.isoformat(),
        "source": withdrawal.source,
        "evidence": withdrawal.evidence,
    }


def _state(address: str, bounce: WrittenBounce) -> dict[str, str]:
    return {
        "address": address,
        "bounce_kind": bounce.kind.value,
        "bounced_at": bounce.occurred_at.isoformat(),
        "mandator": bounce.mandator,
        "source": bounce.source,
    }
