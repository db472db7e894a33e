"""FetchXML documents: queries of our own, those of lists and views, their pages and their counts.

See https://learn.microsoft.com/power-apps/developer/data-platform/fetchxml/reference/.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from lxml import etree

from campaign_sync.errors import CampaignSyncError

CREATED = "createdon"
"""The column with the time at which a record was made, in every standard table."""

MODIFIED = "modifiedon"
"""The column with the time of a record's last change."""


_OF_THE_USER = (
    *("eq-userid", "ne-userid", "eq-userteams", "eq-useroruserteams", "eq-useroruserhierarchy"),
    *("eq-useroruserhierarchyandteams", "eq-businessid", "ne-businessid", "eq-userlanguage"),
)
"""Operators that compare with the user who asks: everybody gets other records, and the application user none."""


class FetchXmlError(CampaignSyncError):
    """A FetchXML that can't be read completely. The message says why, without its values."""


@dataclass(frozen=True)
class Condition:
    """A condition of a query."""

    column: str
    operator: str
    values: tuple[str, ...] = ()


class FetchXml:
    """A query for the records of a table, in the order of their keys.

    Args:
        entity: the element `entity`, without attributes and order.
        key: the column of the table's primary key.
        columns: the columns to read.
        labeled: whether their labels are read as well.
        stamp: the column of the time by which records are counted: those that had it before the read began.
    """

    def __init__(
        self, entity: Any, key: str, columns: Sequence[str], *, labeled: bool = False, stamp: str = CREATED
    ) -> None:
        self._entity, self.key, self.columns, self.labeled, self.stamp = entity, key, tuple(columns), labeled, stamp

    @classmethod
    def of_table(
        cls,
        table: str,
        key: str,
        columns: Sequence[str],
        conditions: Iterable[Condition] = (),
        *,
        labeled: bool = False,
        stamp: str = CREATED,
    ) -> "FetchXml":
        """Return a query for the records of a table that fulfil all conditions."""
        entity = etree.Element("entity", name=table)
        query = cls(entity, key, columns, labeled=labeled, stamp=stamp)
        for condition in conditions:
            query.require(condition)
        return query

    @classmethod
    def parse(cls, text: str, tables: dict[str, str]) -> "FetchXml":
        """Return the query of a list or view for the keys of its records.

        Args:
            text: what Dataverse has, or what the configuration has.
            tables: the keys of the tables that it may be about.

        Raises:
            FetchXmlError: it can't be read, limits its rows, depends on who asks, or is about another table.
        """
        try:
            root = etree.fromstring(text.encode(), etree.XMLParser(resolve_entities=False, no_network=True))
        except (etree.XMLSyntaxError, ValueError):
            root = None
        entities = root.findall("entity") if root is not None and root.tag == "fetch" else []
        if len(entities) != 1:
            raise FetchXmlError("it is no FetchXML (<fetch><entity …>)")
        if any(root.get(name) for name in ("top", "count", "page")):
            raise FetchXmlError("it limits the number of its rows (top, count or page)")
        if root.get("aggregate", "false").lower() in ("true", "1"):
            raise FetchXmlError("it yields sums (aggregate) and not records")
        table = entities[0].get("name")
        if table not in tables:
            raise FetchXmlError(f"it yields records of the table {table}, and not of {', '.join(tables)}")
        compared = {condition.get("operator") for condition in entities[0].iter("condition")}
        if of_the_user := sorted(compared.intersection(_OF_THE_USER)):
            raise FetchXmlError(f"its rows are others for each user ({', '.join(of_the_user)})")
        for element in list(entities[0].iter("attribute", "all-attributes", "order", etree.Comment)):
            _remove(element)
        return cls(entities[0], tables[table], ())

    @property
    def table(self) -> str:
        """The table."""
        return str(self._entity.get("name"))

    def compared(self) -> Iterator[tuple[str, str]]:
        """Yield the tables and columns of all conditions; those of linked tables as well."""
        tables = {link.get("alias"): link.get("name") for link in self._entity.iter("link-entity")}
        for condition in self._entity.iter("condition"):
            own = next(condition.iterancestors("entity", "link-entity")).get("name")
            yield str(tables.get(condition.get("entityname"), own)), str(condition.get("attribute"))

    def require(self, condition: Condition) -> None:
        """Add a condition to all that are there."""
        self.require_any([condition])

    def require_any(self, conditions: Iterable[Condition]) -> None:
        """Add conditions of which one at least must hold."""
        combined = etree.Element("filter", type="and")
        for present in self._entity.findall("filter"):
            combined.append(present)
        alternatives = etree.SubElement(combined, "filter", type="or")
        for condition in conditions:
            _add(alternatives, condition)
        self._entity.append(combined)

    def link(self, table: str, key: str, column: str, condition: Condition) -> None:
        """Leave only those records whose column refers to a record of another table that fulfils a condition."""
        names = {"name": table, "from": key, "to": column, "link-type": "inner"}
        link = etree.SubElement(self._entity, "link-entity", names)
        _add(etree.SubElement(link, "filter", type="and"), condition)

    def page(self, number: int, rows: int, cookie: str | None) -> str:
        """Return the text that reads a page.

        Args:
            number: of the page, from 1.
            rows: how many rows a page has.
            cookie: what the page before brought, unaltered.
        """
        names = {"version": "1.0", "mapping": "logical", "returntotalrecordcount": "true"}
        fetch = etree.Element("fetch", {**names, "page": str(number), "count": str(rows)})
        if self._entity.find(".//link-entity") is not None:
            fetch.set("distinct", "true")
        if cookie is not None:
            fetch.set("paging-cookie", cookie)
        entity = _copy(self._entity)
        for position, column in enumerate(dict.fromkeys((self.key, self.stamp, *self.columns))):
            entity.insert(position, etree.Element("attribute", name=column))
        etree.SubElement(entity, "order", attribute=self.key)
        fetch.append(entity)
        return _text(fetch)

    def count(self, until: str) -> str:
        """Return the text that counts the records whose stamp isn't later. Its answer has the number as `n`."""
        fetch = etree.Element("fetch", version="1.0", mapping="logical", aggregate="true")
        counted = FetchXml(_copy(self._entity), self.key, ())
        counted.require(Condition(self.stamp, "le", (until,)))
        names = {"name": self.key, "alias": "n", "aggregate": "countcolumn", "distinct": "true"}
        counted._entity.insert(0, etree.Element("attribute", names))
        fetch.append(counted._entity)
        return _text(fetch)

    def keys_only(self) -> "FetchXml":
        """Return the query for nothing but the keys."""
        return FetchXml(_copy(self._entity), self.key, (), stamp=self.stamp)


def paging_cookie(annotation: object) -> str | None:
    """Return what continues a query, out of the annotation of its page; None if there is no cookie in it.

    It is encoded twice, and goes back unaltered:
    https://learn.microsoft.com/power-apps/developer/data-platform/fetchxml/page-results.
    """
    cookie = _attribute(annotation, "pagingcookie")
    return unquote(unquote(cookie)) if cookie else None


def last_key(cookie: str, key: str) -> str | None:
    """Return the key of the last record of a page, by its paging cookie; None if it doesn't name it."""
    root = _parse(cookie)
    element = root.find(key) if root is not None else None
    last = element.get("last") if element is not None else None
    return last.strip("{}").lower() if last else None


def _add(parent: Any, condition: Condition) -> None:
    element = etree.SubElement(parent, "condition", attribute=condition.column, operator=condition.operator)
    if condition.operator == "in":
        for value in condition.values:
            etree.SubElement(element, "value").text = value
    elif condition.values:
        element.set("value", condition.values[0])


def _attribute(text: object, name: str) -> str | None:
    root = _parse(text) if isinstance(text, str) else None
    return root.get(name) if root is not None else None


def _parse(text: str) -> Any:
    try:
        return etree.fromstring(text, etree.XMLParser(resolve_entities=False, no_network=True))
    except (etree.XMLSyntaxError, ValueError):
        return None


def _remove(element: Any) -> None:
    parent = element.getparent()
    if parent is not None:
        parent.remove(element)


def _copy(element: Any) -> Any:
    return etree.fromstring(etree.tostring(element, with_tail=False))


def _text(element: Any) -> str:
    return str(etree.tostring(element, encoding="unicode"))
