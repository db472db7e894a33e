"""As much of SOQL as the adapter uses, on rows in memory."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]
Tables = Mapping[str, Sequence[Row]]
Condition = Callable[[Row], bool]

_TOKEN = re.compile(r"\s*('(?:[^'\\]|\\.)*'|\d{4}-[\d:T.-]+Z|[A-Za-z_][\w.]*|!=|>=|[=(),])", re.DOTALL)
_ESCAPES = {"n": "\n", "r": "\r"}


class SoqlError(Exception):
    """The query isn't understood; Salesforce's code for it."""


class Soql:
    """A query, and the rows that it selects.

    Args:
        text: the query.
        tables: all rows by object.
        fields: the names of all fields by object, and the objects of relationships by their names.
    """

    def __init__(self, text: str, tables: Tables, fields: Mapping[str, Mapping[str, str]]) -> None:
        self._tables, self._fields = tables, fields
        self._tokens = _tokens(text)
        self.paths, self.sobject, self.rows = self._select()
        if self._tokens:
            raise SoqlError("MALFORMED_QUERY")

    def _select(self) -> tuple[list[str], str, list[Row]]:
        self._expect("SELECT")
        paths = [self._tokens.pop(0)]
        while self._tokens[:1] == [","]:
            paths += [self._tokens.pop(0) and self._tokens.pop(0)]
        self._expect("FROM")
        sobject = self._tokens.pop(0)
        if sobject not in self._fields:
            raise SoqlError("INVALID_TYPE")
        for path in paths:
            self._require(sobject, path)
        if len(set(paths)) < len(paths):
            raise SoqlError("INVALID_FIELD")
        condition: Condition = lambda _: True  # noqa: E731
        if self._tokens[:1] == ["WHERE"]:
            self._tokens.pop(0)
            condition = self._conditions(sobject)
        rows = [row for row in self._tables.get(sobject, ()) if condition(row)]
        return paths, sobject, rows

    def values(self, row: Row) -> list[Any]:
        """Return the selected values of a row."""
        return [self._value(row, path) for path in self.paths]

    def _conditions(self, sobject: str) -> Condition:
        conditions, joints = [self._condition(sobject)], set[str]()
        while self._tokens[:1] in (["AND"], ["OR"]):
            joints.add(self._tokens.pop(0))
            conditions.append(self._condition(sobject))
        if len(joints) > 1:
            raise SoqlError("MALFORMED_QUERY")
        combine = any if joints == {"OR"} else all
        return lambda row: combine(condition(row) for condition in conditions)

    def _condition(self, sobject: str) -> Condition:
        if self._tokens[:1] == ["("]:
            self._tokens.pop(0)
            condition = self._conditions(sobject)
            self._expect(")")
            return condition
        path, operator = self._tokens.pop(0), self._tokens.pop(0)
        self._require(sobject, path)
        if operator == "IN":
            wanted = self._list()
            return lambda row: self._value(row, path) in wanted
        if operator == ">=":
            moment = self._tokens.pop(0)
            return lambda row: self._value(row, path) >= moment
        value = _literal(self._tokens.pop(0))
        if operator == "=":
            return lambda row: _equal(self._value(row, path), value)
        if (operator, value) == ("!=", None):
            return lambda row: self._value(row, path) is not None
        raise SoqlError("MALFORMED_QUERY")

    def _list(self) -> Sequence[Any]:
        self._expect("(")
        if self._tokens[:1] == ["SELECT"]:
            (path,), _, rows = self._select()
            values = [self._value(row, path) for row in rows]
        else:
            values = [_literal(self._tokens.pop(0))]
            while self._tokens[:1] == [","]:
                values += [_literal(self._tokens.pop(0) and self._tokens.pop(0))]
        self._expect(")")
        return values

    def _expect(self, token: str) -> None:
        if self._tokens[:1] != [token]:
            raise SoqlError("MALFORMED_QUERY")
        self._tokens.pop(0)

    def _require(self, sobject: str, path: str) -> None:
        first, _, rest = path.partition(".")
        if first not in self._fields[sobject]:
            raise SoqlError("INVALID_FIELD")
        if rest:
            self._require(self._fields[sobject][first], rest)

    def _value(self, row: Row, path: str) -> Any:
        first, _, rest = path.partition(".")
        if not rest:
            return row.get(first)
        key = row.get(f"{first}Id")
        return next((self._value(parent, rest) for parent in self._parents(first) if parent["Id"] == key), None)

    def _parents(self, relationship: str) -> Sequence[Row]:
        if relationship == "MasterRecord":
            return [row for rows in self._tables.values() for row in rows]
        return self._tables.get(relationship, ())


def _tokens(text: str) -> list[str]:
    tokens, position = [], 0
    while text[position:].strip():
        match = _TOKEN.match(text, position)
        if match is None:
            raise SoqlError("MALFORMED_QUERY")
        tokens.append(match[1])
        position = match.end()
    return tokens


def _literal(token: str) -> Any:
    if token.startswith("'"):
        return re.sub(r"\\(.)", lambda match: _ESCAPES.get(match[1], match[1]), token[1:-1])
    if token in ("true", "false", "null"):
        return {"true": True, "false": False, "null": None}[token]
    raise SoqlError("MALFORMED_QUERY")


def _equal(stored: Any, value: Any) -> bool:
    if isinstance(stored, str) and isinstance(value, str):
        return stored.casefold() == value.casefold()
    return bool(stored) == value if isinstance(value, bool) else bool(stored == value)
