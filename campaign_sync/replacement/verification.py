"""After the fill: sweep, look once more at those who were sent, read back, compare."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from campaign_sync.domain.checks import entity_counts
from campaign_sync.domain.recipient import RECIPIENT_ID, TechnicalField
from campaign_sync.domain.rejection import Reason, Stage
from campaign_sync.domain.row_digests import RowDigests, row_digests
from campaign_sync.domain.selection import rejections
from campaign_sync.domain.suppression import entity_keys
from campaign_sync.replacement.key_attributes import with_key_attributes
from campaign_sync.replacement.list_writer import ListWriter
from campaign_sync.replacement.live_suppression import PEOPLE_COLUMNS, look
from campaign_sync.replacement.progress import rows_of
from campaign_sync.replacement.proof import Proof, prove
from campaign_sync.replacement.read_back import READ_BACK_ROWS, ListContents, read_back
from campaign_sync.replacement.target import Target


@dataclass(frozen=True)
class Proven:
    """What the end of a replace found."""

    proof: Proof
    swept: dict[str, int]
    """How many the vendor took out, by why."""
    taken_out: pd.DataFrame
    """The rejections of those who were accepted and aren't in the list any more."""
    entity_types: dict[str, int]
    """How many rows are in the list, by entity type."""
    sent: pd.DataFrame
    """Who was accepted: the columns `PEOPLE_COLUMNS`, when they consented, and two technical fields."""
    looked: "pd.Series[str]"
    """What the last look at the vendor found of each of them: why it wouldn't write to them; else missing."""


def sweep_and_verify(
    filler: ListWriter,
    rows: pd.DataFrame,
    digests: RowDigests,
    accepted: npt.NDArray[np.bool_],
    ask_crm: "Callable[[pd.DataFrame], pd.Series[str]]",
) -> Proven:
    """Rid the list of everybody who may not be written to, and compare it with who was accepted, less those.

    Where exactly as many more are missing as the vendor swept, those are the swept: it doesn't tell whom.

    Args:
        filler: what filled the list.
        rows: everybody who was to be sent.
        digests: of `rows`, by the target's `read_columns`.
        accepted: which of them are in the list.
        ask_crm: says why the CRM lets nobody write to some of those who were sent by now; columns `PEOPLE_COLUMNS`
            and `consent_at`.
    """
    filler, digests = _by_what_the_list_gives(filler, rows, digests)
    target, vendor = filler.target, filler.vendor
    sent, digests = rows[_people_columns(target)][accepted], digests[accepted]
    swept = filler.sweep()
    looked = look(target, vendor, sent, rows_of(target, "look again", len(sent)))
    reasons = looked.where(looked.notna(), ask_crm(sent))
    gone = reasons.notna().to_numpy()
    taken_out = [rejections(sent[gone], Stage.SWEEP, reasons[gone])]
    unexplained = sum(swept.values())
    if gone.any():
        removed = filler.take_out(sent.loc[gone, RECIPIENT_ID].tolist())
        unexplained -= int(gone.sum()) - removed
    expected, digests = sent[~gone], digests[~gone]
    held, proof = _read_and_compare(filler, expected, digests, unexplained)
    if proof.missing and proof.missing == unexplained:
        missing = entity_keys(expected).isin(proof.missing_keys).to_numpy()
        taken_out.append(rejections(expected[missing], Stage.SWEEP, Reason.SWEPT))
        expected, digests = expected[~missing], digests[~missing]
        proof = prove(target, expected, digests, held)
    return Proven(proof, swept, pd.concat(taken_out, ignore_index=True), entity_counts(expected), sent, looked)


def _by_what_the_list_gives(
    filler: ListWriter, rows: pd.DataFrame, digests: RowDigests
) -> tuple[ListWriter, RowDigests]:
    """The filler and the digests, by the names under which the filled list gives out ids and addresses.

    Before it was filled, the list may have been empty, or have held others.
    """
    target = with_key_attributes(filler.target, filler.vendor, rows)
    if target.read_columns != filler.target.read_columns:
        digests = row_digests(rows, target.read_columns)
    return replace(filler, target=target), digests


def _people_columns(target: Target) -> list[str]:
    """What the end of a replace needs of each row beside its digest: a fraction of a wide list."""
    technical = (TechnicalField.ENTITY_TYPE, TechnicalField.ENTITY_ID)
    return [*PEOPLE_COLUMNS, "consent_at", *map(target.contract.technical_column, technical)]


def _read_and_compare(
    filler: ListWriter, expected: pd.DataFrame, digests: RowDigests, unexplained: int
) -> tuple[ListContents, Proof]:
    """The list as read back, and how it compares.

    Pages might overlap where many share an entity id, and nobody documents whether the vendor counts them in rows or
    pages; so a difference counts only when the list, read in one piece, shows it too.
    """
    target, vendor = filler.target, filler.vendor
    with filler.steps.step("read back") as notes:
        count = vendor.recipients.count(target.recipient_list_id)
        for page_rows in (READ_BACK_ROWS, count + 1):
            held = read_back(target, vendor, count, digests, rows_of(target, "prove", count), page_rows)
            proof = prove(target, expected, digests, held)
            if proof.missing == unexplained and not proof.extra and not proof.changed:
                break
        notes.add(str(proof))
    return held, proof
