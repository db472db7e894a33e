"""Snapshots: the rows of a recipient list exactly as they will be sent."""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.compute as pc

from campaign_sync.domain.arrow_text import match_texts, text_column, to_arrow
from campaign_sync.domain.checks import LIST_PREFIX, ROW_REASONS, ListSchema
from campaign_sync.domain.consent import OptIn
from campaign_sync.domain.entity import EntityType
from campaign_sync.domain.parquet_rows import ParquetRows
from campaign_sync.domain.recipient import ADDRESS, RECIPIENT_ID, TechnicalField
from campaign_sync.domain.rejection import Reason, Stage
from campaign_sync.domain.selection import NORMALIZED_ADDRESS, Split, rejections
from campaign_sync.domain.shared_texts import SharedTexts, constant_texts, filter_rows
from campaign_sync.domain.text import NOT_UTF8, normalize_text
from campaign_sync.domain.text_columns import has_not_utf8, normalized_texts

EVIDENCE_COLUMNS = ("consent_source", "consent_evidence", "consent_text_version")
"""The proof of each row's consent, kept even if the CRM deletes it. Older snapshots lack these columns."""

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
"""The columns of a snapshot besides the list attributes: the person, and the consent that the row is based on."""

_ENTITY = ("entity_type", "entity_id")
"""Columns of a selection that identify the record, and rank the rows of the same address."""

_Positions = np.ndarray[Any, np.dtype[np.integer[Any]]]


def build_snapshot(selection: pd.DataFrame | ParquetRows, list_schema: ListSchema, opt_in: OptIn) -> Split:
    """Map, normalize and de-duplicate a selection, and reject the rows that can't be sent.

    Args:
        selection: rows that `split_by_consent` kept, with the CRM columns of the schema's attributes.
        list_schema: the list's attributes and their sources.
        opt_in: the CRM's definition of the list's opt-in.

    Returns:
        Rows with `KEY_COLUMNS` and one `list:`-prefixed text column per attribute, sorted by recipient id, and a
        rejection for every row that isn't among them.
    """
    people = selection[[NORMALIZED_ADDRESS, *_ENTITY]]
    chosen, repeated = _one_row_per_address(people)
    rejected_before = rejections(people.iloc[repeated], Stage.SNAPSHOT, Reason.DUPLICATE_ADDRESS)
    addresses, entity_types, entity_ids = (_taken(people[name], chosen) for name in people)
    del people
    keys = pd.DataFrame(
        {
            RECIPIENT_ID: addresses,
            ADDRESS: addresses,
            "entity_type": entity_types,
            "entity_id": entity_ids,
            "opt_in_id": constant_texts(opt_in.opt_in_id, len(chosen)),
            "consent_event_id": _taken(selection["consent_event_id"], chosen),
            "consent_kind": _taken(selection["consent_kind"], chosen),
            "consent_at": selection["consent_at"].take(chosen).reset_index(drop=True),
        }
        | {
            name: _taken(selection[name], chosen) if name in selection else constant_texts(None, len(chosen))
            for name in EVIDENCE_COLUMNS
        },
        columns=list(KEY_COLUMNS),
    )
    sent = _list_values(keys, selection, chosen, list_schema, opt_in)
    frame = keys.assign(**{LIST_PREFIX + name: values for name, values in sent.items()})
    kept, rejected = _without_failing_rows(frame, list_schema, chosen)
    return Split(
        rows=kept,
        rejections=pd.concat([rejected_before, rejected], ignore_index=True),
    )


def _one_row_per_address(people: pd.DataFrame) -> "tuple[_Positions, _Positions]":
    """Return the positions of one row per address, in the order of the addresses, and of the others by precedence."""
    positions = pc.sort_indices(to_arrow(people[NORMALIZED_ADDRESS])).to_numpy()
    ordered = _taken(people[NORMALIZED_ADDRESS], positions)
    repeats = ordered.eq(ordered.shift()).to_numpy(dtype=bool)
    shared = repeats | np.append(repeats[1:], False)[: len(repeats)]
    ranked = _by_precedence(people.iloc[positions[shared]], positions[shared])
    lost = ranked.index[ranked[NORMALIZED_ADDRESS].duplicated(keep="first")].to_numpy()
    return positions[~np.isin(positions, lost)], lost


def _by_precedence(rows: pd.DataFrame, positions: "_Positions") -> pd.DataFrame:
    """Sort contacts before leads before accounts, then by id, then by `positions`, which become the index."""
    rows = rows.set_axis(positions).sort_index()
    precedence = rows["entity_type"].map({kind.value: kind.precedence for kind in EntityType})
    ranks = pd.DataFrame({"precedence": precedence, "entity_id": rows["entity_id"]})
    return rows.loc[ranks.sort_values(["precedence", "entity_id"], kind="stable").index]


def _list_values(
    keys: pd.DataFrame,
    selection: pd.DataFrame | ParquetRows,
    chosen: "_Positions",
    list_schema: ListSchema,
    opt_in: OptIn,
) -> "dict[str, pd.Series[str]]":
    """Return the values to send by list attribute. Attributes with the same source, and keys, share their texts."""
    constants = {
        TechnicalField.OPT_IN_ID: opt_in.opt_in_id,
        TechnicalField.DESCRIPTION: opt_in.description,
        TechnicalField.MEDIA_TYPE: opt_in.media_type,
    }
    columns = {TechnicalField.ENTITY_TYPE: "entity_type", TechnicalField.ENTITY_ID: "entity_id"}
    sources = {list_schema.technical[name]: column for name, column in columns.items()} | dict(list_schema.attributes)
    values = {}
    for column in dict.fromkeys(sources.values()):
        raw = keys[column] if column in _ENTITY else _taken(selection[column], chosen)
        values[column] = normalized_texts(raw.fillna(""))
    return {
        list_schema.technical[name]: constant_texts(normalize_text(text or ""), len(chosen))
        for name, text in constants.items()
    } | {attribute: values[column] for attribute, column in sources.items()}


def _taken(column: "pd.Series[str]", positions: "_Positions") -> "pd.Series[str]":
    return SharedTexts().share(text_column(to_arrow(column).take(pyarrow.array(positions))))


def _not_utf8(frame: pd.DataFrame, list_schema: ListSchema) -> "pd.Index[int]":
    """Return the index of the rows with a text that isn't UTF-8 in the CRM."""
    holds = [match_texts(frame[column], NOT_UTF8, has_not_utf8) for column in list_schema.list_columns]
    return frame.index[pd.concat(holds, axis="columns").any(axis="columns")] if holds else frame.index[:0]


def not_utf8_columns(selection: pd.DataFrame | ParquetRows, list_schema: ListSchema) -> dict[str, int]:
    """Return the number of rows with a text that isn't UTF-8 in the CRM, by column; without columns that have none."""
    counts = {
        column: int(match_texts(selection[column], NOT_UTF8, has_not_utf8).sum())
        for column in sorted(set(list_schema.attributes.values()))
    }
    return {column: count for column, count in counts.items() if count}


def _without_failing_rows(
    frame: pd.DataFrame, list_schema: ListSchema, positions: "_Positions"
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows that can be sent, and a rejection of every other row; `positions` are those in the selection."""
    from campaign_sync.domain.row_checks import row_checks, run_schema  # pandera is for runs alone

    schemas = row_checks(list_schema)
    reason = pd.Series(pd.NA, index=frame.index, dtype="str")
    for name in ("utf8", "technical_fields"):
        failing = list(run_schema(name, schemas[name], frame).failing_rows)
        reason.loc[reason.index.isin(failing) & reason.isna()] = ROW_REASONS[name].value
    reason.loc[_not_utf8(frame[reason.notna()], list_schema)] = Reason.NOT_UTF8.value
    kept = reason.isna()
    if kept.all():
        return frame, rejections(frame.head(0), Stage.SNAPSHOT, reason.head(0))
    ranked = _by_precedence(frame.loc[~kept, list(_ENTITY)], positions[~kept])
    because = reason[~kept].set_axis(positions[~kept])[ranked.index]
    return filter_rows(frame, kept.to_numpy()), rejections(ranked, Stage.SNAPSHOT, because)
