"""What the state database knows of every recipient list at one moment, in as many statements as for a single list."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection, and_, desc, func, literal, select

from campaign_sync.domain.list_drift import ListDrift
from campaign_sync.storage.list_drifts import as_list_drift
from campaign_sync.storage.one_row_per_key import one_row_per_key
from campaign_sync.storage.recipient_lists import PartialFill
from campaign_sync.storage.replacements import Replacement, ReplacementState, as_replacement
from campaign_sync.storage.tables import doubtful_list, list_drift, replace

ListKey = tuple[str, str]
"""A mandator and one of its lists, by their keys in the configuration."""

VendorListKey = tuple[str, str, int]
"""The same, and the vendor's id of the list: the configuration may have named another one before."""

_BEFORE_ALL = datetime(1, 1, 2, tzinfo=UTC)
"""A moment before every replacement."""


@dataclass(frozen=True)
class ListState:
    """What the state database knows of a list at the vendor; nothing where it was never replaced."""

    since_proof: Sequence[Replacement] = ()
    """Its last proven replacement, if any, and those that began after it; oldest first."""
    drift: ListDrift | None = None
    """Its changes at the vendor since that proof; None if it was never proven."""
    partial_fill: PartialFill | None = None
    """That it seems half full although no replacement left it so."""
    proven_elsewhere: bool = False
    """Whether the vendor's list was proven, under any name, since the replacement began that left it incomplete."""

    @property
    def proven(self) -> Replacement | None:
        """The newest replacement that ended in a proof; None where there is none."""
        oldest = next(iter(self.since_proof), None)
        return oldest if oldest and oldest.state is ReplacementState.PROVEN else None

    @property
    def proven_at(self) -> datetime | None:
        """When the list was last proven; None for never."""
        proven = self.proven
        return (proven.finished_at or proven.started_at) if proven else None

    @property
    def incomplete(self) -> Replacement | None:
        """The newest replacement that changed the list, if it wasn't proven; None where the list is complete."""
        changed = [entry for entry in self.since_proof if entry.cleared_at is not None]
        return changed[-1] if changed and not changed[-1].state.leaves_complete else None

    @property
    def incomplete_since(self) -> datetime | None:
        """When the list was cleared without being proven since; None where it is complete."""
        unfinished = self.incomplete
        return unfinished.cleared_at if unfinished else None

    @property
    def ended(self) -> Replacement | None:
        """The newest replacement that ended, in a proof or not; None where there is none."""
        return next((entry for entry in reversed(self.since_proof) if entry.finished_at), None)

    @property
    def attempts(self) -> int:
        """How many replacements have changed the list since the last proven one."""
        return sum(entry.cleared_at is not None for entry in self._unsettled())

    @property
    def failures(self) -> int:
        """How many replacements have failed since the last proven one."""
        return sum(entry.state is ReplacementState.FAILED for entry in self._unsettled())

    @property
    def runs_since_proof(self) -> set[str]:
        """The runs that have begun to replace it since the last proven one."""
        return {entry.run_id for entry in self._unsettled()}

    def _unsettled(self) -> Sequence[Replacement]:
        """Return those since the last proof, or since the list was found to be empty."""
        settled = [number for number, entry in enumerate(self.since_proof, start=1) if entry.state.leaves_complete]
        return self.since_proof[max(settled, default=0) :]


def read_list_states(connection: Connection) -> dict[VendorListKey, ListState]:
    """Return the state of every list that was ever replaced: also of lists without settings.

    They agree with each other where all statements of the connection see the same moment: see `database.reading`.
    """
    states = {key: ListState(since_proof) for key, since_proof in _since_proof(connection).items()}
    drifts = {(row.mandator, row.list): row for row in connection.execute(select(list_drift))}
    incomplete = {key: unfinished for key, state in states.items() if (unfinished := state.incomplete)}
    proofs = _last_proofs(connection, {list_id for _, _, list_id in incomplete})
    elsewhere = {
        key for key, unfinished in incomplete.items() if proofs.get(key[2], _BEFORE_ALL) > unfinished.started_at
    }
    return {
        key: ListState(
            state.since_proof,
            as_list_drift(*key[:2], state.proven.id, drifts.get(key[:2])) if state.proven else None,
            proven_elsewhere=key in elsewhere,
        )
        for key, state in states.items()
    }


def _since_proof(connection: Connection) -> dict[VendorListKey, list[Replacement]]:
    """Return the last proven replacement of each list and those after it: usually one, however long its history is."""
    lists, earlier = one_row_per_key(replace, "recipient_list_id", "mandator", "list"), replace.alias()
    proof = (
        select(earlier.c.started_at)
        .where(
            earlier.c.recipient_list_id == lists.c.recipient_list_id,
            earlier.c.mandator == lists.c.mandator,
            earlier.c.list == lists.c.list,
            earlier.c.state == ReplacementState.PROVEN,
        )
        .order_by(desc(earlier.c.started_at))
        .limit(1)
        .correlate(lists)
        .scalar_subquery()
    )
    since = func.coalesce(proof, literal(_BEFORE_ALL, replace.c.started_at.type))
    of_list = and_(
        replace.c.recipient_list_id == lists.c.recipient_list_id,
        replace.c.mandator == lists.c.mandator,
        replace.c.list == lists.c.list,
        replace.c.started_at >= since,
    )
    since_proof = defaultdict(list)
    for row in connection.execute(select(replace).join(lists, of_list).order_by(replace.c.started_at)):
        since_proof[row.mandator, row.list, row.recipient_list_id].append(as_replacement(row))
    return dict(since_proof)


def read_partial_fills(connection: Connection) -> dict[ListKey, PartialFill]:
    """Return what seems half full although no replacement left it so."""
    return {(row.mandator, row.list): PartialFill(**row._mapping) for row in connection.execute(select(doubtful_list))}


def _last_proofs(connection: Connection, recipient_list_ids: Collection[int]) -> dict[int, datetime]:
    """Return when the newest proven replacement of each of the vendor's lists began, under whatever name."""
    started_at = func.max(replace.c.started_at, type_=replace.c.started_at.type)
    query = (
        select(replace.c.recipient_list_id, started_at)
        .where(replace.c.recipient_list_id.in_(recipient_list_ids), replace.c.state == ReplacementState.PROVEN)
        .group_by(replace.c.recipient_list_id)
    )
    return dict(connection.execute(query).all()) if recipient_list_ids else {}
