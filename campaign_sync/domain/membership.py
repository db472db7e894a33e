"""Who is in a list that was proven, who isn't, and which entry of the ledger says why."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import pandas as pd

from campaign_sync.domain.rejection import Stage
from campaign_sync.domain.suppression import entity_keys

BEFORE_THE_SNAPSHOT = (Stage.SELECTION.value, Stage.SNAPSHOT.value)
"""Stages whose rejected aren't in the snapshot. At all others rows of the snapshot are turned away."""


@dataclass(frozen=True)
class ProvenReplacement:
    """A list as a replace left it: its snapshot without those turned away. All moments are UTC."""

    run_id: str
    snapshot_run_id: str
    frozen_at: datetime
    proven_at: datetime
    in_list: int | None
    """How many recipients the proof counted."""
    since: datetime | None = None
    """When the list was proven before this; None for its first proof."""
    retried_after: datetime | None = None
    """When an earlier attempt of the same run gave up."""


@dataclass(frozen=True)
class Rejection:
    """An entry of the ledger about one person and one list: one reason, from the first to the last time it was seen.

    `run_id` names the last run only. Whether the reason stood all the time between, the ledger doesn't tell.
    """

    stage: str
    reason: str
    vendor_code: int | None
    first_seen: datetime
    last_seen: datetime
    run_id: str

    @property
    def after_the_snapshot(self) -> bool:
        """Whether it turned away a row of the snapshot."""
        return self.stage not in BEFORE_THE_SNAPSHOT

    def made_by(self, proven: ProvenReplacement) -> bool:
        """Whether it is certain that this very replace, or its snapshot, turned the person away."""
        if not self.after_the_snapshot:
            return self.run_id == proven.snapshot_run_id
        begun = proven.retried_after is None or self.last_seen > proven.retried_after
        return self.run_id == proven.run_id and begun

    def spans(self, proven: ProvenReplacement) -> bool:
        """Whether it was seen before that proof and after it, so that it may have been made by that replace, too."""
        return self.first_seen <= proven.proven_at < self.last_seen

    def may_explain(self, proven: ProvenReplacement) -> bool:
        """Whether that replace made it, or it was seen at any time since the proof before that one."""
        begun = proven.since is None or self.last_seen > proven.since
        return self.made_by(proven) or (self.first_seen <= proven.proven_at and begun)


@dataclass(frozen=True)
class Members:
    """Who is in a list: rows of its snapshot."""

    rows: pd.DataFrame
    uncertain: int = 0
    """How many more rows of the snapshot may be in the list: the ledger knows that they were turned away before and
    after, and not whether they were in between."""
    uncertain_keys: frozenset[str] = frozenset()
    """`entity_type:entity_id` of everybody among whom those are."""


@dataclass(frozen=True)
class MembershipExplanation:
    """What the ledger says about one person and one list."""

    reason: Rejection | None
    """Why the person isn't in the list; None if they are, or if nobody picked them."""
    newer: tuple[Rejection, ...]
    """What kept them out of runs after the last proof, newest first."""
    older: tuple[Rejection, ...]
    """What kept them out before, newest first."""


def list_members(
    snapshot: pd.DataFrame, proven: ProvenReplacement, ledger: Mapping[str, Sequence[Rejection]]
) -> Members:
    """The rows of a snapshot that are in the list.

    Args:
        snapshot: rows with `entity_type` and `entity_id`.
        proven: the replace that sent them.
        ledger: what the ledger has on the list, by `entity_type:entity_id`.
    """
    keys = entity_keys(snapshot)
    refused = keys.isin(_people(ledger, lambda entry: entry.made_by(proven)))
    perhaps = keys.isin(_people(ledger, lambda entry: entry.spans(proven))) & ~refused
    # The proof counted the list, so the number of those missing is known even where their names aren't.
    further = int(perhaps.sum()) if proven.in_list is None else len(snapshot) - int(refused.sum()) - proven.in_list
    if further <= 0:
        return Members(snapshot[~refused])
    in_doubt = int(perhaps.sum()) if further < int(perhaps.sum()) else 0
    return Members(snapshot[~refused & ~perhaps], in_doubt, frozenset(keys[perhaps]) if in_doubt else frozenset())


def explain_membership(
    entries: Collection[Rejection], proven: ProvenReplacement | None, *, in_snapshot: bool, in_list: bool
) -> MembershipExplanation:
    """Sort what the ledger has on one person and one list by the list's last proof."""
    newest_first = sorted(entries, key=lambda entry: entry.last_seen, reverse=True)
    if proven is None:
        return MembershipExplanation(None, tuple(newest_first), ())
    reason = None if in_list else absence_reason(entries, proven, in_snapshot=in_snapshot)
    others = [entry for entry in newest_first if entry is not reason]
    return MembershipExplanation(
        reason,
        tuple(entry for entry in others if entry.last_seen > proven.proven_at),
        tuple(entry for entry in others if entry.last_seen <= proven.proven_at),
    )


def absence_reason(entries: Collection[Rejection], proven: ProvenReplacement, *, in_snapshot: bool) -> Rejection | None:
    """The entry that says why a person wasn't in the list at that proof; None where they weren't picked at all.

    What the replace itself entered decides. Where a later run has written over that, or the selection was made by a run
    of its own, it is what came up last.
    """
    fitting = [entry for entry in entries if entry.after_the_snapshot is in_snapshot and entry.may_explain(proven)]
    return max(fitting, key=lambda entry: (entry.made_by(proven), entry.first_seen), default=None)


def _people(ledger: Mapping[str, Sequence[Rejection]], fits: Callable[[Rejection], bool]) -> list[str]:
    return [
        key for key, entries in ledger.items() if any(entry.after_the_snapshot and fits(entry) for entry in entries)
    ]
