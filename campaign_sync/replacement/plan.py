"""What has to be done to a list so that it holds exactly the rows of a snapshot."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd

from campaign_sync.domain.message import Message
from campaign_sync.domain.recipient import RECIPIENT_ID
from campaign_sync.domain.row_digests import KnownRows, RowDigests, row_digests
from campaign_sync.replacement.errors import ReplacementRefusedError, not_touched
from campaign_sync.replacement.read_back import ListContents
from campaign_sync.replacement.read_columns import ReadColumns

Positions = npt.NDArray[np.intp]
"""Positions of rows in the snapshot."""


@dataclass(frozen=True)
class Plan:
    """The steps, in this order: clear the list, take people out, overwrite attributes, send rows."""

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


def resume(digests: RowDigests, contents: ListContents) -> Plan | None:
    """Continue a fill that was interrupted: send the rows that the list doesn't hold yet.

    `digests` are those of the snapshot's rows. None where that wouldn't lead to the snapshot: the list holds rows that
    don't belong into it, or holds a row twice.
    """
    if len(contents.others) or len(np.unique(contents.digests)) != len(contents):
        return None
    return Plan(clear=False, send=np.flatnonzero(~KnownRows(contents.digests).contains(digests)))


def difference(columns: ReadColumns, rows: pd.DataFrame, digests: RowDigests, contents: ListContents) -> Plan:
    """Change only what differs: remove leavers, overwrite other attributes, send joiners. The list is never empty.

    The vendor may spell a recipient id in another case.

    Raises:
        ReplacementRefusedError: the vendor gives out no id of a recipient in the list.
    """
    if not len(contents):
        return Plan(clear=False, send=np.arange(len(rows)))
    settings, schema_columns = columns.settings, columns.settings.schema.list_columns
    if not columns.id_attribute:
        raise ReplacementRefusedError(
            not_touched(
                settings.reference,
                Message(
                    "The list gives out no ids of the snapshot's recipients under any name that the vendor might use "
                    "for them, so people can't be taken out; set {setting} to that name, or choose another strategy",
                    setting=f"mandators.{settings.mandator}.lists.{settings.name}.id_attribute",
                ),
            )
        )
    if not contents.others[RECIPIENT_ID].all():
        raise ReplacementRefusedError(
            not_touched(
                settings.reference,
                Message(
                    "The list holds recipients to whom the vendor gives no id under the name {attribute}, so they "
                    "can't be taken out; choose another strategy",
                    attribute=columns.id_attribute,
                ),
            )
        )
    differing = np.flatnonzero(~KnownRows(contents.digests).contains(digests))
    ours, theirs = rows[RECIPIENT_ID].iloc[differing].str.lower(), contents.others[RECIPIENT_ID].str.lower()
    known = pd.Series(row_digests(contents.others, schema_columns), index=theirs)
    known = known[~known.index.duplicated()].reindex(ours)
    joins = ~ours.isin(theirs).to_numpy()
    same = known.to_numpy() == row_digests(rows.iloc[differing], schema_columns)
    return Plan(
        clear=False,
        send=differing[joins],
        remove=tuple(contents.others.loc[~theirs.isin(rows[RECIPIENT_ID].str.lower()), RECIPIENT_ID]),
        change=differing[~joins & ~same],
    )
