"""What stands against writing to one person at this moment, with its date."""

from dataclasses import dataclass
from datetime import datetime

import pandas as pd

from campaign_sync.domain.rejection import Reason
from campaign_sync.domain.suppression import REMEMBERED, entity_keys


@dataclass(frozen=True)
class SuppressionReason:
    """One row of a suppression frame that concerns a person, and what `Suppressed.reasons` makes of it."""

    reason: Reason
    since: datetime | None
    source: str | None
    whose: str | None
    """`entity_type:entity_id` of who withdrew; None for what is known of an address alone."""


def suppression_reasons(
    suppression: pd.DataFrame, opt_in_id: str, key: str | None, address: str | None, consent_at: datetime | None
) -> list[SuppressionReason]:
    """Everything that keeps a person out of lists on one opt-in, newest first.

    The same rules as `Suppressed.reasons`, which decides about whole lists and keeps no dates.

    Args:
        suppression: columns `domain.suppression.SUPPRESSION_COLUMNS`.
        opt_in_id: the list's opt-in.
        key: the person's `entity_type:entity_id`; None where only an address is known.
        address: their normalized address; None where they have none.
        consent_at: when they gave the consent that now counts; None where they didn't.
    """
    keys, since = entity_keys(suppression), suppression["since"]
    bounce, block, unsubscribe, pending, unclear, remembered = (
        suppression["kind"] == kind for kind in ("bounce", "block", "unsubscribe", "pending", "unclear", REMEMBERED)
    )
    here = suppression["address"].eq(address or "").fillna(value=False)
    of_opt_in, of_nobody = suppression["opt_in_id"].eq(opt_in_id).fillna(value=False), suppression["entity_id"].isna()
    of_any = of_opt_in | suppression["opt_in_id"].isna()
    its_own = keys.eq(key or "").fillna(value=False)
    # What has no time counts for ever, and who has no consent has no newer one.
    later = (since >= (pd.Timestamp(consent_at) if consent_at else pd.NaT)).fillna(value=False)
    later |= since.isna() & (consent_at is not None)
    ending = later | (consent_at is None)
    withdrawal = unsubscribe & of_opt_in & ~of_nobody
    parts = (
        (bounce & here, Reason.BOUNCED),
        (block & here, Reason.BLOCKLISTED),
        (pending & here & ending, Reason.ON_UNSUBSCRIBE_LIST),
        (unsubscribe & here & of_nobody & of_any & ending, Reason.UNSUBSCRIBED),
        (withdrawal & its_own, Reason.UNSUBSCRIBED),
        (withdrawal & here & later & ~its_own, Reason.CONSENT_WITHDRAWN),
        (unclear & of_any & ((its_own & ending) | (here & later)), Reason.CONSENT_UNCLEAR),
        (remembered & of_opt_in & its_own, Reason.WITHDRAWAL_VANISHED),
    )
    found = [
        SuppressionReason(reason, _moment(row.since), _text(row.source), _text(whose))
        for concerning, reason in parts
        for row, whose in zip(suppression[concerning].itertuples(), keys[concerning], strict=True)
    ]
    return sorted(found, key=lambda each: each.since.timestamp() if each.since else 0, reverse=True)


def _moment(value: object) -> datetime | None:
    return value.to_pydatetime() if isinstance(value, pd.Timestamp) else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
