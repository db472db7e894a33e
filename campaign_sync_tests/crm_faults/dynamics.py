"""Dynamics 365 with faults: a static marketing list, a dynamic one, and a view."""

import uuid
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from datetime import UTC, datetime
from typing import Any, ClassVar
from unittest.mock import patch

from campaign_sync.crm.dataverse import pages
from campaign_sync_tests.crm.dataverse.stand_in import CLIENT, TENANT, Dataverse
from campaign_sync_tests.crm.dataverse.stand_in import SECRET as CLIENT_SECRET
from campaign_sync_tests.crm_faults.calls import (
    ALWAYS,
    Answer,
    Call,
    Effect,
    after,
    answering,
    calls_meet,
    cut_after,
    cut_before,
    while_patched,
)
from campaign_sync_tests.crm_faults.crm import CITIES, COLUMN, PURPOSE, SECRET, Fault, FaultyCrm, Person, Shown, moment
from campaign_sync_tests.crm_forms.web_form import iso

CONSENT, PURPOSE_NAME = "msdynmkt_contactpointconsent4", "Events"
OPTED_IN, OPTED_OUT = 534120001, 534120002
PAGE_ROWS = 10

_REACHABLE = '<condition attribute="emailaddress1" operator="not-null"/>'
_DYNAMIC = f'<fetch><entity name="lead"><attribute name="fullname"/><filter>{_REACHABLE}</filter></entity></fetch>'
_VIEW = (
    '<fetch><entity name="contact"><attribute name="fullname"/><order attribute="fullname"/>'
    f"<filter>{_REACHABLE}</filter></entity></fetch>"
)
_OWN = '<condition attribute="ownerid" operator="eq-userid"/>'
_MINE = _VIEW.replace(_REACHABLE, _OWN)
_FIRST_FIVE = _DYNAMIC.replace("<fetch>", '<fetch top="5">')
_SUM = _DYNAMIC.replace("<fetch>", '<fetch aggregate="true">')


class FaultyDynamics(FaultyCrm):
    """An environment; its contacts and leads have a column, and their addresses consents for a purpose."""

    secrets: ClassVar[Mapping[str, str]] = {"DATAVERSE_ID": CLIENT, "DATAVERSE_SECRET": CLIENT_SECRET}
    tables: ClassVar[tuple[str, str]] = ("contact", "lead")
    places: ClassVar[tuple[str, ...]] = ("column", "no mail", "purpose")
    regrants_purposes: ClassVar[bool] = False
    opt_ins: ClassVar[Mapping[str, str]] = {"newsletter": COLUMN, "visitors": COLUMN, "events": PURPOSE}
    selections: ClassVar[Mapping[str, Mapping[str, str]]] = {
        "newsletter": {"marketing_list": "Newsletter Nord"},
        "visitors": {"marketing_list": "Leads mit Adresse"},
        "events": {"report": "Alle Kontakte"},
    }

    def __init__(self, dataverse: Dataverse, url: str) -> None:
        self.stand_in = self._dataverse = dataverse
        self._list = dataverse.add("list", listname="Newsletter Nord", type=False, createdfromcode=2)
        self._dynamic = dataverse.add(
            "list", listname="Leads mit Adresse", type=True, createdfromcode=4, query=_DYNAMIC
        )
        self._view = dataverse.add("savedquery", name="Alle Kontakte", returnedtypecode="contact", fetchxml=_VIEW)
        self._purpose = dataverse.add("msdynmkt_purpose", msdynmkt_name=PURPOSE_NAME)
        fields = {"email": "emailaddress1", "city": "address1_city", "first_name": "firstname", "last_name": "lastname"}
        bounce, field = {"state": "cs_bounced", "at": "cs_bouncedon"}, {"granted": "cs_news", "at": "cs_newson"}
        about = {"mandator": "nord", "description": "Newsletter"}
        self.settings = {
            "adapter": "dataverse",
            "url": url,
            "login_url": url,
            "tenant_id": TENANT,
            "client_id": {"env": "DATAVERSE_ID"},
            "client_secret": {"env": "DATAVERSE_SECRET"},
            "contact": fields,
            "lead": fields,
            "account": None,
            "bounce": {"contact": bounce, "lead": bounce},
            "opt_ins": {
                COLUMN: {**about, "field": {"contact": field, "lead": field}},
                PURPOSE: {**about, "purpose": PURPOSE_NAME},
            },
        }

    def add(self, number: int, table: str, address: str, at: datetime) -> Person:
        """Add a person with both consents to the lists."""
        key, made = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{table}{number}")), iso(datetime.now(UTC))
        names, city = {"firstname": "Jörg 😀", "lastname": f"{SECRET}rath\r\n'\"ß"}, CITIES[number % len(CITIES)]
        written = f" {address.upper()}" if number % 4 == 0 else address
        consent = {"cs_news": True, "cs_newson": iso(at), "donotbulkemail": False}
        self._dataverse.add(table, key, emailaddress1=written, address1_city=city, **names, **consent, createdon=made)
        if table == "contact":
            self._dataverse.add("listmember", listid=self._list, entityid=key, createdon=made)
        if not self._consents(address):
            about = {"msdynmkt_contactpointvalue": address, "msdynmkt_purposeid": self._purpose}
            kinds = dict.fromkeys(("msdynmkt_contactpointtype", "msdynmkt_contactpointconsenttype"), 534120000)
            self._dataverse.add(CONSENT, None, **about, **kinds, msdynmkt_value=OPTED_IN, createdon=made)
        return Person(table, key, address)

    def grant(self, person: Person, at: datetime) -> None:
        """Grant the consent of the column again; that of a purpose would need to be accepted."""
        self._change(person, cs_news=True, cs_newson=iso(at), donotbulkemail=False)

    def withdraw(self, person: Person, place: str, at: datetime) -> None:
        """Withdraw in one of the places."""
        if place == "column":
            self._change(person, cs_news=False, cs_newson=iso(at))
        elif place == "no mail":
            self._change(person, donotbulkemail=True)
        else:
            for key, row in self._consents(person.address).items():
                self._dataverse.add(CONSENT, key, **{**row, "msdynmkt_value": OPTED_OUT})

    def remove(self, person: Person) -> None:
        """Delete a record; its membership goes with it."""
        del self._dataverse.rows[person.table][person.key]
        members = self._dataverse.rows["listmember"]
        for key in [key for key, member in members.items() if member["entityid"] == person.key]:
            del members[key]

    def shown(self, person: Person) -> Shown:
        """Return what a record shows now."""
        row, consents = self._row(person), self._consents(person.address).values()
        is_opted_in = bool(consents) and all(consent["msdynmkt_value"] == OPTED_IN for consent in consents)
        return Shown(
            {COLUMN: bool(row["cs_news"]), PURPOSE: is_opted_in},
            {COLUMN: moment(row["cs_newson"]), PURPOSE: None},
            bool(row.get("donotbulkemail")),
            bool(row.get("cs_bounced")),
        )

    def is_member(self, name: str, person: Person) -> bool:
        """Return whether a record belongs to a list."""
        return person.table == ("lead" if name == "visitors" else "contact")

    def is_later_page(self, call: Call) -> bool:
        """Return whether a call reads a page of a table that isn't its first."""
        return ' page="' in call.query.get("fetchXml", "") and ' page="1"' not in call.query["fetchXml"]

    def refusing(self, people: list[Person]) -> AbstractContextManager[object]:
        """Let a plug-in refuse these records, and the consents of their addresses."""
        keys = {person.key for person in people} | {person.address for person in people}
        return patch.object(self._dataverse, "refused", self._dataverse.refused | keys)

    def faults(self) -> dict[str, Fault]:
        """Return all faults by their names."""
        dataverse = self._dataverse
        busy = {"error": {"code": "0x80072322", "message": f"Number of requests exceeded the limit, {SECRET}"}}

        def anywhere(effect: Effect, *, times: int = 1) -> Fault:
            return lambda rng, calls: calls_meet(dataverse, effect, first=rng.randint(1, calls), times=times)

        def soon(effect: Effect, at: Callable[[Call], bool], *, times: int = 1) -> Fault:
            return lambda rng, calls: calls_meet(dataverse, effect, at, first=rng.randint(1, 12), times=times)

        def with_row(table: str, key: str, **values: object) -> Fault:
            changed = {**dataverse.rows[table][key], **values}
            return lambda rng, calls: patch.dict(dataverse.rows[table], {key: changed})

        return {
            "token expired": anywhere(after(dataverse.tokens.clear), times=2),
            "token expired between pages": soon(after(dataverse.tokens.clear), self.is_later_page, times=2),
            "429 with Retry-After": lambda rng, calls: patch.object(dataverse, "throttled", rng.randint(2, 8)),
            "429 without Retry-After": anywhere(answering(429, busy), times=4),
            "429 for the whole day": anywhere(answering(429, busy), times=ALWAYS),
            "429 that asks for the whole day": lambda rng, calls: patch.object(dataverse, "throttled", ALWAYS),
            "server unavailable": anywhere(answering(503, {"error": {"message": SECRET}}), times=2),
            "cut before the work": anywhere(cut_before, times=2),
            "cut after the work": anywhere(cut_after),
            "write cut before the work": soon(cut_before, _writes, times=3),
            "write cut after the work": soon(cut_after, _writes),
            "writes cut after the work": lambda rng, calls: calls_meet(dataverse, cut_after, _writes, times=ALWAYS),
            "answer of a batch lost": lambda rng, calls: patch.object(dataverse, "loses_answer", new=True),
            "record changes before the write": soon(self._touched, _writes, times=3),
            "page repeats": soon(while_patched(dataverse, repeats=True), self.is_later_page),
            "page skips": soon(while_patched(dataverse, skips=1), self.is_later_page),
            "pages skip all day": soon(self._skipping, self.is_later_page, times=ALWAYS),
            "page loses a row": soon(while_patched(dataverse, loses=True), self.is_later_page),
            "pages lose rows all day": soon(while_patched(dataverse, loses=True), self.is_later_page, times=ALWAYS),
            "sums refused": lambda rng, calls: patch.object(dataverse, "sums_fail", new=True),
            "dynamic list of 50,001 without a cookie": lambda rng, calls: self._without_cookies(),
            "dynamic list of sums": with_row("list", self._dynamic, query=_SUM),
            "dynamic list with a limit": with_row("list", self._dynamic, query=_FIRST_FIVE),
            "view of scope mine": with_row("savedquery", self._view, fetchxml=_MINE),
            "half of the people": lambda rng, calls: self._seeing_half("contact"),
            "half of the opt-outs": lambda rng, calls: self._seeing_half(CONSENT),
        }

    def _touched(self, call: Call, answer: Answer) -> Any:
        """Let a colleague save a record between the read and the write."""
        table, key = call.path.partition("(")[0].removesuffix("s"), call.path.partition("(")[2].rstrip(")")
        if key in self._dataverse.rows.get(table, {}):
            self._dataverse.add(table, key, **self._dataverse.rows[table][key])
        return answer()

    def _skipping(self, _: Call, answer: Answer) -> Any:
        with patch.object(self._dataverse, "skips", 1):
            return answer()

    def _without_cookies(self) -> AbstractContextManager[object]:
        """Let the query of the dynamic list have no cookie, and more records than can be read without."""
        stack = ExitStack()
        stack.enter_context(patch.object(pages, "ROWS_WITHOUT_COOKIE", PAGE_ROWS))
        effect = while_patched(self._dataverse, has_no_cookies=True)
        stack.enter_context(calls_meet(self._dataverse, effect, _reads_dynamic_list, times=ALWAYS))
        return stack

    def _seeing_half(self, table: str) -> AbstractContextManager[object]:
        """Hide every second row of a table, opt-outs first, as a security role below the organization's level does."""
        dataverse = self._dataverse

        def seen(_: Call, answer: Answer) -> Any:
            rows = sorted(dataverse.rows[table].items(), key=lambda item: item[1].get("msdynmkt_value") != OPTED_OUT)
            with patch.dict(dataverse.rows, {table: dict(rows[1::2])}):
                return answer()

        stack = ExitStack()
        stack.enter_context(patch.object(dataverse, "shallow", {table}))
        stack.enter_context(calls_meet(dataverse, seen, _reads, times=ALWAYS))
        return stack

    def _row(self, person: Person) -> dict[str, Any]:
        return self._dataverse.rows[person.table][person.key]

    def _change(self, person: Person, **values: Any) -> None:
        self._dataverse.add(person.table, person.key, **{**self._row(person), **values})

    def _consents(self, address: str) -> dict[str, dict[str, Any]]:
        rows = self._dataverse.rows[CONSENT]
        return {key: row for key, row in rows.items() if row["msdynmkt_contactpointvalue"].strip().lower() == address}


def _writes(call: Call) -> bool:
    return call.method == "PATCH"


def _reads_dynamic_list(call: Call) -> bool:
    query = call.query.get("fetchXml", "")
    return 'name="lead"' in query and 'operator="not-null"' in query


def _reads(call: Call) -> bool:
    return "fetchXml" in call.query
