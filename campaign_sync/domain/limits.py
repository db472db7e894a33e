"""Whether a list's new size is plausible. A truncated source must not empty a list, nor a wrong report flood one."""

from dataclasses import dataclass
from fractions import Fraction


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

    None as a baseline stands for a list that was never replaced by us and is empty: only absolute limits apply.
    """

    rows: int
    origin: str


def size_violations(rows: int, limits: SizeLimits, baseline: SizeBaseline | None) -> list[str]:
    """Every limit that `rows` breaks, as a sentence; empty when the size is plausible."""
    violations = []
    if rows < limits.min_rows:
        violations.append(f"{rows} rows are fewer than min_rows {limits.min_rows}")
    if limits.max_rows is not None and rows > limits.max_rows:
        violations.append(f"{rows} rows are more than max_rows {limits.max_rows}")
    if baseline is None:
        return violations
    # As fractions of what was written: in floats, 100 rows and 15 % more are 114.99999999999999.
    if rows < baseline.rows * (1 - Fraction(str(limits.max_shrink))):
        violations.append(_moved(rows, baseline, "shrinks", f"max_shrink {limits.max_shrink:.0%}"))
    if rows > baseline.rows * (1 + Fraction(str(limits.max_growth))):
        violations.append(_moved(rows, baseline, "grows", f"max_growth {limits.max_growth:.0%}"))
    return violations


def _moved(rows: int, baseline: SizeBaseline, verb: str, limit: str) -> str:
    by = f"by {abs(rows - baseline.rows) / baseline.rows:.0%} " if baseline.rows else ""
    return f"the list {verb} {by}from {baseline.rows} ({baseline.origin}) to {rows}, more than {limit}"
