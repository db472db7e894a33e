"""Everybody who may not be written to in a mandator, by all that is known now."""

from datetime import datetime

import pandas as pd

from campaign_sync.crm.port import CrmSnapshot
from campaign_sync.domain.entity import Entity
from campaign_sync.domain.feedback import FINAL_BOUNCES
from campaign_sync.domain.suppression import SUPPRESSION_COLUMNS, SuppressionKind
from campaign_sync.storage.state import State


def current_suppression(crm: CrmSnapshot, state: State, mandator: str) -> pd.DataFrame:
    """Return the CRM's bounces and withdrawn consents, unmatched, refused and pending feedback, and the blocklist.

    Columns `SUPPRESSION_COLUMNS`. A withdrawal that the CRM refused is shown as if the CRM had it. An unmatched
    unsubscribe, and an opt-out whose feedback row is awaited, name an `address` and no entity: a person whom the CRM
    gets under that address later isn't written to either.
    """
    # Read before the CRM: feedback that another import matches meanwhile is then in at least one of the two.
    bounces = [entry for entry in state.feedback_imports.unmatched_bounces() if entry.kind in FINAL_BOUNCES]
    unsubscribes = state.feedback_imports.unmatched(mandator).unsubscribes
    refused = state.refused_withdrawals.of(mandator)
    pending = state.unsubscribed_recipients.pending(mandator)
    further: list[tuple[str, str, Entity | None, str | None, datetime, str | None]] = [
        *((SuppressionKind.BOUNCE, entry.address, None, None, entry.occurred_at, entry.source) for entry in bounces),
        *(
            (SuppressionKind.UNSUBSCRIBE, entry.address, None, entry.opt_in_id, entry.occurred_at, entry.source)
            for entry in unsubscribes
        ),
        *(
            (
                SuppressionKind.UNSUBSCRIBE,
                entry.address,
                consent.entity,
                consent.opt_in_id,
                entry.occurred_at,
                entry.source,
            )
            for entry in refused
            for consent in entry.consents
        ),
        *((SuppressionKind.PENDING, entry.recipient_id, None, None, entry.since, entry.source) for entry in pending),
        *(
            (SuppressionKind.BLOCK, address, None, None, since, source)
            for address, since, source in state.blocked_addresses.all(mandator)
        ),
    ]
    known = crm.suppression(mandator)
    if not further:
        return known
    kinds, addresses, entities, opt_in_ids, moments, sources = zip(*further, strict=True)
    ours = pd.DataFrame(
        {
            "kind": pd.Series(kinds, dtype="str"),
            "address": pd.Series(addresses, dtype="str"),
            "entity_type": pd.Series([entity and entity.entity_type.value for entity in entities], dtype="str"),
            "entity_id": pd.Series([entity and entity.entity_id for entity in entities], dtype="str"),
            "opt_in_id": pd.Series(opt_in_ids, dtype="str"),
            "since": pd.to_datetime(list(moments), utc=True).as_unit("us"),
            "source": pd.Series(sources, dtype="str"),
        },
        columns=list(SUPPRESSION_COLUMNS),
    )
    return pd.concat([known, ours], ignore_index=True)
