"""The rows of a FetchXML query: all of them, or an error."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from campaign_sync.crm.dataverse.api import DataverseApi, content
from campaign_sync.crm.dataverse.errors import TITLE
from campaign_sync.crm.dataverse.fetch_xml import FetchXml, last_key, paging_cookie
from campaign_sync.crm.mirror.source import SourceRows
from campaign_sync.crm.port import CrmError, CrmSetupError
from campaign_sync.crm.web_api.answer import Answer
from campaign_sync.domain.entity import EntityType

Record = dict[str, Any]
"""A row of an answer. Columns without a value are absent."""

PAGE_ROWS = 5_000
"""The largest page of Dataverse."""

ROWS_WITHOUT_COOKIE = 50_000
"""Pages by number alone end there."""

_AGGREGATE_ROWS = 50_000
"""Sums over more rows are refused."""

_JUST_MADE = timedelta(seconds=5)
"""Records this new aren't counted, or changed this recently: clocks differ a little, and times have whole seconds."""

_ANNOTATION = "@Microsoft.Dynamics.CRM."


class Pages:
    """The pages of a query, to be read once.

    Args:
        api: calls the API.
        entity_set: the table's name in the API.
        query: what is read.
        title: how messages call the rows.
        page_rows: how many rows a page has.
    """

    def __init__(
        self, api: DataverseApi, entity_set: str, query: FetchXml, title: str, page_rows: int = PAGE_ROWS
    ) -> None:
        self._api, self._entity_set, self._query, self._title = api, entity_set, query, title
        self._page_rows = page_rows
        self._begun_at: str | None = None
        self._ends: set[str] = set()
        self._previous: set[str] = set()
        self._done = self._old = 0
        """Rows so far, and those of them whose stamp is older than the read."""

    def __iter__(self) -> Iterator[Sequence[Record]]:
        """Yield the pages, and raise an error after the last unless all rows came.

        Raises:
            CrmError: rows are missing, came twice, or can't be read.
        """
        totals = []
        for rows, total in self._received():
            totals.append(total)
            yield rows
        if len(totals) == 1 and totals[0] is not None:  # a single page and its total are of the same moment
            self._require(self._done, totals[0])
        else:
            self._require(self._old, self._counted())

    def _received(self) -> Iterator[tuple[Sequence[Record], int | None]]:
        """Yield the rows of each page, and how many there are in all if Dataverse says so."""
        number, cookie, more = 0, None, True
        while more:
            number += 1
            text = self._query.page(number, self._page_rows, cookie)
            answer = self._api.fetch(self._entity_set, text, labeled=self._query.labeled)
            page = content(answer, self._title)
            self._begun_at = self._begun_at or _counted_until(answer)
            rows, more = page["value"], _is_true(page.get(f"{_ANNOTATION}morerecords"))
            cookie = paging_cookie(page.get(f"{_ANNOTATION}fetchxmlpagingcookie"))
            self._check_page(rows, cookie, more)
            yield rows, _total(page)
            if more and cookie is None and (number + 1) * self._page_rows > ROWS_WITHOUT_COOKIE:
                raise self._too_many()

    def _too_many(self) -> CrmSetupError:
        return CrmSetupError(
            f"{self._title} has more than {ROWS_WITHOUT_COOKIE:,} records, and {TITLE} gives no paging cookie for its "
            "query, so the rest can't be read; simplify the query, or make it a static marketing list"
        )

    def _check_page(self, rows: Sequence[Record], cookie: str | None, more: bool) -> None:
        keys = [str(row[self._query.key]).lower() for row in rows]
        last = last_key(cookie, self._query.key) if cookie and (keys or self._done) else None
        if (more and len(rows) != self._page_rows) or (last and [last] != keys[-1:]):
            raise CrmError(f"a page of {self._title} came from {TITLE} without all of its rows; run again")
        if len(set(keys)) < len(keys) or not self._previous.isdisjoint(keys) or not self._ends.isdisjoint(keys):
            raise CrmError(f"{TITLE} yields records of {self._title} twice; run again")
        if keys:
            self._previous = set(keys)
            self._ends |= {keys[0], keys[-1]}
        self._done += len(rows)
        self._old += sum(str(row.get(self._query.stamp, "")) <= (self._begun_at or "") for row in rows)

    def _counted(self) -> int:
        """Return how many records there are now that were there when the read began, by the stamp of the query.

        Those that came meanwhile may be among the rows or not, and those that went are among them: so only a
        greater number is a flaw.
        """
        begun_at = self._begun_at or ""
        if self._done <= _AGGREGATE_ROWS:
            answer = self._api.fetch(self._entity_set, self._query.count(begun_at))
            if answer.ok:
                return int(content(answer, self._title)["value"][0]["n"])
        again = Pages(self._api, self._entity_set, self._query.keys_only(), self._title, self._page_rows)
        again._begun_at = begun_at
        for _ in again._received():
            pass
        return again._old

    def _require(self, arrived: int, counted: int) -> None:
        if arrived < counted:
            raise CrmError(
                f"{arrived} of {counted} rows of {self._title} came from {TITLE}; nothing was changed; run again"
            )


def source_rows(
    columns: Sequence[str],
    pages: Iterator[Sequence[Record]],
    rows_of: Callable[[Record], list[tuple[object, ...]]],
    entity_type: EntityType | None = None,
) -> SourceRows:
    """Return what records become. A record may become no row or several; the pages count the records themselves."""
    yielded = 0

    def chunks() -> Iterator[Sequence[tuple[object, ...]]]:
        nonlocal yielded
        for page in pages:
            rows = [row for record in page for row in rows_of(record)]
            yielded += len(rows)
            yield rows

    return SourceRows(tuple(columns), chunks(), lambda: yielded, entity_type)


def _counted_until(first: Answer) -> str:
    """Return until when records must have been made, or changed last, to be counted, as FetchXML takes it."""
    return f"{(first.sent_at or datetime.now(UTC)) - _JUST_MADE:%Y-%m-%dT%H:%M:%SZ}"


def _is_true(annotation: object) -> bool:
    return str(annotation).lower() == "true"


def _total(page: Record) -> int | None:
    total = page.get(f"{_ANNOTATION}totalrecordcount")
    exceeded = page.get(f"{_ANNOTATION}totalrecordcountlimitexceeded")
    return total if isinstance(total, int) and total >= 0 and not exceeded else None
