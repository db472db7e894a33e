"""The search for consents that have stopped changing in the CRM."""

from collections.abc import Collection
from datetime import datetime

from campaign_sync.crm.port import CrmSnapshot
from campaign_sync.domain.consent_activity import ConsentActivity, note_change
from campaign_sync.storage.state import State


def watch_consents(
    crm: CrmSnapshot, state: State, mandator: str, opt_in_ids: Collection[str], now: datetime
) -> ConsentActivity:
    """Return how often consents for these opt-ins change in the CRM, and remember the newest change."""
    known = [opt_in_id for opt_in_id in sorted(opt_in_ids) if crm.opt_in(opt_in_id)]
    reads = (state.consent_observations.last_read(opt_in_id) for opt_in_id in known)
    changes = [crm.newest_consent_change(opt_in_id) for opt_in_id in known]
    changes += [read.changed_at for read in reads if read]
    before = state.consent_activities.find(mandator)
    activity = note_change(before, max(filter(None, changes), default=None), now)
    if activity != before:
        state.consent_activities.save(mandator, activity)
    return activity
