"""What has to be done to a list so that it holds exactly the rows of a snapshot."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.compute as pc

from campaign_sync.domain.recipient import RECIPIENT_ID
from campaign_sync.domain.snapshot import row_texts
from campaign_sync.replacing.target import Target

Positions = npt.NDArray[np.intp]
"""Positions of rows in the snapshot."""


@dataclass(frozen=True)
class Plan:
    """In this order: clear the list, take people out, overwrite attributes, send rows."""

    clear: bool
    send: Positions
    remove: tuple[str, ...] = ()
    """Recipient ids."""
    change: Positions = field(default_factory=lambda: np.array([], dtype=np.intp))

    def __str__(self) -> str:
        parts = [
            "clear" if self.clear else "",
            f"take out {len(self.remove)}" if self.remove else "",
            f"change {len(self.change)}" if len(self.change) else "",
            f"send {len(self.send)}",
        ]
        return ", ".join(part for part in parts if part)


def refill(rows: pd.DataFrame) -> Plan:
    """Clear the list and send everybody."""
    return Plan(clear=True, send=np.arange(len(rows)))


def resume(target: Target, rows: pd.DataFrame, held: pd.DataFrame) -> Plan | None:
    """Go on filling a list that broke off: send who isn't in it yet.

    None where that wouldn't lead to the snapshot: the list holds rows that don't belong there, or hold something else.
    """
    ours, theirs = row_texts(rows, target.read_columns), row_texts(held, target.read_columns)
    in_ours = pc.is_in(theirs, value_set=ours)
    if not pc.all(in_ours, min_count=0).as_py() or len(pc.unique(theirs)) != len(theirs):
        return None
    missing = pc.invert(pc.is_in(ours, value_set=theirs)).to_numpy(zero_copy_only=False)
    return Plan(clear=False, send=np.flatnonzero(missing))


def difference(target: Target, rows: pd.DataFrame, held: pd.DataFrame) -> Plan:
    """Only what differs: leavers out, other attributes overwritten, joiners in. There is no empty moment.

    `held` has the snapshot's columns `target.read_columns`, the recipient id among them.
    """
    ours, theirs = rows[RECIPIENT_ID].str.lower(), held[RECIPIENT_ID].str.lower()
    texts = pd.Series(row_texts(rows, target.contract.list_columns).to_pylist(), index=ours)
    known = pd.Series(row_texts(held, target.contract.list_columns).to_pylist(), index=theirs)
    joins = ~ours.isin(theirs).to_numpy()
    same = texts.eq(known[~known.index.duplicated()].reindex(texts.index)).to_numpy()
    return Plan(
        clear=False,
        send=np.flatnonzero(joins),
        remove=tuple(held.loc[~theirs.isin(ours), RECIPIENT_ID]),
        change=np.flatnonzero(~joins & ~same),
    )
