"""Membership in a proven list: who is in it, who isn't, and which rejection explains that."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import pandas as pd

from campaign_sync.domain.rejection import Stage
from campaign_sync.domain.suppression import entity_keys

BEFORE_THE_SNAPSHOT = (Stage.SELECTION.value, Stage.SNAPSHOT.value)
"""Stages whose rejections aren't in the snapshot. All other stages reject rows of the snapshot."""


@dataclass(frozen=True)
class ProvenReplacement:
    """A list as of the end of a replacement: its snapshot without the rejected rows. All times are UTC."""

    run_id: str
    snapshot_run_id: str
    frozen_at: datetime
    proven_at: datetime
    in_list: int | None
    """The number of recipients that the proof counted."""
    since: datetime | None = None
    """The time of the proof before this one; None for the first proof."""
    retried_after: datetime | None = None
    """When an earlier attempt of the same run failed."""
    erased: int = 0
    """How many recipients that it counted were erased since: the snapshot doesn't have their rows any more."""


@dataclass(frozen=True)
class Rejection:
    """A recorded rejection of one person from one list: one reason, from the first to the last time it was seen.

    `run_id` is that of the last run. It isn't recorded whether the reason applied all the time in between.
    """

    stage: str
    reason: str
    vendor_code: int | None
    first_seen: datetime
    last_seen: datetime
    run_id: str

    @property
    def after_the_snapshot(self) -> bool:
        """Whether it rejected a row of the snapshot."""
        return self.stage not in BEFORE_THE_SNAPSHOT

    def made_by(self, proven: ProvenReplacement) -> bool:
        """Return whether the person was certainly rejected by this replacement or its snapshot."""
        if not self.after_the_snapshot:
            return self.run_id == proven.snapshot_run_id
        is_after_start = proven.retried_after is None or self.last_seen > proven.retried_after
        return self.run_id == proven.run_id and is_after_start

    def spans(self, proven: ProvenReplacement) -> bool:
        """Return whether it was seen before and after that proof, so that the replacement may have made it as well."""
        return self.first_seen <= proven.proven_at < self.last_seen

    def may_explain(self, proven: ProvenReplacement) -> bool:
        """Return whether the replacement made it, or it was seen at any time since the previous proof."""
        is_after_start = proven.since is None or self.last_seen > proven.since
        return self.made_by(proven) or (self.first_seen <= proven.proven_at and is_after_start)


@dataclass(frozen=True)
class Members:
    """The members of a list: rows of its snapshot."""

    rows: pd.DataFrame
    uncertain: int = 0
    """How many more rows of the snapshot may be in the list: they were rejected before and after it, and perhaps in
    between."""
    uncertain_keys: frozenset[str] = frozenset()
    """`entity_type:entity_id` of all candidates for these rows."""


@dataclass(frozen=True)
class MembershipExplanation:
    """The rejections of one person from one list, in relation to the list's last proof."""

    reason: Rejection | None
    """Why the person isn't in the list; None if they are, or weren't selected."""
    newer: tuple[Rejection, ...]
    """Rejections by runs after the last proof, newest first."""
    older: tuple[Rejection, ...]
    """Earlier rejections, newest first."""


def list_members(
    snapshot: pd.DataFrame, proven: ProvenReplacement, rejections: Mapping[str, Sequence[Rejection]]
) -> Members:
    """Return the rows of a snapshot that are in the list.

    Args:
        snapshot: rows with `entity_type` and `entity_id`.
        proven: the replacement that sent them.
        rejections: the recorded rejections from the list, by `entity_type:entity_id`.
    """
    keys = entity_keys(snapshot)
    rejected = keys.isin(_people(rejections, lambda rejection: rejection.made_by(proven)))
    uncertain = keys.isin(_people(rejections, lambda rejection: rejection.spans(proven))) & ~rejected
    # The proof counted the list, so the number of missing rows is known even if their keys aren't.
    candidates = int(uncertain.sum())
    in_list = None if proven.in_list is None else proven.in_list - proven.erased
    missing = candidates if in_list is None else len(snapshot) - int(rejected.sum()) - in_list
    if missing <= 0:
        return Members(snapshot[~rejected])
    if missing >= candidates:
        return Members(snapshot[~rejected & ~uncertain])
    return Members(snapshot[~rejected & ~uncertain], candidates, frozenset(keys[uncertain]))


def explain_membership(
    rejections: Collection[Rejection], proven: ProvenReplacement | None, *, in_snapshot: bool, in_list: bool
) -> MembershipExplanation:
    """Divide the rejections of one person from one list by the list's last proof."""
    newest_first = sorted(rejections, key=lambda rejection: rejection.last_seen, reverse=True)
    if proven is None:
        return MembershipExplanation(None, tuple(newest_first), ())
    reason = None if in_list else absence_reason(rejections, proven, in_snapshot=in_snapshot)
    others = [rejection for rejection in newest_first if rejection is not reason]
    return MembershipExplanation(
        reason,
        tuple(rejection for rejection in others if rejection.last_seen > proven.proven_at),
        tuple(rejection for rejection in others if rejection.last_seen <= proven.proven_at),
    )


def absence_reason(
    rejections: Collection[Rejection], proven: ProvenReplacement, *, in_snapshot: bool
) -> Rejection | None:
    """Return the rejection that explains why a person wasn't in the list at that proof; None if they weren't selected.

    A rejection by the replacement itself decides. If a later run has overwritten it, or the selection was a run of its
    own, the rejection that began last decides.
    """
    candidates = [
        rejection
        for rejection in rejections
        if rejection.after_the_snapshot is in_snapshot and rejection.may_explain(proven)
    ]
    return max(candidates, key=lambda rejection: (rejection.made_by(proven), rejection.first_seen), default=None)


def _people(rejections: Mapping[str, Sequence[Rejection]], fits: Callable[[Rejection], bool]) -> list[str]:
    return [
        key
        for key, of_person in rejections.items()
        if any(rejection.after_the_snapshot and fits(rejection) for rejection in of_person)
    ]
