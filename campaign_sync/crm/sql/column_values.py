"""The values of a foreign schema, as a copy of the CRM takes them: keys and words as text, whatever their type."""

from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Final
from uuid import UUID

from campaign_sync.crm.port import CrmError

Converter = Callable[[Sequence[object], str], Sequence[object]]
"""Converts the values of a column; the second argument is the place for messages."""

_KEYS: Final = frozenset({"id", "entity_id", "opt_in_id", "mandator", "marketing_list_id"})

_WORDS: Final = frozenset({"entity_type", "kind", "bounce_kind"})

_TEXT: Final = frozenset({str, type(None)})

_PLAIN: Final = _TEXT | {bytes, int, float, Decimal, bool, datetime, date}


def converter_of(name: str) -> Converter:
    """Return the converter for a column of the contract, or another column of people or reports."""
    if name in _KEYS:
        return _by_value(_key_text, name)
    return _by_value(_word_text, name) if name in _WORDS else _by_value(_plain_value, name)


def _by_value(convert: Callable[[object], object], name: str) -> Converter:
    def converter(values: Sequence[object], place: str) -> Sequence[object]:
        types = set(map(type, values))
        if types <= _TEXT or (convert is _plain_value and types <= _PLAIN - {bytes}):
            return values
        try:
            return [convert(value) for value in values]
        except TypeError as error:
            problem = str(error)
        raise CrmError(f"{place}: the column {name} holds {problem}; give its text in a query")

    return converter


def _key_text(value: object) -> object:
    """Return a key as text: numbers without decimals, UUIDs in their usual form."""
    match value:
        case None | str():
            return value
        case bool():
            raise TypeError("truth values")
        case int() | UUID():
            return str(value)
        case float() | Decimal() if value == int(value):
            return str(int(value))
        case _:
            raise TypeError(f"values of type {type(value).__name__}")


def _word_text(value: object) -> object:
    """Return a word of the CRM as text. A truth value is `true` or `false`, or `1` or `0` where it is a number."""
    match value:
        case None | str():
            return value
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case b"\x00" | b"\x01":  # BIT(1) of MariaDB and MySQL
            return str(value[0])
        case _:
            raise TypeError(f"values of type {type(value).__name__}")


def _plain_value(value: object) -> object:
    match value:
        case b"\x00" | b"\x01":  # BIT(1) of MariaDB and MySQL
            return value[0]
        case _ if type(value) in _PLAIN:
            return value
        case UUID() | timedelta():
            return str(value)
        case memoryview() | bytearray():
            return bytes(value)
        case time():
            return value.isoformat()
        case _:
            raise TypeError(f"values of type {type(value).__name__}")
