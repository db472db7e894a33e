"""What changed in a recipient list between two proofs. People are named by their CRM ids only."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final, Literal, get_args
from zoneinfo import ZoneInfo

from campaign_sync.domain.list_difference import ListDifference, compare_lists
from campaign_sync.domain.membership import Members, absence_reason
from campaign_sync.domain.message import Message, join_messages
from campaign_sync.domain.rejection import describe_reason
from campaign_sync.domain.suppression import entity_keys
from campaign_sync.inquiry.errors import NothingToCompareError
from campaign_sync.inquiry.list_archive import ListArchive
from campaign_sync.storage.replacement_history import ProvenList

NOT_SELECTED = Message("no longer selected")
"""Why people left without a rejection: the marketing list or report stopped naming them."""

KindOfChange = Literal["left", "joined", "changed"]

KINDS_OF_CHANGE: Final = get_args(KindOfChange)


@dataclass(frozen=True)
class Change:
    """How one person's row changed."""

    entity: str
    """`entity_type:entity_id`."""
    kind: KindOfChange
    why: str = ""
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class ComparedProof:
    """One side of a comparison."""

    proven: ProvenList
    size: int
    """Recipients."""
    uncertain: int
    """Further rows that may have been in the list; they count as rejected."""


@dataclass(frozen=True)
class ProofComparison:
    """Two proofs of one list compared."""

    before: ComparedProof
    after: ComparedProof
    difference: ListDifference
    changes: Sequence[Change]


def compare_proofs(
    archive: ListArchive, mandator: str, name: str, days: Sequence[date], zone: ZoneInfo
) -> ProofComparison:
    """Compare the last proofs of two days; of one day and the newest; or, without days, the newest two.

    Raises:
        NothingToCompareError: there aren't two different proofs; the message lists the days that have one.
        FileStorageError: a snapshot can't be read.
    """
    proofs = archive.state.replacement_history.proven(mandator, name)
    before, after = _choose_proofs(proofs, days, zone, f"{mandator}/{name}")
    (old, _), (new, keys_after) = _members(archive, before), _members(archive, after)
    difference = compare_lists(old.rows, new.rows)
    rejections, erased = archive.state.replacement_history.explanations(after), archive.state.erasures.erased()

    def why(key: str) -> str:
        own = [*rejections.get(key, []), *rejections.get(erased.rejected_record(key), [])]
        rejection = absence_reason(own, after, in_snapshot=key in keys_after)
        if rejection is None:
            return NOT_SELECTED
        return join_messages(": ", [rejection.stage, describe_reason(rejection.reason)])

    changes = [
        *(Change(key, "left", why(key)) for key in difference.left),
        *(Change(key, "joined") for key in difference.joined),
        *(Change(key, "changed", columns=columns) for key, columns in difference.changed.items()),
    ]
    return ProofComparison(
        ComparedProof(before, len(old.rows), old.uncertain),
        ComparedProof(after, len(new.rows), new.uncertain),
        difference,
        changes,
    )


def _members(archive: ListArchive, proven: ProvenList) -> tuple[Members, set[str]]:
    """Return who was in the list, and the keys of the whole snapshot."""
    snapshot = archive.snapshot(proven)
    return archive.list_members(snapshot, proven), set(entity_keys(snapshot))


def _choose_proofs(
    proofs: Sequence[ProvenList], days: Sequence[date], zone: ZoneInfo, title: str
) -> tuple[ProvenList, ProvenList]:
    """Return the two proofs to compare, the older first: of each day the last one."""
    by_day = {proof.proven_at.astimezone(zone).date(): proof for proof in reversed(proofs)}
    days_proven = f"{title} was {f'proven on {_date_ranges(sorted(by_day))}' if by_day else 'never proven'}"
    missing = [str(day) for day in days if day not in by_day]
    if missing:
        raise NothingToCompareError(f"there is no proof of {' or '.join(missing)}: {days_proven}")
    if len(days) > 2:
        raise NothingToCompareError(f"more than two days can't be compared; name two of them: {days_proven}")
    chosen = [by_day[day] for day in sorted(days)] or proofs[1:2]
    pair = [*chosen, *proofs[:1]][:2]
    if len(pair) < 2 or pair[0] is pair[1]:
        raise NothingToCompareError(f"there is nothing to compare: {days_proven}; two different proofs are needed")
    return pair[0], pair[1]


def _date_ranges(days: Sequence[date]) -> str:
    """Return days as text, consecutive ones as a range."""
    ranges: list[tuple[date, date]] = []
    for day in days:
        if ranges and day - ranges[-1][1] == timedelta(days=1):
            ranges[-1] = (ranges[-1][0], day)
        else:
            ranges.append((day, day))
    return ", ".join(str(first) if first == last else f"{first} to {last}" for first, last in ranges)
