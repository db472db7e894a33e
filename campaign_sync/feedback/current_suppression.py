"""Who may not be written to in a mandator, by everything we know at this moment."""

from datetime import datetime

import pandas as pd

from campaign_sync.crm.port import CrmSnapshot
from campaign_sync.domain.feedback import FINAL_BOUNCES
from campaign_sync.domain.suppression import SUPPRESSION_COLUMNS, SuppressionKind
from campaign_sync.storage.state import State


def suppression(crm: CrmSnapshot, state: State, mandator: str) -> pd.DataFrame:
    """The CRM's bounces and withdrawn consents, feedback about addresses that the CRM doesn't know, and the blocklist.

    Columns `SUPPRESSION_COLUMNS`. An unmatched unsubscribe names an `address` and no entity: should the CRM learn of
    that address tomorrow, nobody under it is written to. So does an opt-out whose feedback row is awaited.
    """
    # Before the CRM is read: whom another import matches meanwhile is in one of the two, if not in both.
    bounces = [one for one in state.feedback_imports.unmatched_bounces() if one.kind in FINAL_BOUNCES]
    unsubscribes = state.feedback_imports.unmatched(mandator).unsubscribes
    pending = state.unsubscribed_recipients.pending(mandator)
    further: list[tuple[str, str, str | None, datetime, str | None]] = [
        *((SuppressionKind.BOUNCE, one.address, None, one.occurred_at, one.source) for one in bounces),
        *(
            (SuppressionKind.UNSUBSCRIBE, one.address, one.opt_in_id, one.occurred_at, one.source)
            for one in unsubscribes
        ),
        *((SuppressionKind.PENDING, one.recipient_id, None, one.since, one.source) for one in pending),
        *(
            (SuppressionKind.BLOCK, address, None, since, source)
            for address, since, source in state.blocked_addresses.all(mandator)
        ),
    ]
    known = crm.suppression(mandator)
    if not further:
        return known
    nowhere = pd.Series([None] * len(further), dtype="str")
    kinds, addresses, opt_in_ids, moments, sources = zip(*further, strict=True)
    by_address = pd.DataFrame(
        {
            "kind": pd.Series(kinds, dtype="str"),
            "address": pd.Series(addresses, dtype="str"),
            "entity_type": nowhere,
            "entity_id": nowhere,
            "opt_in_id": pd.Series(opt_in_ids, dtype="str"),
            "since": pd.to_datetime(list(moments), utc=True).as_unit("us"),
            "source": pd.Series(sources, dtype="str"),
        },
        columns=list(SUPPRESSION_COLUMNS),
    )
    return pd.concat([known, by_address], ignore_index=True)
