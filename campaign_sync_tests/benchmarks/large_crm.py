"""Salesforce and Dataverse with many people: the stand-ins of the tests, whose rows are repeated with other numbers.

They answer the same requests, and refuse the same ones. A page is put together from bytes that are rendered when a
query comes for the first time, so that serving a row takes a fraction of a microsecond.
"""

import json
import multiprocessing
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from lxml import etree

from campaign_sync_tests.benchmarks.generated_data import Sandbox
from campaign_sync_tests.crm.dataverse import stand_in
from campaign_sync_tests.crm.dataverse.stand_in import Dataverse
from campaign_sync_tests.crm.salesforce import org
from campaign_sync_tests.crm.salesforce.org import Org

Kind = Literal["salesforce", "dataverse"]

REPEATED_ROWS: Final = 200
"""How many different people there are; the others differ from them in a number only."""

LIST: Final = "Newsletter"
PURPOSE: Final = "Events"

SALESFORCE_FIELDS: Final = ("MailingStreet", "MailingPostalCode", "Department", "Title", "Number__c")
DATAVERSE_COLUMNS: Final = ("address1_line1", "address1_postalcode", "department", "jobtitle", "cs_number")
"""Further fields of contacts."""

_NUMBER = "NNNNNNN"
"""In place of the number."""

_TIME = "TT:TT:TT"
"""In place of a time of the day, which is another one for almost every number."""

_FIRST = ("Jürgen", "Zoë", "Anna", "Łukasz", "Søren", "Marie-Claire", "Ünal", "Peter", "Chloé", "Bärbel")
_LAST = ("Groß-Öttinger", "Müller", "O’Neill", "Çelik", 'Schmidt, "Söhne"', "Jäger", "Nowak", "Ibáñez", "Weiß", "Koch")
_CITY = ("Köln am Rhein", "München", "Zürich", "Graz", "Kraków", "Århus", "Paris", "Bad Nauheim", "Wien", "Ulm")
_DATE = f"2025-03-{{:02}}T{_TIME}Z"

_PROCESSES = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class LargeCrm:
    """A server in a process of its own."""

    url: str
    process: Sandbox
    calls: Any
    """A value that processes share: how many calls came."""


@contextmanager
def serve(kind: Kind, rows: int) -> Iterator[LargeCrm]:
    """Run a CRM with this many people, a multiple of `REPEATED_ROWS`, half of them in a list."""
    assert rows % REPEATED_ROWS == 0
    ours, theirs = _PROCESSES.Pipe()
    calls = _PROCESSES.Value("q", 0)
    process = _PROCESSES.Process(target=_serve, args=(theirs, kind, rows // REPEATED_ROWS, calls), daemon=True)
    process.start()
    theirs.close()
    try:
        yield LargeCrm(ours.recv(), Sandbox(process.pid or 0), calls)
    finally:
        ours.close()
        process.join()


def _serve(parent: Any, kind: Kind, times: int, calls: Any) -> None:
    serving: Any = org.serving(LargeOrg(times, calls)) if kind == "salesforce" else _serving_dataverse(times, calls)
    with serving as url:
        parent.send(url)
        parent.poll(None)  # until the other end is closed


def _serving_dataverse(times: int, calls: Any) -> Any:
    stand_in.SUM_ROWS = 50_000 // times  # of the rows before they are repeated
    return stand_in.serving(LargeDataverse(times, calls))


class Calls:
    """Counts calls instead of keeping them."""

    def __init__(self, shared: Any) -> None:
        self._shared = shared

    def append(self, _: str) -> None:
        with self._shared.get_lock():
            self._shared.value += 1

    def __len__(self) -> int:
        return int(self._shared.value)


class RepeatedRows:
    """Rows as they are sent, repeated with other numbers.

    Args:
        rows: the texts of the rows.
        times: how often they come.
        separator: between two rows.
    """

    def __init__(self, rows: Sequence[str], times: int, separator: str = "") -> None:
        self._rows, self._separator = [row.encode() for row in rows], separator.encode()
        self._all = self._separator.join(self._rows)
        self._times = times

    def __len__(self) -> int:
        return len(self._rows) * self._times

    def part(self, start: int, end: int) -> bytes:
        """Return the rows from one position to another."""
        size = len(self._rows)
        if start >= end:
            return b""
        pieces = []
        for number in range(start // size, -(-end // size)):
            first, last = max(start - number * size, 0), min(end - number * size, size)
            piece = self._all if last - first == size else self._separator.join(self._rows[first:last])
            seconds = number * 17 % 86_400
            time = b"%02d:%02d:%02d" % (seconds // 3600, seconds // 60 % 60, seconds % 60)
            pieces.append(piece.replace(_NUMBER.encode(), b"%07d" % number).replace(_TIME.encode(), time))
        return self._separator.join(pieces)


class LargeOrg(Org):
    """A Salesforce whose jobs repeat their rows."""

    def __init__(self, times: int, calls: Any) -> None:
        super().__init__(page_rows=50_000, calls=Calls(calls))  # type: ignore[arg-type]
        self._times = times
        self.fields["Contact"] |= dict.fromkeys(SALESFORCE_FIELDS, "string")
        self.add("Campaign", Id="701000000000001AAA", Name=LIST)
        self.add("DataUsePurpose", Id="0ZW000000000001AAA", Name=PURPOSE)
        for number in range(REPEATED_ROWS):
            self._add_person(number)

    def _add_person(self, number: int) -> None:
        contact, individual = (f"{prefix}00{_NUMBER}{number:03}AAA" for prefix in ("003", "0PK"))
        at = _DATE.format(number % 28 + 1).replace("Z", ".000Z")
        self.add("Individual", Id=individual)
        self.add(
            "Contact",
            Id=contact,
            IndividualId=individual,
            HasOptedOutOfEmail=number % 40 == 7,
            Newsletter__c=number % 10 < 8,
            Newsletter_Date__c=at if number % 10 < 9 else None,
            EmailBouncedReason="550 5.1.1" if number % 50 == 3 else None,
            EmailBouncedDate=at if number % 50 == 3 else None,
            **dict(zip(("Email", "FirstName", "LastName", "MailingCity"), _person(number), strict=True)),
            **dict(zip(SALESFORCE_FIELDS, _more(number), strict=True)),
        )
        self.add(
            "ContactPointTypeConsent",
            Id=f"0ZY00{_NUMBER}{number:03}AAA",
            PartyId=individual,
            DataUsePurposeId="0ZW000000000001AAA",
            PrivacyConsentStatus=("OptIn", "OptIn", "OptIn", "OptOut", "NotSeen")[number % 5],
            CaptureDate=at,
            CaptureSource="Web form",
            ContactPointType="Email",
        )
        if number % 2:
            member = f"00v00{_NUMBER}{number:03}AAA"
            self.add("CampaignMember", Id=member, CampaignId="701000000000001AAA", ContactId=contact)

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> tuple[int, object, dict[str, str]]:
        """Return status, content and headers of an answer."""
        status, content, headers = super().answer(method, path, query, body)
        if (method, path) == ("POST", "jobs/query") and isinstance(content, dict):
            soql, rows = self.jobs[content["id"]]
            repeated = RepeatedRows([_csv_line(values) for values in rows], self._times)
            self.jobs[content["id"]] = soql, repeated  # type: ignore[assignment]
        return status, content, headers

    def results(self, job: str, offset: int) -> tuple[bytes, dict[str, str]]:
        """Return a page of a job's results, with its headers."""
        soql, repeated = self.jobs[job]
        assert isinstance(repeated, RepeatedRows)
        end = min(offset + self.page_rows, len(repeated))
        locator = str(end) if end < len(repeated) else "null"
        headers = {"Sforce-NumberOfRecords": str(end - offset), "Sforce-Locator": locator}
        return _csv_line(soql.paths).encode() + repeated.part(offset, end), headers


def _csv_line(values: Sequence[object]) -> str:
    texts = ("" if value is None else str(org._csv_value(value)).replace('"', '""') for value in values)
    return ",".join(f'"{text}"' for text in texts) + "\n"


class LargeDataverse(Dataverse):
    """A Dataverse that repeats its contacts, members of lists and consents."""

    def __init__(self, times: int, calls: Any) -> None:
        super().__init__()
        self.calls: Any = Calls(calls)
        self._times = times
        self._repeated: dict[str, RepeatedRows] = {}
        list_id = self.add("list", listname=LIST, createdfromcode=2)
        purpose = self.add("msdynmkt_purpose", msdynmkt_name=PURPOSE)
        for number in range(REPEATED_ROWS):
            self._add_person(number, list_id, purpose)

    def columns(self, table: str) -> dict[str, str]:
        """Return the types of a table's columns."""
        return super().columns(table) | (dict.fromkeys(DATAVERSE_COLUMNS, "String") if table == "contact" else {})

    def _add_person(self, number: int, list_id: str, purpose: str) -> None:
        at, key = _DATE.format(number % 28 + 1), f"-0000-4000-8000-00{_NUMBER}{number:03}"
        names = ("emailaddress1", "firstname", "lastname", "address1_city")
        contact = self.add(
            "contact",
            f"00000001{key}",
            donotbulkemail=number % 40 == 7,
            donotemail=False,
            cs_news=number % 10 < 8,
            cs_newson=at if number % 10 < 9 else None,
            cs_bounced=number % 50 == 3,
            cs_bouncedon=at if number % 50 == 3 else None,
            **dict(zip(names, _person(number), strict=True)),
            **dict(zip(DATAVERSE_COLUMNS, _more(number), strict=True)),
        )
        self.add(
            "msdynmkt_contactpointconsent4",
            f"00000002{key}",
            msdynmkt_contactpointvalue=_person(number)[0],
            msdynmkt_contactpointtype=534120000,
            msdynmkt_value=534120000 + (1, 1, 1, 2, 0)[number % 5],
            msdynmkt_contactpointconsenttype=534120000,
            msdynmkt_purposeid=purpose,
            msdynmkt_source=534120005,
        )
        if number % 2:
            self.add("listmember", f"00000003{key}", listid=list_id, entityid=contact)

    def _fetch(self, table: str, text: str) -> Any:
        root = etree.fromstring(text)
        if root.get("aggregate") == "true":
            (counted,) = super()._fetch(table, text)["value"]
            return {"value": [{"n": counted["n"] * self._times}]}
        query = stand_in._without_paging(root)
        if query not in self._repeated:
            rows = [json.dumps(row, ensure_ascii=False) for row in super()._fetch(table, query)["value"]]
            is_repeated = any(_NUMBER in row for row in rows)
            self._repeated[query] = RepeatedRows(rows, self._times if is_repeated else 1, ",")
        return self._page(self._repeated[query], table, root, query)

    def _page(self, rows: RepeatedRows, table: str, root: Any, query: str) -> bytes:
        number, size, cookie = int(root.get("page", "1")), int(root.get("count", "5000")), root.get("paging-cookie")
        assert cookie is None or self.cookies[cookie] == (str((number - 1) * size), query), "a cookie of another query"
        assert cookie is not None or number == 1
        end = min(number * size, len(rows))
        page = rows.part((number - 1) * size, end)
        core = "@Microsoft.Dynamics.CRM."
        annotations = {
            "@odata.context": f"https://acme.crm4.dynamics.com/api/data/v9.2/$metadata#{table}s",
            f"{core}totalrecordcount": min(len(rows), 5000),
            f"{core}totalrecordcountlimitexceeded": len(rows) > 5000,
            f"{core}morerecords": end < len(rows),
        }
        if page:
            last = json.loads(rows.part(end - 1, end))[f"{table}id"]
            annotations[f"{core}fetchxmlpagingcookie"] = self._cookie(number, table, last, (str(end), query))
        return json.dumps(annotations)[:-1].encode() + b', "value": [' + page + b"]}"

    def _cookie(self, number: int, table: str, last: str, position: tuple[str, str]) -> str:
        cookie = f'<cookie page="{number}"><{table}id last={quoteattr("{" + last.upper() + "}")} /></cookie>'
        self.cookies[cookie] = position
        twice = quote(quote(cookie, safe=""), safe="")
        return f'<cookie pagenumber="{number + 1}" pagingcookie="{twice}" />'


def _person(number: int) -> tuple[str, str, str, str]:
    address = f"person.{_NUMBER}{number:03}@example.org"
    return address, _FIRST[number % 10], _LAST[number // 10 % 10], _CITY[number % 7]


def _more(number: int) -> tuple[str | None, ...]:
    job = ("Einkauf", None, "Leiterin, Vertrieb")[number % 3]
    return f"Königsallee {number}", f"{40000 + number}", "Beschaffung", job, f"K-{_NUMBER}{number:03}"
