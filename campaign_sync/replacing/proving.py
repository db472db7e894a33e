"""After the fill: sweep, look once more at those who were sent, read back, compare."""

from dataclasses import dataclass

import pandas as pd

from campaign_sync.domain.checks import entity_counts
from campaign_sync.domain.recipient import RECIPIENT_ID
from campaign_sync.domain.rejection import Reason, Stage
from campaign_sync.domain.selection import rejections
from campaign_sync.domain.suppression import entity_keys
from campaign_sync.replacing.filling import Filler, read_back
from campaign_sync.replacing.looking import look
from campaign_sync.replacing.progress import rows_of
from campaign_sync.replacing.proof import Proof, prove


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
    looked: "pd.Series[str]"
    """What the last look found of each row that was accepted: why the vendor wouldn't write to them; else missing."""


def sweep_and_prove(filler: Filler, accepted: pd.DataFrame) -> Proven:
    """Rid the list of everybody who may not be written to, and compare it with `accepted` less those.

    Where exactly as many more are missing as the vendor swept, those are the swept: it doesn't tell whom.
    """
    target, vendor = filler.target, filler.vendor
    swept = filler.sweep()
    reasons = look(target, vendor, accepted, rows_of(target, "look again", len(accepted)))
    gone = reasons.notna()
    taken_out = [rejections(accepted[gone], Stage.SWEEP, reasons[gone])]
    unexplained = sum(swept.values())
    if gone.any():
        removed = filler.take_out(accepted.loc[gone, RECIPIENT_ID].tolist())
        unexplained -= int(gone.sum()) - removed
    expected = accepted[~gone]
    held, proof = _read_and_compare(filler, expected, unexplained)
    if proof.missing and proof.missing == unexplained:
        missing = entity_keys(expected).isin(proof.missing_keys)
        taken_out.append(rejections(expected[missing], Stage.SWEEP, Reason.SWEPT))
        expected = expected[~missing]
        proof = prove(expected, held, target.contract, target.read_columns)
    return Proven(proof, swept, pd.concat(taken_out, ignore_index=True), entity_counts(expected), reasons)


def _read_and_compare(filler: Filler, expected: pd.DataFrame, unexplained: int) -> tuple[pd.DataFrame, Proof]:
    """The list as read back, and how it compares.

    Pages might overlap where many share an entity id, and nobody documents whether the vendor counts them in rows or
    pages; so a difference counts only when the list, read in one piece, shows it too.
    """
    target, vendor = filler.target, filler.vendor
    with filler.steps.step(f"{filler.where}read back") as details:
        count = vendor.recipients.count(target.recipient_list_id)
        held = read_back(target, vendor, count, rows_of(target, "prove", count))
        proof = prove(expected, held, target.contract, target.read_columns)
        if proof.missing != unexplained or proof.extra or proof.changed:
            held = read_back(target, vendor, count, rows_of(target, "prove", count), page_rows=count + 1)
            proof = prove(expected, held, target.contract, target.read_columns)
        details.append(str(proof))
    return held, proof
