"""Conditions in SQL that find addresses in whatever spelling, and some more: Python decides by `address_key`."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import ColumnElement, Text, cast, func, literal_column

_UNUSUAL: ColumnElement[str] = literal_column("'[^ -~]'")
"""A regular expression: no printable character of ASCII. It is no parameter, for the sake of partial indexes."""


def plain_key(column: ColumnElement[Any], dialect: str) -> ColumnElement[Any]:
    """Return `address_key` of an address that has no unusual character: without blanks around it, in lower case.

    By no language's rules for letters: in Turkish, the small letter of I isn't i.
    """
    return _PLAIN_KEYS[dialect](column)


def is_unusual(column: ColumnElement[Any], dialect: str) -> ColumnElement[bool]:
    """Return whether an address has a character that only Python normalizes: no ASCII, or a blank other than space."""
    return _UNUSUALS[dialect](column)


def _in_utf8mb4(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return the text in MariaDB or MySQL, whatever the column's character set and collation are."""
    return func.convert(column.op("USING")(literal_column("utf8mb4")))


_PLAIN_KEYS: dict[str, Callable[[ColumnElement[Any]], ColumnElement[Any]]] = {
    "sqlite": lambda column: func.lower(func.trim(column)),
    "postgresql": lambda column: func.lower(func.btrim(cast(column, Text)).collate("C")),
    **dict.fromkeys(
        ("mysql", "mariadb"), lambda column: func.lower(func.trim(_in_utf8mb4(column)).collate("utf8mb4_bin"))
    ),
}

_UNUSUALS: dict[str, Callable[[ColumnElement[Any]], ColumnElement[bool]]] = {
    "sqlite": lambda column: column.op("GLOB", is_comparison=True)(literal_column("'*[^ -~]*'")),
    "postgresql": lambda column: cast(column, Text).collate("C").op("~", is_comparison=True)(_UNUSUAL),
    **dict.fromkeys(
        ("mysql", "mariadb"),
        lambda column: _in_utf8mb4(column).collate("utf8mb4_bin").op("REGEXP", is_comparison=True)(_UNUSUAL),
    ),
}
