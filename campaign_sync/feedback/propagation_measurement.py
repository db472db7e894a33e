"""Measures how long opt-outs take, from what the product remembers."""

from collections.abc import Collection
from datetime import datetime, timedelta

from campaign_sync.domain.propagation import Delays, OptOut, ReplacementTimes, delays_to_crm, delays_to_removal
from campaign_sync.storage.state import State

PERIOD = timedelta(days=7)
"""Opt-outs that the CRM was told of so long ago are measured."""


def measure_delays(
    mandator: str, lists: Collection[str], state: State, now: datetime
) -> tuple[Delays | None, Delays | None]:
    """From opt-out to CRM, and to absence from every list, of everybody it was told of lately; None for nobody."""
    to_crm, to_absence = list_delays(mandator, lists, state, now, PERIOD)
    return Delays.summarize(to_crm), Delays.summarize(to_absence)


def list_delays(
    mandator: str, lists: Collection[str], state: State, now: datetime, period: timedelta
) -> tuple[list[timedelta], list[timedelta]]:
    """From each opt-out that the CRM was told of in that period, to the CRM and to absence from every list.

    Who left before feedback was imported for the first time doesn't count: that says nothing of the way there is now.
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
    proofs = {
        name: [
            ReplacementTimes(record.frozen_at, record.proven_at)
            for record in state.replacement_history.proven(mandator, name)
        ]
        for name in lists
    }
    return delays_to_crm(opt_outs), delays_to_removal(opt_outs, proofs, now)
