"""The rows of one recipient list exactly as they will be sent."""

import pandas as pd

from campaign_sync.domain.checks import LIST_PREFIX, ROW_REASONS, Contract, row_checks, run_schema
from campaign_sync.domain.consent import OptIn
from campaign_sync.domain.entity import EntityType
from campaign_sync.domain.recipient import ADDRESS, RECIPIENT_ID, TechnicalField
from campaign_sync.domain.rejection import Reason, Stage
from campaign_sync.domain.selection import NORMALIZED_ADDRESS, Sifted, rejections
from campaign_sync.domain.text import normalize_text

EVIDENCE_COLUMNS = ("consent_source", "consent_evidence", "consent_text_version")
"""What proves the consent of a row, so that the proof outlives the CRM's memory. Older snapshots lack them."""

KEY_COLUMNS = (
    RECIPIENT_ID,
    ADDRESS,
    "entity_type",
    "entity_id",
    "opt_in_id",
    "consent_event_id",
    "consent_kind",
    "consent_at",
    *EVIDENCE_COLUMNS,
)
"""What a snapshot knows of every row beside what is sent: who it is, and the consent it stands on."""


def build_snapshot(selection: pd.DataFrame, contract: Contract, opt_in: OptIn) -> Sifted:
    """Map, normalize and de-duplicate a selection, and take out the rows that can't be sent.

    Args:
        selection: rows of `domain.selection.select`, with the CRM columns that the contract's attributes name.
        contract: the list's attributes and their sources.
        opt_in: the CRM's definition of the list's one opt-in.

    Returns:
        Rows with `KEY_COLUMNS` and one `list:`-prefixed text column per attribute, sorted by recipient id, and a
        rejection for every row that isn't among them.
    """
    unique, repeated = _one_row_per_address(selection)
    frame = pd.DataFrame(
        {
            RECIPIENT_ID: unique[NORMALIZED_ADDRESS].astype("str"),
            ADDRESS: unique[NORMALIZED_ADDRESS].astype("str"),
            "entity_type": unique["entity_type"].astype("str"),
            "entity_id": unique["entity_id"].astype("str"),
            "opt_in_id": pd.Series(opt_in.opt_in_id, index=unique.index, dtype="str"),
            "consent_event_id": unique["consent_event_id"].astype("str"),
            "consent_kind": unique["consent_kind"].astype("str"),
            "consent_at": unique["consent_at"],
        }
        | {
            name: unique[name].astype("str") if name in unique else pd.Series(pd.NA, index=unique.index, dtype="str")
            for name in EVIDENCE_COLUMNS
        }
        | {LIST_PREFIX + name: values for name, values in _list_values(unique, contract, opt_in).items()}
    )
    kept, rejected = _without_failing_rows(frame, contract)
    return Sifted(
        rows=kept.sort_values(RECIPIENT_ID, ignore_index=True),
        rejections=pd.concat(
            [rejections(repeated, Stage.SNAPSHOT, Reason.DUPLICATE_ADDRESS), rejected], ignore_index=True
        ),
    )


def _one_row_per_address(selection: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The row that wins each address (contact before lead before account, then the smaller id), and the others."""
    precedence = selection["entity_type"].map({kind.value: kind.precedence for kind in EntityType})
    ranks = pd.DataFrame({"precedence": precedence, "entity_id": selection["entity_id"]})
    ordered = selection.loc[ranks.sort_values(["precedence", "entity_id"], kind="stable").index]
    repeated = ordered[NORMALIZED_ADDRESS].duplicated(keep="first")
    return ordered[~repeated], ordered[repeated]


def _list_values(rows: pd.DataFrame, contract: Contract, opt_in: OptIn) -> "dict[str, pd.Series[str]]":
    technical: dict[TechnicalField, object] = {
        TechnicalField.OPT_IN_ID: opt_in.opt_in_id,
        TechnicalField.DESCRIPTION: opt_in.description,
        TechnicalField.MEDIA_TYPE: opt_in.media_type,
        TechnicalField.ENTITY_TYPE: rows["entity_type"],
        TechnicalField.ENTITY_ID: rows["entity_id"],
    }
    sources = {contract.technical[name]: source for name, source in technical.items()}
    sources |= {attribute: rows[column] for attribute, column in contract.attributes.items()}
    return {
        attribute: pd.Series(source, index=rows.index, dtype="str").fillna("").map(normalize_text).astype("str")
        for attribute, source in sources.items()
    }


def _without_failing_rows(frame: pd.DataFrame, contract: Contract) -> tuple[pd.DataFrame, pd.DataFrame]:
    schemas = row_checks(contract)
    frame = frame.reset_index(drop=True)
    reason = pd.Series(pd.NA, index=frame.index, dtype="str")
    for name in ("utf8", "technical_fields"):
        failing = list(run_schema(name, schemas[name], frame).failing_rows)
        reason.loc[reason.index.isin(failing) & reason.isna()] = ROW_REASONS[name].value
    kept = reason.isna()
    return frame[kept], rejections(frame[~kept], Stage.SNAPSHOT, reason[~kept])
