"""Structured filters on the people of a CRM, with one table of truth for every adapter.

docs/filters.md is that table for users. `rule_of` has it for one value, `filter_columns.matching_rows` applies it
to whole columns.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from operator import eq, gt, lt
from typing import Any, Final, Literal

from campaign_sync.domain.instant import parse_instant
from campaign_sync.domain.like_pattern import LikePattern
from campaign_sync.domain.text import NOT_UTF8, fold_case, normalize_text

Operator = Literal["=", "in", "like", "<", ">", "is null"]

Value = str | int | float
"""Text, which may be a date or time in ISO 8601, or a number."""


@dataclass(frozen=True)
class Comparison:
    """A condition on one field."""

    field: str
    operator: Operator
    values: tuple[Value, ...] = ()
    """Several for `in`, none for `is null`, else exactly one."""


@dataclass(frozen=True)
class AllOf:
    """Holds if all conditions hold."""

    conditions: tuple["Condition", ...]


@dataclass(frozen=True)
class AnyOf:
    """Holds if one of the conditions holds."""

    conditions: tuple["Condition", ...]


@dataclass(frozen=True)
class NotOf:
    """Holds if the condition certainly doesn't: `not` of a comparison with NULL is no match."""

    condition: "Condition"


Condition = Comparison | AllOf | AnyOf | NotOf

Rule = Callable[[str | None], bool | None]
"""Returns whether a value fulfils a comparison; None if that is unknown."""


_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?")
_COMPARE: Final[dict[str, Callable[[Any, Any], bool]]] = {"=": eq, "in": eq, "<": lt, ">": gt}


def filter_fields(condition: Condition) -> frozenset[str]:
    """Return the fields that a condition compares."""
    return frozenset(comparison.field for comparison in _comparisons(condition))


def rule_of(comparison: Comparison) -> Rule:
    """Return the rule by which a comparison decides on one value, the text of a field or None for NULL.

    Outer blanks don't count, and text without anything else is NULL. A comparison is unknown for NULL, for text that
    isn't UTF-8, and for a value that isn't of the kind compared with: a number, or a date or time.
    """
    if comparison.operator == "is null":
        return lambda text: text is None or not text.strip()
    if comparison.operator == "like":
        return _like_rule(str(comparison.values[0]))
    rules = [_value_rule(_COMPARE[comparison.operator], value) for value in comparison.values]
    return rules[0] if len(rules) == 1 else lambda text: _any(rule(text) for rule in rules)


def as_moment(text: str) -> datetime | None:
    """Return a date (as its begin) or time in ISO 8601 as UTC; None if `text` is neither."""
    try:
        if _DATE.fullmatch(text):
            return datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC)
    except ValueError:
        return None
    return parse_instant(text) if text[:1].isdecimal() else None


def _comparisons(condition: Condition) -> Iterator[Comparison]:
    match condition:
        case Comparison():
            yield condition
        case NotOf():
            yield from _comparisons(condition.condition)
        case AllOf() | AnyOf():
            for inner in condition.conditions:
                yield from _comparisons(inner)


def _value_rule(compare: Callable[[Any, Any], bool], value: Value) -> Rule:
    if not isinstance(value, str):
        return _rule(_number, lambda number: compare(number, Decimal(str(value))))
    moment = as_moment(value.strip())
    if moment is None:
        wanted = _folded(value)
        return _rule(_folded, lambda text: compare(text, wanted))
    if _DATE.fullmatch(value.strip()):
        return _rule(as_moment, lambda at: compare(at.date(), moment.date()))
    return _rule(as_moment, lambda at: compare(at, moment))


def _like_rule(pattern: str) -> Rule:
    return _rule(normalize_text, LikePattern(pattern).holds)


def _rule(convert: Callable[[str], Any], holds: Callable[[Any], bool]) -> Rule:
    """Return a rule that is unknown wherever there is nothing to compare."""

    def rule(text: str | None) -> bool | None:
        clean = "" if text is None else text.strip()
        if not clean or NOT_UTF8 in clean:
            return None
        converted = convert(clean)
        return None if converted is None else holds(converted)

    return rule


def _folded(text: str) -> str:
    """Return text in the form in which it is compared: without regard to case, and composed (NFC)."""
    return fold_case(normalize_text(text))


def _number(text: str) -> Decimal | None:
    return Decimal(text) if _NUMBER.fullmatch(text) else None


def _any(outcomes: Iterator[bool | None]) -> bool | None:
    known = set(outcomes)
    return True if True in known else None if None in known else False
