"""Salesforce with faults: a campaign, a report that is read in parts, and a list view."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from datetime import datetime
from typing import Any, ClassVar
from unittest.mock import patch

from campaign_sync_tests.crm.salesforce.analytics import StandInReport
from campaign_sync_tests.crm.salesforce.org import CLIENT_ID, CLIENT_SECRET, Org
from campaign_sync_tests.crm.salesforce.soql import Soql
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
)
from campaign_sync_tests.crm_faults.crm import CITIES, COLUMN, PURPOSE, SECRET, Fault, FaultyCrm, Person, Shown, moment
from campaign_sync_tests.crm_forms.web_form import iso

CAMPAIGN, PURPOSE_NAME = "701000000000001AAA", "Events"
REPORT_ID, VIEW_ID = "00O000000000001AAA", "00B000000000001AAA"
CONSENT = "ContactPointTypeConsent"
PAGE_ROWS = 10

_PREFIXES = {"Contact": ("0035i", "AAA"), "Lead": ("00Q5i", "EAA")}
_COUNT = "Sforce-NumberOfRecords"


class FaultySalesforce(FaultyCrm):
    """An org; its contacts and leads have a checkbox, and consent records of their individuals."""

    secrets: ClassVar[Mapping[str, str]] = {"SALESFORCE_ID": CLIENT_ID, "SALESFORCE_SECRET": CLIENT_SECRET}
    tables: ClassVar[tuple[str, str]] = ("Contact", "Lead")
    places: ClassVar[tuple[str, ...]] = ("column", "no mail", "individual", "purpose")
    regrants_purposes: ClassVar[bool] = True
    opt_ins: ClassVar[Mapping[str, str]] = {"newsletter": COLUMN, "visitors": COLUMN, "events": PURPOSE}
    selections: ClassVar[Mapping[str, Mapping[str, str]]] = {
        "newsletter": {"marketing_list": "Newsletter Nord"},
        "visitors": {"report": "Besucher in Köln"},
        "events": {"report": "Alle Kontakte"},
    }

    def __init__(self, org: Org, url: str) -> None:
        self.stand_in = self._org = org
        org.page_rows = PAGE_ROWS
        org.add("Campaign", Id=CAMPAIGN, Name="Newsletter Nord")
        self._purpose = org.add("DataUsePurpose", Name=PURPOSE_NAME)
        org.add("Report", Id=REPORT_ID, Name="Besucher in Köln")
        self._report = org.reports[REPORT_ID] = _Visitors({"CONTACT_ID": "id", "VISITS": "int"}, [])
        self._report.contacts = lambda: org.rows.get("Contact", [])
        org.add("ListView", Id=VIEW_ID, Name="Alle Kontakte", SobjectType="Contact")
        view = "SELECT Name, Id FROM Contact USING SCOPE everything WHERE MailingCity != null ORDER BY Name"
        org.views[VIEW_ID] = {"query": view, "scope": "everything"}
        field = {"granted": "Newsletter__c", "at": "Newsletter_Date__c"}
        fields = {"first_name": "FirstName", "last_name": "LastName"}
        about = {"mandator": "nord", "description": "Newsletter"}
        self.settings = {
            "adapter": "salesforce",
            "url": url,
            "client_id": {"env": "SALESFORCE_ID"},
            "client_secret": {"env": "SALESFORCE_SECRET"},
            "contact": {**fields, "city": "MailingCity"},
            "lead": {**fields, "city": "City"},
            "opt_ins": {
                COLUMN: {**about, "field": {"contact": field, "lead": field}},
                PURPOSE: {**about, "purpose": PURPOSE_NAME},
            },
        }

    def add(self, number: int, table: str, address: str, at: datetime) -> Person:
        """Add a person with both consents to the lists."""
        prefix, suffix = _PREFIXES[table]
        key, individual = f"{prefix}{number:010}{suffix}", self._org.add("Individual", LastName=SECRET)
        names = {"FirstName": "Jörg 😀", "LastName": f"{SECRET}rath\r\n'\"ß"}
        city = {"MailingCity" if table == "Contact" else "City": CITIES[number % len(CITIES)]}
        granted = {"Newsletter__c": True, "Newsletter_Date__c": iso(at), "HasOptedOutOfEmail": False}
        flags = {"IsPersonAccount": False} if table == "Contact" else {"IsConverted": False}
        written = f" {address.upper()}" if number % 4 == 0 else address
        self._org.add(
            table, Id=key, Email=written, IndividualId=individual, AccountId=None, **names, **city, **granted, **flags
        )
        consent = {"PartyId": individual, "DataUsePurposeId": self._purpose, "ContactPointType": "Email"}
        self._org.add(CONSENT, **consent, PrivacyConsentStatus="OptIn", CaptureDate=iso(at))
        self._org.add("CampaignMember", CampaignId=CAMPAIGN, **{f"{table}Id": key})
        return Person(table, key, address)

    def grant(self, person: Person, at: datetime) -> None:
        """Grant both consents again."""
        granted = {"Newsletter__c": True, "Newsletter_Date__c": iso(at), "HasOptedOutOfEmail": False}
        self._row(person).update(granted)
        self._individual(person)["HasOptedOutSolicit"] = False
        self._consent(person).update(PrivacyConsentStatus="OptIn", CaptureDate=iso(at))

    def withdraw(self, person: Person, place: str, at: datetime) -> None:
        """Withdraw in one of the places."""
        if place == "column":
            self._row(person).update({"Newsletter__c": False, "Newsletter_Date__c": iso(at)})
        elif place == "no mail":
            self._row(person)["HasOptedOutOfEmail"] = True
        elif place == "individual":
            self._individual(person)["HasOptedOutSolicit"] = True
        else:
            self._consent(person).update(PrivacyConsentStatus="OptOut", CaptureDate=iso(at))

    def remove(self, person: Person) -> None:
        """Delete a record; its membership goes with it."""
        self._org.rows[person.table].remove(self._row(person))
        members = self._org.rows["CampaignMember"]
        members[:] = [member for member in members if member.get(f"{person.table}Id") != person.key]

    def shown(self, person: Person) -> Shown:
        """Return what a record shows now."""
        row, consent = self._row(person), self._consent(person)
        return Shown(
            {COLUMN: bool(row["Newsletter__c"]), PURPOSE: consent["PrivacyConsentStatus"] == "OptIn"},
            {COLUMN: moment(row["Newsletter_Date__c"]), PURPOSE: moment(consent["CaptureDate"])},
            bool(row["HasOptedOutOfEmail"] or self._individual(person).get("HasOptedOutSolicit")),
            bool(row.get("EmailBouncedDate")),
        )

    def is_member(self, name: str, person: Person) -> bool:
        """Return whether a record belongs to a list."""
        if name == "newsletter":
            return True
        return person.table == "Contact" and (name == "events" or self._row(person)["MailingCity"] == CITIES[0])

    def is_later_page(self, call: Call) -> bool:
        """Return whether a call reads a page of a job that isn't its first."""
        return call.path.endswith("/results") and "locator" in call.query

    def refusing(self, people: list[Person]) -> AbstractContextManager[object]:
        """Let validation rules refuse these records, and the consents of their individuals."""
        ids = [person.key for person in people] + [str(self._consent(person)["Id"]) for person in people]
        refused = dict.fromkeys(ids, "FIELD_CUSTOM_VALIDATION_EXCEPTION")
        return patch.object(self._org, "refused", {**self._org.refused, **refused})

    def faults(self) -> dict[str, Fault]:
        """Return all faults by their names."""
        org = self._org
        busy = [{"errorCode": "REQUEST_LIMIT_EXCEEDED", "message": f"ConcurrentRequests Limit exceeded. {SECRET}"}]
        over = [{"errorCode": "REQUEST_LIMIT_EXCEEDED", "message": f"TotalRequests Limit exceeded. {SECRET}"}]

        def anywhere(effect: Effect, *, times: int = 1, at: Callable[[Call], bool] | None = None) -> Fault:
            chosen = at or (lambda _: True)
            return lambda rng, calls: calls_meet(org, effect, chosen, first=rng.randint(1, calls), times=times)

        def soon(effect: Effect, at: Callable[[Call], bool], *, times: int = 1) -> Fault:
            return lambda rng, calls: calls_meet(org, effect, at, first=rng.randint(1, 12), times=times)

        def of_report(**attributes: Any) -> Fault:
            return lambda rng, calls: patch.multiple(self._report, **attributes)

        mine = {"query": "SELECT Name, Id FROM Contact USING SCOPE mine ORDER BY Name", "scope": "mine"}
        return {
            "token expired": anywhere(after(self._expire), times=2),
            "token expired between pages": soon(after(self._expire), self.is_later_page, times=2),
            "429 with Retry-After": anywhere(answering(429, [], {"Retry-After": "5"}), times=5),
            "429 without Retry-After": anywhere(answering(429, [], {}), times=4),
            "429 for the whole day": anywhere(answering(429, [], {}), times=ALWAYS),
            "too many calls at once": anywhere(answering(403, busy, {}), times=5),
            "server unavailable": anywhere(answering(503, b"<html>" + SECRET.encode(), {}), times=2),
            "cut before the work": anywhere(cut_before, times=2),
            "cut after the work": anywhere(cut_after),
            "write cut before the work": soon(cut_before, _writes, times=3),
            "write cut after the work": soon(cut_after, _writes),
            "writes cut after the work": lambda rng, calls: calls_meet(org, cut_after, _writes, times=ALWAYS),
            "job cut after the work": soon(cut_after, _makes_job, times=2),
            "page repeats": soon(self._other_page(-1), self.is_later_page),
            "page skips": soon(self._other_page(1), self.is_later_page),
            "pages skip all day": soon(self._other_page(1), self.is_later_page, times=ALWAYS),
            "page loses a row": soon(_losing, self.is_later_page),
            "pages lose rows all day": soon(_losing, self.is_later_page, times=ALWAYS),
            "job fails": soon(_failed, _asks_job),
            "jobs fail all day": soon(_failed, _asks_job, times=ALWAYS),
            "daily limit before": lambda rng, calls: patch.object(org, "limit", len(org.calls) + 40),
            "daily limit reached": anywhere(answering(403, over, {}), times=ALWAYS),
            "summary report": of_report(form="SUMMARY"),
            "report of one user": of_report(scope="user"),
            "report of 2,001 rows with a row limit": of_report(top_rows=2001),
            "report without an id to read it by": of_report(columns={"CONTACT_ID": "string", "VISITS": "int"}),
            "report loses rows": of_report(loses=True),
            "list view of scope mine": lambda rng, calls: patch.dict(org.views, {VIEW_ID: mine}),
            "half of the people": lambda rng, calls: self._seeing_half("Contact"),
            "half of the opt-outs": lambda rng, calls: self._seeing_half(CONSENT),
            "individuals hidden": lambda rng, calls: self._seeing_half("Individual"),
        }

    def _expire(self) -> None:
        self._org.token += 1

    def _other_page(self, step: int) -> Effect:
        """Return an effect that yields the page before or after a page in its place, each as if it were right."""

        def effect(call: Call, answer: Answer) -> Any:
            job, locator = call.path.split("/")[-2], int(call.query["locator"])
            content, headers = self._org.results(job, max(0, locator + step * PAGE_ROWS))
            if step < 0:  # and goes on as if nothing were wrong
                headers = {**self._org.results(job, locator)[1], _COUNT: headers[_COUNT]}
            return 200, content, headers

        return effect

    def _seeing_half(self, sobject: str) -> AbstractContextManager[object]:
        """Hide every second record of an object by sharing, opt-outs first."""
        org, select = self._org, self._org.select

        def seen(*arguments: Any, **more: Any) -> Soql:
            rows = sorted(org.rows[sobject], key=lambda row: row.get("PrivacyConsentStatus") != "OptOut")
            with patch.dict(org.rows, {sobject: rows[1::2]}):
                return select(*arguments, **more)

        permissions = [row for row in org.rows["ObjectPermissions"] if row["SobjectType"] != sobject]
        stack = ExitStack()
        stack.enter_context(patch.dict(org.rows, {"ObjectPermissions": permissions}))
        stack.enter_context(patch.object(org, "select", seen))
        return stack

    def _row(self, person: Person) -> dict[str, Any]:
        return self._org.record(person.table, person.key)

    def _individual(self, person: Person) -> dict[str, Any]:
        return self._org.record("Individual", self._row(person)["IndividualId"])

    def _consent(self, person: Person) -> dict[str, Any]:
        party = self._row(person)["IndividualId"]
        (consent,) = [row for row in self._org.rows[CONSENT] if row["PartyId"] == party]
        return consent


class _Visitors(StandInReport):
    """A report of the contacts in a city, as they are when it runs."""

    contacts: Callable[[], Sequence[Mapping[str, Any]]] = staticmethod(lambda: ())

    def result(self, run: str) -> dict[str, Any]:
        """Return the result of a run."""
        self.rows = [[row["Id"][:15], len(row["Id"])] for row in self.contacts() if row["MailingCity"] == CITIES[0]]
        return super().result(run)


def _writes(call: Call) -> bool:
    return call.path == "composite/sobjects"


def _makes_job(call: Call) -> bool:
    return call.method == "POST" and call.path == "jobs/query"


def _asks_job(call: Call) -> bool:
    return call.method == "GET" and call.path.startswith("jobs/query/") and not call.path.endswith("/results")


def _failed(_: Call, answer: Answer) -> Any:
    return 200, {"state": "Failed", "errorMessage": f"InternalServerError : {SECRET}"}, {}


def _losing(_: Call, answer: Answer) -> Any:
    status, content, headers = answer()
    return status, content[: content.rstrip(b"\n").rfind(b"\n") + 1], headers
