"""After the fill: sweep, ask once more about those who were sent, read back, compare."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from campaign_sync.domain.checks import entity_counts
from campaign_sync.domain.recipient import RECIPIENT_ID, TechnicalField
from campaign_sync.domain.rejection import Reason, Stage
from campaign_sync.domain.row_digests import RowDigests, filter_digests, row_digests
from campaign_sync.domain.selection import rejections
from campaign_sync.domain.shared_texts import filter_rows
from campaign_sync.domain.suppression import entity_keys
from campaign_sync.replacement.key_attributes import find_read_columns
from campaign_sync.replacement.list_settings import ListSettings
from campaign_sync.replacement.list_writer import ListWriter
from campaign_sync.replacement.live_suppression import PEOPLE_COLUMNS, live_vendor_suppression
from campaign_sync.replacement.progress import rows_of
from campaign_sync.replacement.proof import Proof, prove
from campaign_sync.replacement.read_back import READ_BACK_ROWS, ListContents, read_back
from campaign_sync.replacement.read_columns import ReadColumns


@dataclass(frozen=True)
class Verification:
    """What sweep and proof of a filled list have shown."""

    proof: Proof
    swept: dict[str, int]
    """How many the vendor took out, by reason."""
    taken_out: pd.DataFrame
    """The rejections of those who were accepted and aren't in the list any more."""
    entity_types: dict[str, int]
    """How many rows are in the list, by entity type."""
    sent: pd.DataFrame
    """The accepted rows: the columns `PEOPLE_COLUMNS`, when they consented, and two technical fields."""
    vendor_reasons: "pd.Series[str]"
    """Why the vendor, asked after the fill, wouldn't write to each of them; else missing."""


def sweep_and_verify(
    writer: ListWriter,
    columns: ReadColumns,
    rows: pd.DataFrame,
    whole_rows: list[pd.DataFrame],
    digests: RowDigests,
    accepted: npt.NDArray[np.bool_],
    ask_crm: Callable[[pd.DataFrame], "pd.Series[str]"],
) -> Verification:
    """Remove everybody who may not be written to, and compare the list with the other accepted rows.

    Where exactly as many more are missing as the vendor swept, those are the swept: it doesn't say whom it removed.

    Args:
        writer: what filled the list.
        columns: those by which the list could be read back before it was filled.
        rows: everybody who was to be sent; columns `people_columns`.
        whole_rows: its only element is these rows with all columns. It is taken out, so that a large list has room.
        digests: of `rows`, by `columns.snapshot_columns`.
        accepted: which of them are in the list.
        ask_crm: returns why the CRM forbids to write to each of those who were sent by now, else missing; columns
            `PEOPLE_COLUMNS` and `consent_at`.
    """
    settings, vendor = writer.settings, writer.vendor
    columns, digests = _current_columns(writer, columns, whole_rows.pop(), digests)
    sent, digests = filter_rows(rows, accepted), filter_digests(digests, accepted)
    swept = writer.sweep()
    vendor_reasons = live_vendor_suppression(settings, vendor, sent, rows_of(settings, "look again", len(sent)))
    reasons = vendor_reasons.where(vendor_reasons.notna(), ask_crm(sent))
    gone = reasons.notna().to_numpy()
    taken_out = [rejections(sent[gone], Stage.SWEEP, reasons[gone])]
    unexplained = sum(swept.values())
    if gone.any():
        removed = writer.take_out(sent.loc[gone, RECIPIENT_ID].tolist())
        unexplained -= int(gone.sum()) - removed
    expected, digests = filter_rows(sent, ~gone), filter_digests(digests, ~gone)
    contents, proof = _read_and_compare(writer, columns, expected, digests, unexplained)
    if proof.missing and proof.missing == unexplained:
        missing = entity_keys(expected).isin(proof.missing_keys).to_numpy()
        taken_out.append(rejections(expected[missing], Stage.SWEEP, Reason.SWEPT))
        expected, digests = filter_rows(expected, ~missing), filter_digests(digests, ~missing)
        proof = prove(columns, expected, digests, contents)
    return Verification(
        proof, swept, pd.concat(taken_out, ignore_index=True), entity_counts(expected), sent, vendor_reasons
    )


def _current_columns(
    writer: ListWriter, columns: ReadColumns, rows: pd.DataFrame, digests: RowDigests
) -> tuple[ReadColumns, RowDigests]:
    """Return the columns by which the filled list can be read back, and the digests of the rows by them.

    Before it was filled, the list may have been empty, or have held other people.
    """
    current = find_read_columns(writer.settings, writer.vendor, rows, columns)
    if current.snapshot_columns != columns.snapshot_columns:
        digests = row_digests(rows, current.snapshot_columns)
    return current, digests


def people_columns(settings: ListSettings) -> list[str]:
    """Return what sweep and proof need of each row beside its digest: a fraction of a wide list."""
    technical = (TechnicalField.ENTITY_TYPE, TechnicalField.ENTITY_ID)
    return [*PEOPLE_COLUMNS, "consent_at", *map(settings.schema.technical_column, technical)]


def _read_and_compare(
    writer: ListWriter, columns: ReadColumns, expected: pd.DataFrame, digests: RowDigests, unexplained: int
) -> tuple[ListContents, Proof]:
    """Read the list back and compare it.

    Pages might overlap where many share an entity id, and it isn't documented whether the vendor counts them in rows or
    pages; so a difference counts only when the list, read in one piece, shows it too.
    """
    settings, vendor = writer.settings, writer.vendor
    with writer.steps.step("read back") as notes:
        count = vendor.recipients.count(settings.recipient_list_id)
        for page_rows in (READ_BACK_ROWS, count + 1):
            contents = read_back(columns, vendor, count, digests, rows_of(settings, "prove", count), page_rows)
            proof = prove(columns, expected, digests, contents)
            if proof.missing == unexplained and not proof.extra and not proof.changed:
                break
        notes.add(str(proof))
    return contents, proof
