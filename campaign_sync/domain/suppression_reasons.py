"""The reasons that currently keep one person out of recipient lists, with their dates."""

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pandas as pd

from campaign_sync.domain.erasure import NO_ERASURES, Erased
from campaign_sync.domain.rejection import Reason
from campaign_sync.domain.suppression import Suppressed, entity_keys

_BEFORE_EVERYTHING = datetime(1700, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class SuppressionReason:
    """A row of a suppression frame that applies to a person, and the reason that `Suppressed` gives for it."""

    reason: Reason
    since: datetime | None
    source: str | None
    entity_key: str | None
    """`entity_type:entity_id` of the entity that withdrew; None if only an address is known."""


def suppression_reasons(
    suppression: pd.DataFrame,
    opt_in_id: str,
    key: str | None,
    address: str | None,
    consent_at: datetime | None,
    erased: Erased,
) -> list[SuppressionReason]:
    """Return everything that keeps a person out of lists on one opt-in, newest first.

    `Suppressed.reasons`, which decides about whole lists, also decides about each row that names the person. Without a
    consent, rows count that name the person's own entity or none, as the consents they ended were earlier.

    Args:
        suppression: columns `domain.suppression.SUPPRESSION_COLUMNS`.
        opt_in_id: the list's opt-in.
        key: the person's `entity_type:entity_id`; None if only an address is known.
        address: the person's normalized address; None without one.
        consent_at: the time of the consent that applies now; None without one.
        erased: everybody who was erased.
    """
    erased_at = erased.at(address=address, record=key)
    is_erased = erased_at is not None and (consent_at is None or erased.ends(consent_at, address or "", key or ""))
    suppression, asked = erased.hide(suppression), key
    key, address = key and erased.record_token(key), address and erased.address_token(address)
    keys = entity_keys(suppression)
    is_own = keys.eq(key or "").fillna(value=False)
    concerning = is_own | suppression["address"].eq(address or "").fillna(value=False)
    if consent_at is None:
        concerning &= is_own | keys.isna()
    person = _person(key, consent_at or _BEFORE_EVERYTHING)
    addresses = pd.Series([address], dtype="str")
    reasons = [SuppressionReason(Reason.ERASED, erased_at, None, None)] if is_erased else []
    for position in np.flatnonzero(concerning).tolist():
        row = suppression.iloc[[position]]
        reason = Suppressed.of(row, opt_in_id, NO_ERASURES).reasons(person, addresses).iloc[0]
        if isinstance(reason, str):
            since, source = row["since"].iloc[0], row["source"].iloc[0]
            whose = asked if is_own.iloc[position] else _text(keys.iloc[position])
            reasons.append(SuppressionReason(Reason(reason), _datetime(since), _text(source), whose))
    return sorted(reasons, key=lambda reason: reason.since.timestamp() if reason.since else 0, reverse=True)


def _person(key: str | None, consent_at: datetime) -> pd.DataFrame:
    kind, _, entity_id = (key or "").partition(":")
    return pd.DataFrame(
        {
            "entity_type": pd.Series([kind or None], dtype="str"),
            "entity_id": pd.Series([entity_id or None], dtype="str"),
            "consent_at": pd.Series([consent_at], dtype="datetime64[us, UTC]"),
        }
    )


def _datetime(value: object) -> datetime | None:
    return value.to_pydatetime() if isinstance(value, pd.Timestamp) else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
