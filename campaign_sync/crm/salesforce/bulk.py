"""Queries of any size, by jobs of the Bulk API 2.0: complete, or an error."""

import csv
import hashlib
import io
import json
import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import quote

from campaign_sync.crm.port import CrmError, CrmSetupError
from campaign_sync.crm.salesforce.api import SalesforceApi, setup_problem
from campaign_sync.crm.web_api.answer import Answer

_log = logging.getLogger(__name__)

Row = Sequence[str | None]

PAGE_ROWS = 50_000
"""How many rows are requested at once. Salesforce may return fewer."""

CALLS_PER_QUERY = 8
"""About how many calls a query makes that has few pages: it is created, polled, fetched and deleted."""

_POLL_SECONDS = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Between two questions whether a job is done."""

_LONGEST_SECONDS = 3600.0

_PAGE_ATTEMPTS = 3

_RUNNING = ("UploadComplete", "InProgress")


@dataclass
class BulkQuery:
    """A query, and its rows.

    Args:
        api: of the org.
        paths: the fields that are selected; the id among them, so that no two pages are the same.
        source: the SOQL from FROM on, without ORDER BY and LIMIT: both keep Salesforce from reading in parts.
        title: how messages call the rows.
    """

    api: SalesforceApi
    paths: Sequence[str]
    source: str
    title: str
    with_deleted: bool = False
    """Whether records in the recycle bin are read, too."""
    count: int = 0
    """How many rows there are by Salesforce's count, once all of them came."""

    @property
    def soql(self) -> str:
        """The query."""
        return f"SELECT {', '.join(self.paths)} FROM {self.source}"  # noqa: S608 - of names that were checked

    def chunks(self) -> Iterator[Sequence[Row]]:
        """Run the query, and yield its rows. An empty value is None: Salesforce makes no difference.

        Raises:
            CrmError: the query is refused, or not all rows came.
        """
        job = self._created()
        try:
            expected = self._completed(job)
            came = 0
            for rows in self._pages(job, expected):
                came += len(rows)
                yield rows
            if came != expected:
                raise CrmError(
                    f"{came} of {expected} rows of {self.title} came from Salesforce; nothing was changed; run again"
                )
            self.count = expected
        finally:
            self._remove(job)

    def _created(self) -> str:
        job = self.api.document(
            "POST",
            "/jobs/query",
            f"reading {self.title}",
            has=("id",),
            json={
                "operation": "queryAll" if self.with_deleted else "query",
                "query": self.soql,
                "columnDelimiter": "COMMA",
                "lineEnding": "LF",
            },
            repeatable=True,  # a job too many ends by itself
        )
        return f"/jobs/query/{quote(str(job['id']))}"

    def _completed(self, job: str) -> int:
        """Wait until a job is done, and return how many rows it has."""
        for _ in self.api.pauses(_POLL_SECONDS, _LONGEST_SECONDS):
            info = self.api.document("GET", job, f"reading {self.title}", has=("state",))
            if info["state"] == "JobComplete":
                return int(info["numberRecordsProcessed"])
            if info["state"] not in _RUNNING:
                raise self._failure(info)
        raise CrmError(f"reading {self.title}: Salesforce's job isn't done after an hour; run again later")

    def _failure(self, info: dict[str, object]) -> CrmError:
        # The message may quote values; its first word is a code.
        match = re.match(r"[A-Z][A-Za-z_]+", str(info.get("errorMessage", "")))
        code = match[0] if match else ""
        return setup_problem(code, f"reading {self.title}") or CrmError(
            f"reading {self.title}: Salesforce's job ended as {info['state']} ({code or 'no reason given'}); run again "
            "later, or see Setup, Bulk Data Load Jobs"
        )

    def _pages(self, job: str, expected: int) -> Iterator[Sequence[Row]]:
        locator: str | None = None
        seen = set[bytes]()
        came = 0
        while True:
            rows, locator = self._page(job, locator)
            digest = hashlib.sha256(json.dumps(rows).encode()).digest()
            if digest in seen or came > expected:
                raise CrmError(
                    f"a page of {self.title} came from Salesforce a second time, in place of another; nothing was "
                    "changed; run again"
                )
            seen.add(digest)
            came += len(rows)
            yield rows
            if locator is None:
                return

    def _page(self, job: str, locator: str | None) -> tuple[list[Row], str | None]:
        """Return a page and the locator of the next one. One that isn't complete is fetched again."""
        query = {"maxRecords": str(PAGE_ROWS), **({"locator": locator} if locator else {})}
        rows: list[Row] = []
        promised = ""
        for _ in range(_PAGE_ATTEMPTS):
            answer = self.api.call(
                "GET", f"{job}/results", f"reading {self.title}", query=query, headers={"Accept": "text/csv"}
            )
            rows, promised = self._parsed(answer), answer.headers.get("Sforce-NumberOfRecords", "")
            if promised == str(len(rows)):
                following = answer.headers.get("Sforce-Locator", "null")
                return rows, None if following == "null" else following
        raise CrmError(
            f"{len(rows)} of {promised if promised.isdecimal() else 'unknown'} rows of a page of {self.title} came "
            "from Salesforce, repeatedly; nothing was changed; run again"
        )

    def _parsed(self, answer: Answer) -> list[Row]:
        try:
            lines = csv.reader(io.StringIO(answer.content.decode(), newline=""), strict=True)
            header = next(lines, [])
            rows: list[Row] = [[value or None for value in line] for line in lines]
        except (UnicodeDecodeError, csv.Error):  # a page that was cut, too
            return []
        if header and [name.casefold() for name in header] != [path.casefold() for path in self.paths]:
            raise CrmSetupError(f"reading {self.title}: Salesforce answers with other columns than requested")
        return [] if any(len(row) != len(header) for row in rows) else rows

    def _remove(self, job: str) -> None:
        """Delete a job with its results, which are people's data. Otherwise Salesforce does after seven days."""
        for is_over in (True, False):
            with suppress(CrmError):
                if not is_over:
                    self.api.call("PATCH", job, "aborting a job", json={"state": "Aborted"}, repeatable=True)
                self.api.call("DELETE", job, "deleting a job")
                return
        _log.info("Salesforce: the job of %s couldn't be deleted", self.title)
