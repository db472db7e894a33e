"""Structured filters on the people of a CRM, with one table of truth for every adapter."""

from dataclasses import dataclass
from typing import Literal

Operator = Literal["=", "in", "like", "<", ">", "is null"]

Value = str | int | float | bool


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
