"""Selected people, divided into those who may be mailed and rejections of the others."""

from dataclasses import dataclass

import pandas as pd

from campaign_sync.domain.address import is_blank_address
from campaign_sync.domain.address_columns import usable_addresses
from campaign_sync.domain.consent import GRANTING, VENDOR_SOURCE_PREFIX, ConsentKind
from campaign_sync.domain.entity import EntityType
from campaign_sync.domain.exclusion import NOT_EXCLUDED, Excluded
from campaign_sync.domain.filter_columns import UNREADABLE
from campaign_sync.domain.rejection import Reason, Stage
from campaign_sync.domain.suppression import Suppressed, entity_keys

NORMALIZED_ADDRESS = "@address"
"""The column that `split_by_consent` adds. No column of a CRM can have this name."""

REJECTION_COLUMNS = ("entity_type", "entity_id", "stage", "reason", "vendor_code")
"""Columns of a rejection frame. `vendor_code` is `addAll3`'s answer (`Int64`), missing if the vendor wasn't called."""


@dataclass(frozen=True)
class Split:
    """A frame divided into the remaining rows and a rejection for every other row."""

    rows: pd.DataFrame
    rejections: pd.DataFrame


def rejections(rows: pd.DataFrame, stage: Stage, reason: "Reason | pd.Series[str]") -> pd.DataFrame:
    """Return a rejection of every row, which has `entity_type` and `entity_id`. Columns `REJECTION_COLUMNS`."""
    return pd.DataFrame(
        {
            "entity_type": rows["entity_type"].astype("str"),
            "entity_id": rows["entity_id"].astype("str"),
            "stage": stage.value,
            "reason": reason.value if isinstance(reason, Reason) else reason.astype("str"),
            "vendor_code": pd.array([pd.NA] * len(rows), dtype="Int64"),
        },
        columns=list(REJECTION_COLUMNS),
    ).reset_index(drop=True)


def split_by_consent(selected: pd.DataFrame, suppressed: Suppressed, excluded: Excluded = NOT_EXCLUDED) -> Split:
    """Keep the rows with a granted consent for the list's opt-in and an address that isn't suppressed or excluded.

    Every row is decided independently, so a frame can be split in parts.

    Args:
        selected: one row per entity, with the CRM port's `SELECTION_COLUMNS` and further columns.
        suppressed: the suppressions for the list's opt-in.
        excluded: who is excluded from the list. This reason counts only for people without any other.

    Returns:
        The rows with a further column `NORMALIZED_ADDRESS`, and the rejections. Those of erased people have the keyed
        hash of the record as `entity_id`.
    """
    addresses, flaws = _addresses(selected["email"])
    kind = selected["consent_kind"]
    withdrawn = kind.eq(ConsentKind.WITHDRAWN.value).fillna(value=False)
    granted = kind.isin(GRANTING)
    by_vendor = selected["consent_source"].astype("str").str.startswith(VENDOR_SOURCE_PREFIX).fillna(value=False)

    reason = suppressed.reasons(selected, addresses, granted)
    erased = reason.eq(Reason.ERASED.value).fillna(value=False)
    reason = flaws.where(flaws.notna(), reason)
    reason[reason.isna().to_numpy() & excluded.among(selected, addresses)] = Reason.EXCLUDED.value
    if UNREADABLE in selected:
        reason[reason.isna() & selected[UNREADABLE]] = Reason.NOT_UTF8.value
    reason[~granted & (reason != Reason.CONSENT_UNCLEAR.value).fillna(value=True)] = Reason.NO_CONSENT.value
    reason[kind.eq(ConsentKind.UNCLEAR.value).fillna(value=False)] = Reason.CONSENT_UNCLEAR.value
    reason[kind.eq(ConsentKind.FUTURE.value).fillna(value=False)] = Reason.CONSENT_IN_FUTURE.value
    reason[withdrawn] = Reason.CONSENT_WITHDRAWN.value
    reason[withdrawn & by_vendor] = Reason.UNSUBSCRIBED.value
    reason[~selected["entity_type"].isin(list(EntityType))] = Reason.UNKNOWN_ENTITY_TYPE.value

    reason[erased] = Reason.ERASED.value

    kept = reason.isna()
    rejected = selected.loc[~kept, ["entity_type", "entity_id"]].astype("str")
    if erased.any():
        records = map(suppressed.erased.rejected_record, entity_keys(selected[erased]))
        rejected.loc[erased[~kept], "entity_id"] = [record.partition(":")[2] for record in records]
    return Split(
        rows=selected[kept]
        .drop(columns=UNREADABLE, errors="ignore")
        .assign(**{NORMALIZED_ADDRESS: addresses[kept]})
        .reset_index(drop=True),
        rejections=rejections(rejected, Stage.SELECTION, reason[~kept]),
    )


def _addresses(emails: "pd.Series[str]") -> "tuple[pd.Series[str], pd.Series[str]]":
    """Return the normalized addresses, missing if invalid, and the reason for each missing one."""
    addresses = usable_addresses(emails)
    flaws = pd.Series(pd.NA, index=emails.index, dtype="str")
    lacking = addresses.isna().to_numpy()
    if lacking.any():
        blank = [not isinstance(email, str) or is_blank_address(email) for email in emails[lacking]]
        flaws[lacking] = [Reason.NO_ADDRESS.value if is_blank else Reason.INVALID_ADDRESS.value for is_blank in blank]
    return addresses, flaws
