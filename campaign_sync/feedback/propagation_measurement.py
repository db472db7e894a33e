"""Measurement of the time that opt-outs take to reach the CRM and the lists."""

from collections.abc import Collection
from datetime import datetime, timedelta

from campaign_sync.domain.propagation import Delays, OptOut, delays_to_crm, delays_to_removal
from campaign_sync.storage.state import State

PERIOD = timedelta(days=7)
"""Opt-outs that reached the CRM within this time are measured."""


def measure_delays(
    mandator: str, lists: Collection[str], state: State, now: datetime
) -> tuple[Delays | None, Delays | None]:
    """Return the delays from opt-out to CRM, and to absence from every list, of `PERIOD`; None without opt-outs."""
    to_crm, to_absence = list_delays(mandator, lists, state, now, PERIOD)
    return Delays.summarize(to_crm), Delays.summarize(to_absence)


def list_delays(
    mandator: str, lists: Collection[str], state: State, now: datetime, period: timedelta
) -> tuple[list[timedelta], list[timedelta]]:
    """Return the delays to the CRM, and to absence from every list, of each opt-out that reached the CRM in a period.

    Opt-outs from before the first import of feedback don't count: their delay says nothing about the imports.
    """
    first = state.feedback_imports.first_import(mandator)
    if first is None:
        return [], []
    records = [
        record for record in state.write_backs.unsubscribes(mandator, now - period) if record.occurred_at >= first
    ]
    by_person = {
        (record.recipient, record.occurred_at): OptOut(record.occurred_at, record.written_at) for record in records
    }
    opt_outs = list(by_person.values())
    if not opt_outs:
        return [], []
    first_written = min(opt_out.written_at for opt_out in opt_outs)
    proofs = state.replacement_history.proven_times(mandator, lists, first_written)
    return delays_to_crm(opt_outs), delays_to_removal(opt_outs, proofs, now)
