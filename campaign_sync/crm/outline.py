"""What a CRM has that a first configuration can name."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from campaign_sync.domain.entity import EntityType

ColumnTypes = Mapping[str, str]
"""The types of an object's columns, by name: `boolean`, `datetime`, `date`, `text`, or any other."""

_DATES = ("on", "at", "date", "_on", "_at", "_date")

_BOUNCE = "bounc"


@dataclass(frozen=True)
class Choice:
    """Settings that a person can choose."""

    settings: Mapping[str, object]
    title: str = ""
    """What it is called in the CRM."""
    remark: str = ""
    """What a person must know to choose."""


@dataclass(frozen=True)
class CrmOutline:
    """The choices that a CRM offers."""

    settings: Mapping[str, object] = field(default_factory=dict)
    """Settings of the section `crm` that this CRM needs."""
    consents: Sequence[Choice] = ()
    """Settings of an opt-in beside its mandator and description."""
    bounces: Sequence[Choice] = ()
    """Settings of the section `bounce`."""
    picks: Sequence[Choice] = ()
    """Settings of `select`."""
    attributes: str = "{Ort: city}"
    """An example of the attributes of a list."""
    remarks: Sequence[str] = ()
    """What else a person should know."""
    options: Sequence[Choice] = ()
    """Further settings of the section `crm`."""
    opt_ins_in_crm: bool = False
    """Whether the CRM has the opt-ins in a table of its own, so that the configuration can't name them."""


def column_choices(
    columns: Mapping[EntityType, ColumnTypes], key: str, suffix: str = ""
) -> tuple[list[Choice], list[Choice]]:
    """Return which columns of records may hold consents, and which bounces.

    A consent is in a column of yes and no, whose date has its name and `on`, `at` or `date`, with or without an
    underscore.

    Args:
        columns: the customer's own columns, by type of record.
        key: what the configuration calls the column of the bounce.
        suffix: at the end of the customer's own names.

    Returns:
        Choices of consents, with `field`, and of bounces.
    """
    names = sorted({name for own in columns.values() for name, kind in own.items() if kind == "boolean"})
    consents = [
        Choice(
            {"field": {kind.value: _consent(columns[kind], name, suffix) for kind in columns if name in columns[kind]}},
            name,
        )
        for name in names
        if _BOUNCE not in name.lower()
    ]
    bounces = [
        Choice({kind.value: {key: name} | _date(own, name, suffix)})
        for kind, own in columns.items()
        for name, type_name in own.items()
        if _BOUNCE in name.lower() and type_name in ("boolean", "text")
    ]
    return consents, bounces


def _consent(columns: ColumnTypes, name: str, suffix: str) -> dict[str, str]:
    return {"granted": name} | _date(columns, name, suffix)


def _date(columns: ColumnTypes, name: str, suffix: str) -> dict[str, str]:
    """Return the column with the date of another as `at`, if there is one."""
    stem = name.removesuffix(suffix).lower()
    wanted = [f"{stem}{ending}{suffix}".lower() for ending in _DATES]
    dates: Iterable[str] = (column for column, kind in columns.items() if kind in ("datetime", "date"))
    by_name = {column.lower(): column for column in dates}
    return next(({"at": by_name[column]} for column in wanted if column in by_name), {})
