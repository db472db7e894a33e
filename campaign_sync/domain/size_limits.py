"""Whether a list's new size is plausible. A truncated source must not empty a list, nor a wrong report flood one."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from statistics import median_low

MIN_ROWS_PER_TYPE = 20
"""An entity type with fewer rows in the baseline isn't judged by itself: one person more or less would be a leap."""

MIN_HISTORY = 3
"""From so many proven replaces on, their median is a second baseline; before, it would be the last replace again."""


@dataclass(frozen=True)
class SizeLimits:
    """How large a list may be and how far it may move in one replace. Shares are of the baseline: 0.2 is 20 %."""

    min_rows: int = 1
    max_rows: int | None = None
    max_shrink: float = 0.2
    max_growth: float = 0.5


@dataclass(frozen=True)
class SizeBaseline:
    """What the new size is measured against, and where that number comes from.

    No baseline at all stands for a list that was never replaced by us and is empty: only absolute limits apply.
    """

    rows: int
    origin: str
    by_entity_type: Mapping[str, int] = field(default_factory=dict)


def median_baseline(history: Sequence[Mapping[str, int]]) -> SizeBaseline | None:
    """The median of proven sizes by entity type, newest first; None while there are too few to tell anything.

    It catches what creeps: a list that loses a little every day, each day within its limits.
    """
    if len(history) < MIN_HISTORY:
        return None
    kinds = {kind for sizes in history for kind in sizes}
    return SizeBaseline(
        rows=median_low([sum(sizes.values()) for sizes in history]),
        origin=f"median of {len(history)} replaces",
        by_entity_type={kind: median_low([sizes.get(kind, 0) for sizes in history]) for kind in sorted(kinds)},
    )


def limit_violations(rows: int, limits: SizeLimits) -> list[str]:
    """The absolute limits that a size breaks, as sentences."""
    violations = []
    if not rows and limits.min_rows:
        violations.append("nobody is left to be sent; look at who is picked and why they are rejected")
    if rows < limits.min_rows:
        violations.append(f"{rows} rows are fewer than min_rows {limits.min_rows}")
    if limits.max_rows is not None and rows > limits.max_rows:
        violations.append(f"{rows} rows are more than max_rows {limits.max_rows}")
    return violations


def change_violations(
    by_entity_type: Mapping[str, int], limits: SizeLimits, baselines: Iterable[SizeBaseline]
) -> list[str]:
    """The relative limits that the new sizes break, in total and by entity type, as sentences."""
    rows, violations = sum(by_entity_type.values()), []
    for baseline in baselines:
        in_total = _movement("the list", rows, baseline.rows, baseline.origin, limits)
        violations += in_total
        if in_total:
            continue  # what moved the whole list moved its parts as well
        for kind, before in baseline.by_entity_type.items():
            if before >= MIN_ROWS_PER_TYPE:
                now = by_entity_type.get(kind, 0)
                violations += _movement(f"its part of {kind}s", now, before, baseline.origin, limits)
    return violations


def exceeds_growth(rows: int, limits: SizeLimits, baselines: Iterable[SizeBaseline]) -> bool:
    """Whether so many rows are more than `max_growth` allows against a baseline."""
    return any(rows > baseline.rows * (1 + Fraction(str(limits.max_growth))) for baseline in baselines)


def may_be_partial_fill(held: int, known: int, expected: int, limits: SizeLimits) -> bool:
    """Whether a list may be what a replace that broke off has left: part of those expected, and hardly anybody else.

    Args:
        held: how many recipients the list holds.
        known: how many of them are among those expected. As many as may leave from one day to the next can be missing.
        expected: how many it should hold.
        limits: the list's.
    """
    least = 1 - Fraction(str(limits.max_shrink))
    return 0 < held < expected * least and known >= held * least and known > 0


def _movement(what: str, rows: int, before: int, origin: str, limits: SizeLimits) -> list[str]:
    # As fractions of what was written: in floats, 100 rows and 15 % more are 114.99999999999999.
    if rows < before * (1 - Fraction(str(limits.max_shrink))):
        verb, limit = "shrinks", f"max_shrink {limits.max_shrink:.0%}"
    elif rows > before * (1 + Fraction(str(limits.max_growth))):
        verb, limit = "grows", f"max_growth {limits.max_growth:.0%}"
    else:
        return []
    by = f"by {abs(rows - before) / before:.0%} " if before else ""
    return [f"{what} {verb} {by}from {before} ({origin}) to {rows}, more than {limit}"]
