"""What has to be done to a list so that it holds exactly the rows of a snapshot."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd

from campaign_sync.domain.recipient import RECIPIENT_ID
from campaign_sync.domain.row_digests import KnownRows, RowDigests, row_digests
from campaign_sync.replacement.errors import ReplacementRefusedError
from campaign_sync.replacement.read_back import ListContents
from campaign_sync.replacement.target import Target

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


def resume(digests: RowDigests, held: ListContents) -> Plan | None:
    """Go on filling a list that broke off: send who isn't in it yet. `digests` are those of the snapshot's rows.

    None where that wouldn't lead to the snapshot: the list holds rows that don't belong there, or hold something else.
    """
    if len(held.others) or len(np.unique(held.digests)) != len(held):
        return None
    return Plan(clear=False, send=np.flatnonzero(~KnownRows(held.digests).have(digests)))


def difference(target: Target, rows: pd.DataFrame, digests: RowDigests, held: ListContents) -> Plan:
    """Only what differs: leavers out, other attributes overwritten, joiners in. There is no empty moment.

    The vendor may spell a recipient id in another case.

    Raises:
        ReplacementRefusedError: the vendor doesn't tell who somebody in the list is.
    """
    if not len(held):
        return Plan(clear=False, send=np.arange(len(rows)))
    if not target.id_attribute:
        raise ReplacementRefusedError(
            f"{target} was not touched. Nobody of the snapshot is found in the list by a name under which the vendor "
            "might give out recipient ids, so people can't be taken out; set "
            f"mandators.{target.mandator}.lists.{target.name}.id_attribute to that name, or choose another strategy"
        )
    if not held.others[RECIPIENT_ID].all():
        raise ReplacementRefusedError(
            f"{target} was not touched. The list holds recipients to whom the vendor gives no id under the name "
            f"{target.id_attribute}, so they can't be taken out; choose another strategy"
        )
    differing = np.flatnonzero(~KnownRows(held.digests).have(digests))
    ours, theirs = rows[RECIPIENT_ID].iloc[differing].str.lower(), held.others[RECIPIENT_ID].str.lower()
    columns = target.contract.list_columns
    known = pd.Series(row_digests(held.others, columns), index=theirs)
    known = known[~known.index.duplicated()].reindex(ours)
    joins = ~ours.isin(theirs).to_numpy()
    same = known.to_numpy() == row_digests(rows.iloc[differing], columns)
    return Plan(
        clear=False,
        send=differing[joins],
        remove=tuple(held.others.loc[~theirs.isin(rows[RECIPIENT_ID].str.lower()), RECIPIENT_ID]),
        change=differing[~joins & ~same],
    )
