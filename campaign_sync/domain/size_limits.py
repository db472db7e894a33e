"""Plausibility of a list's new size, so that no truncated source empties a list and no wrong report floods one."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from statistics import median_low

from campaign_sync.domain.message import Message

MIN_ROWS_PER_TYPE = 20
"""An entity type with fewer rows in the baseline isn't checked: a single person would exceed its limits."""

MIN_HISTORY = 3
"""The number of proven replacements from which on their median is a second baseline besides the last one."""

APPROVED_ROWS = 10
"""An approved size holds for as many rows more or less than planned."""

APPROVED_SHARE = Fraction(1, 100)
"""It also holds for this share of the planned rows more or less."""


@dataclass(frozen=True)
class SizeLimits:
    """How large a list may be, how much one replacement may change it, and how much of it may be damaged.

    Shares are of the baseline, and of the rows for mojibake: 0.2 is 20 %.
    """

    min_rows: int = 1
    max_rows: int | None = None
    max_shrink: float = 0.2
    max_growth: float = 0.5
    max_mojibake: float = 0.05
    """How many of the rows to send may have a text with mojibake."""


@dataclass(frozen=True)
class SizeBaseline:
    """A size that the new size is compared with, and its origin.

    A list that was never replaced and is empty has no baseline: only absolute limits apply.
    """

    rows: int
    origin: str
    by_entity_type: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class ApprovedSize:
    """A size that a person has approved, by entity type."""

    by_entity_type: Mapping[str, int]
    plan_id: str
    approved: str
    """By whom, and why."""

    @property
    def rows(self) -> int:
        """The approved number of rows."""
        return sum(self.by_entity_type.values())

    def allows(self, by_entity_type: Mapping[str, int]) -> bool:
        """Return whether these numbers of rows are about those that were approved, in total and of each type."""
        counts = [(sum(by_entity_type.values()), self.rows)]
        types = by_entity_type.keys() | self.by_entity_type.keys()
        counts += [(by_entity_type.get(name, 0), self.by_entity_type.get(name, 0)) for name in types]
        return all(is_about(rows, approved) for rows, approved in counts)


def is_about(rows: int, approved: int) -> bool:
    """Return whether a number of rows is about the one that was approved."""
    difference = abs(rows - approved)
    return difference <= APPROVED_ROWS or difference <= APPROVED_SHARE * approved


def median_baseline(history: Sequence[Mapping[str, int]]) -> SizeBaseline | None:
    """Return the median of the proven sizes by entity type; None if there are fewer than `MIN_HISTORY`.

    It detects gradual changes: a list that loses some rows every day, each day within its limits.
    """
    if len(history) < MIN_HISTORY:
        return None
    kinds = {kind for sizes in history for kind in sizes}
    return SizeBaseline(
        rows=median_low([sum(sizes.values()) for sizes in history]),
        origin=Message("median of {count} replaces", count=len(history)),
        by_entity_type={kind: median_low([sizes.get(kind, 0) for sizes in history]) for kind in sorted(kinds)},
    )


def limit_violations(rows: int, limits: SizeLimits) -> list[str]:
    """Return a sentence for each absolute limit that a size violates."""
    violations: list[str] = []
    if not rows and limits.min_rows:
        violations.append(
            Message("no recipient is left to be sent; check the selection and the reasons for the rejections")
        )
    if rows < limits.min_rows:
        violations.append(Message("{rows} rows are fewer than min_rows {limit}", rows=rows, limit=limits.min_rows))
    if limits.max_rows is not None and rows > limits.max_rows:
        violations.append(Message("{rows} rows are more than max_rows {limit}", rows=rows, limit=limits.max_rows))
    return violations


def change_violations(
    by_entity_type: Mapping[str, int], limits: SizeLimits, baselines: Iterable[SizeBaseline]
) -> list[str]:
    """Return a sentence for each relative limit that the new sizes violate, in total and by entity type."""
    rows, violations = sum(by_entity_type.values()), []
    for baseline in baselines:
        in_total = _change_violation(Message("the list"), rows, baseline.rows, baseline.origin, limits)
        violations += in_total
        if in_total:
            continue  # a change of the whole list is one of its parts as well
        for kind, before in baseline.by_entity_type.items():
            if before >= MIN_ROWS_PER_TYPE:
                now = by_entity_type.get(kind, 0)
                violations += _change_violation(_PARTS.get(kind, kind), now, before, baseline.origin, limits)
    return violations


def exceeds_growth(rows: int, limits: SizeLimits, baselines: Iterable[SizeBaseline]) -> bool:
    """Return whether a number of rows exceeds `max_growth` against any baseline."""
    return any(rows > baseline.rows * (1 + Fraction(str(limits.max_growth))) for baseline in baselines)


def may_be_partial_fill(held: int, known: int, expected: int, limits: SizeLimits) -> bool:
    """Return whether a list may be the result of an interrupted replacement: a part of those expected, and few others.

    Args:
        held: the number of recipients in the list.
        known: how many of these are expected. The limit for shrinking is tolerated, for those who left since.
        expected: the number of recipients that the list should hold.
        limits: the limits of the list.
    """
    least = 1 - Fraction(str(limits.max_shrink))
    return 0 < held < expected * least and known >= held * least and known > 0


def _change_violation(what: str, rows: int, before: int, origin: str, limits: SizeLimits) -> list[str]:
    # Fractions of the limits as written: in floats, 100 rows and 15 % more are 114.99999999999999.
    values = {"part": what, "before": before, "origin": origin, "rows": rows}
    if rows < before * (1 - Fraction(str(limits.max_shrink))):
        text = Message(
            "{part} shrinks by {share:.0%} from {before} ({origin}) to {rows}, more than max_shrink {limit:.0%}",
            share=(before - rows) / before,
            limit=limits.max_shrink,
            **values,
        )
    elif rows > before * (1 + Fraction(str(limits.max_growth))):
        text = (
            Message(
                "{part} grows by {share:.0%} from {before} ({origin}) to {rows}, more than max_growth {limit:.0%}",
                share=(rows - before) / before,
                limit=limits.max_growth,
                **values,
            )
            if before
            else Message(
                "{part} grows from {before} ({origin}) to {rows}, more than max_growth {limit:.0%}",
                limit=limits.max_growth,
                **values,
            )
        )
    else:
        return []
    return [text]


_PARTS = {
    "contact": Message("its part of contacts"),
    "lead": Message("its part of leads"),
    "account": Message("its part of accounts"),
}
