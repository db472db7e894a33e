"""Who belongs into a list or is excluded from it, as the configuration says."""

import math
import re
from datetime import UTC, date, datetime
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from campaign_sync.config.base import ConfigModel
from campaign_sync.config.field_types import Name, Text
from campaign_sync.config.references import ExternalValue
from campaign_sync.domain.entity import EntityType
from campaign_sync.domain.filter import (
    AllOf,
    AnyOf,
    Comparison,
    Condition,
    NotOf,
    Operator,
    Value,
    as_moment,
)
from campaign_sync.domain.like_pattern import LikePattern

_LOOKS_LIKE_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ].*)?|[0-9]{1,2}[./][0-9]{1,2}[./]([0-9]{2}|[0-9]{4})")

_NULL = "a comparison with NULL never holds; write `is null: true`"

_NO_LIST = "a list of values is expected, like [Köln, Bonn]; for a single value use ="

_NO_CONDITIONS = "a list of conditions is expected, each with a dash in front"


def _value(value: object) -> Value:
    """Return a value as it is compared: truth values and dates as the text that the CRM's become."""
    if value is None:
        raise ValueError(_NULL)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, str):
        if not value.strip():
            raise ValueError(f"empty text is NULL in filters, and {_NULL}")
        return str(value)
    if isinstance(value, int | float) and math.isfinite(value):
        return value
    raise ValueError("text, a number, a date or true or false is expected")


def _ordered_value(value: object) -> Value:
    ordered = _value(value)
    if isinstance(value, bool):
        raise ValueError("true and false have no order; compare with =")  # noqa: TRY004 - pydantic passes a TypeError on
    if isinstance(ordered, str) and _LOOKS_LIKE_DATE.fullmatch(ordered.strip()) and as_moment(ordered.strip()) is None:
        raise ValueError("this is no date or time of ISO 8601; write it like 2026-03-01 or 2026-03-01T12:00:00+01:00")
    return ordered


def _pattern(value: object) -> str:
    if value is None:
        raise ValueError(_NULL)
    if not isinstance(value, str) or not value.strip():
        raise ValueError("text is expected, with % for any characters and _ for a single one; put it in quotes")
    mistake = LikePattern(value).mistake
    if mistake:
        raise ValueError(mistake)
    return str(value)


def _values(value: object) -> object:
    if not isinstance(value, list | tuple):
        raise ValueError(_NO_LIST)  # noqa: TRY004
    if not value:
        raise ValueError("an empty list matches none; name at least one value, or leave the condition out")
    return value


def _conditions(value: object) -> object:
    if not isinstance(value, list | tuple):
        raise ValueError(_NO_CONDITIONS)  # noqa: TRY004
    if not value:
        raise ValueError("the list of conditions is empty; name at least one, or leave it out")
    return value


def _condition(value: object) -> object:
    if value is None:
        raise ValueError("a condition is expected, like {field: city, =: Köln}")
    return value


def _field(value: object) -> object:
    if value is None:
        raise ValueError("the name of a column of the CRM is expected")
    return value


def _null_question(value: object) -> object:
    if isinstance(value, ExternalValue) and value in ("true", "false"):
        return value == "true"
    if not isinstance(value, bool):
        raise ValueError("true or false is expected")  # noqa: TRY004 - pydantic passes a TypeError on
    return value


_SINGLE_VALUE = WithJsonSchema({"anyOf": [{"type": "string", "minLength": 1}, {"type": "number"}, {"type": "boolean"}]})
_SINGLE_ORDERED_VALUE = WithJsonSchema({"anyOf": [{"type": "string", "minLength": 1}, {"type": "number"}]})

FilterValue = Annotated[str | int | float, BeforeValidator(_value), _SINGLE_VALUE]
OrderedValue = Annotated[str | int | float | None, BeforeValidator(_ordered_value), _SINGLE_ORDERED_VALUE]
Pattern = Annotated[str | None, BeforeValidator(_pattern), WithJsonSchema({"type": "string", "minLength": 1})]
NullQuestion = Annotated[bool | None, BeforeValidator(_null_question), WithJsonSchema({"type": "boolean"})]

_OPERATORS: dict[str, Operator] = {
    "equals": "=",
    "among": "in",
    "like": "like",
    "less": "<",
    "greater": ">",
    "is_null": "is null",
}
_JOINTS = ("all", "any", "not")


class ConditionSettings(ConfigModel):
    """A condition of a filter: a field and one operator, or exactly one of `all`, `any` and `not`."""

    all_of: Annotated[tuple["ConditionSettings", ...] | None, BeforeValidator(_conditions)] = Field(
        default=None, alias="all"
    )
    """Conditions that must all hold."""
    any_of: Annotated[tuple["ConditionSettings", ...] | None, BeforeValidator(_conditions)] = Field(
        default=None, alias="any"
    )
    """Conditions of which at least one must hold."""
    not_of: Annotated["ConditionSettings | None", BeforeValidator(_condition)] = Field(default=None, alias="not")
    """A condition that must certainly not hold."""
    field: Annotated[Name | None, BeforeValidator(_field)] = None
    """The CRM's column that is compared."""
    equals: Annotated[str | int | float | None, BeforeValidator(_value), _SINGLE_VALUE] = Field(default=None, alias="=")
    """A value that the field equals, without regard to case."""
    among: Annotated[tuple[FilterValue, ...] | None, BeforeValidator(_values)] = Field(default=None, alias="in")
    """Values of which the field equals any."""
    like: Pattern = None
    """A pattern for the whole text: % for any characters, _ for a single one, a backslash before a literal one."""
    less: OrderedValue = Field(default=None, alias="<")
    """A value that the field is less than, or a date that it is before."""
    greater: OrderedValue = Field(default=None, alias=">")
    """A value that the field is greater than, or a date that it is after."""
    is_null: NullQuestion = Field(default=None, alias="is null")
    """true: the field has no value; false: it has one."""

    @model_validator(mode="after")
    def _check_form(self) -> Self:
        given = [type(self).model_fields[name].alias or name for name in self.model_fields_set]
        joints, operators = [[name for name in given if name in names] for names in (_JOINTS, _OPERATORS.values())]
        if len(joints) + ("field" in given) != 1:
            raise ValueError("exactly one of field, all, any and not is expected; combine conditions with all or any")
        if joints and operators:
            raise ValueError(f"{' and '.join(sorted(operators))} belongs beside field, in a condition of its own")
        if not joints and len(operators) != 1:
            known = ", ".join(_OPERATORS.values())
            raise ValueError(f"exactly one operator is expected beside field ({known}); combine several with all")
        return self

    @property
    def condition(self) -> Condition:
        """The condition for the domain."""
        if self.all_of is not None:
            return AllOf(tuple(inner.condition for inner in self.all_of))
        if self.any_of is not None:
            return AnyOf(tuple(inner.condition for inner in self.any_of))
        if self.not_of is not None:
            return NotOf(self.not_of.condition)
        (name,) = self.model_fields_set - {"field"}
        value: Any = getattr(self, name)
        values = () if name == "is_null" else value if name == "among" else (value,)
        comparison = Comparison(self.field or "", _OPERATORS[name], values)
        return NotOf(comparison) if value is False else comparison


class PickSettings(ConfigModel):
    """People in the CRM: exactly one of `marketing_list`, `report`, `filter` and `query`."""

    marketing_list: Name | None = None
    """Name of a marketing list in the CRM."""
    report: Name | None = None
    """Name of a report in the CRM."""
    filter: ConditionSettings | None = None
    """A condition that all records of `entity_type` are compared with."""
    query: Text | None = None
    """A query in the CRM's own language that yields ids of records of `entity_type`."""
    entity_type: EntityType | None = None
    """Whom filter or query are about."""

    @model_validator(mode="after")
    def _check_form(self) -> Self:
        picks = ("marketing_list", "report", "filter", "query")
        given = {name for name in picks if getattr(self, name) is not None}
        if len(given) != 1:
            raise ValueError("exactly one of marketing_list, report, filter and query is expected")
        if self.entity_type is None and given & {"filter", "query"}:
            raise ValueError(f"entity_type is expected beside {min(given)}: {', '.join(EntityType)}")
        if self.entity_type is not None and not given & {"filter", "query"}:
            raise ValueError("entity_type belongs to filter and query; leave it out")
        return self
