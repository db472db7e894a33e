"""Withdrawals on their way into the CRM, with a record of those it takes and of those it refuses."""

from collections.abc import Sequence
from datetime import UTC, datetime

from campaign_sync.crm.port import Crm, WriteBack
from campaign_sync.domain.feedback import CrmEntry, Unsubscribe
from campaign_sync.storage.state import State


def record_withdrawals(
    crm: Crm, state: State, unsubscribes: Sequence[Unsubscribe]
) -> tuple[WriteBack, set[Unsubscribe]]:
    """Write withdrawals to the CRM, and remember the refused ones: they are repeated until the CRM has them.

    Returns:
        The CRM's answer, and the unsubscribes for which the CRM has entries, or refused them.

    Raises:
        CrmError, StateError: one of them fails. Repeat the call; nothing is written twice.
    """
    waiting, settled = state.refused_withdrawals.event_ids(), set[Unsubscribe]()

    def on_written(entries: Sequence[CrmEntry]) -> None:
        state.write_backs.record(entries, datetime.now(UTC))
        state.refused_withdrawals.remove({entry.event_id for entry in entries if entry.event_id} & waiting)
        settled.update(unsubscribes_of(entries))

    result = crm.record_unsubscribes(unsubscribes, on_written)
    state.refused_withdrawals.add(result.refused)
    return result, settled | unsubscribes_of(result.refused)


def unsubscribes_of(entries: Sequence[CrmEntry]) -> set[Unsubscribe]:
    """Return the unsubscribes that entries belong to."""
    return {entry.feedback for entry in entries if isinstance(entry.feedback, Unsubscribe)}
