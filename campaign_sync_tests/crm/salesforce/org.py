"""A small Salesforce with a real HTTP server: login, SOQL, jobs, collections, limits; and faults."""

import csv
import io
import json
import re
import ssl
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from campaign_sync_tests.crm.cut import ConnectionCutError
from campaign_sync_tests.crm.salesforce.analytics import StandInReport
from campaign_sync_tests.crm.salesforce.soql import Soql, SoqlError
from campaign_sync_tests.crm.stamped_record import StampedRecord

CLIENT_ID, CLIENT_SECRET, USER_ID = "consumer key", "consumer secret", "005000000000001AAA"

_PERSON = {
    **dict.fromkeys(("Id", "Email", "FirstName", "LastName", "IndividualId", "EmailBouncedReason"), "string"),
    **dict.fromkeys(("HasOptedOutOfEmail", "Newsletter__c", "Offers__c"), "boolean"),
    **dict.fromkeys(("EmailBouncedDate", "Newsletter_Date__c", "Offers_Date__c"), "datetime"),
}
_DELETED = {"IsDeleted": "boolean", "MasterRecordId": "reference", "SystemModstamp": "datetime"}
_STRINGS = {
    "Campaign": "Id Name",
    "CampaignMember": "Id CampaignId ContactId LeadId AccountId",
    "Report": "Id Name",
    "ListView": "Id Name SobjectType",
    "Individual": "Id LastName",
    "DataUsePurpose": "Id Name",
    "ContactPointTypeConsent": (
        "Id Name PartyId DataUsePurposeId PrivacyConsentStatus CaptureDate EffectiveFrom EffectiveTo "
        "DoubleConsentCaptureDate CaptureSource ContactPointType CaptureContactPointType"
    ),
    "PermissionSetAssignment": "Id AssigneeId PermissionSetId",
    "PermissionSet": "Id PermissionsViewAllData",
    "ObjectPermissions": "Id ParentId SobjectType PermissionsViewAllRecords",
}
_VIEW_ALL = ("Account", "Campaign", "Contact", "ContactPointTypeConsent", "Individual", "Lead")


_PREFIXES = {"Campaign": "701", "Report": "00O", "ListView": "00B"}


@dataclass
class Fault:
    """An answer instead of the next ones to a path."""

    path: str
    status: int
    code: str
    message: str = "Geheimrath"
    times: int = 1


@dataclass
class Org:
    """The rows of an org, and what its server does wrong now."""

    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    page_rows: int = 20
    limit: int = 100_000
    calls: list[str] = field(default_factory=list)
    written: list[dict[str, Any]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    """Codes by record id; that of the empty id holds for all."""
    locked: Counter[str] = field(default_factory=Counter)
    loses: bool = False
    cuts: bool = False
    expires_at: str = ""
    """The token ends before the next call of a path with this in it."""
    read_only: set[str] = field(default_factory=set)
    hidden: set[str] = field(default_factory=set)
    formulas: set[str] = field(default_factory=set)
    token: int = 0
    login_problem: str = ""
    jobs: dict[str, tuple[Soql, list[Any]]] = field(default_factory=dict)
    reports: dict[str, StandInReport] = field(default_factory=dict)
    views: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        strings = {name: dict.fromkeys(names.split(), "string") for name, names in _STRINGS.items()}
        own = {"Id": "string", "Name": "string", "Email__c": "string", "Nick__c": "string", "BillingCity": "string"}
        self.fields: dict[str, dict[str, str]] = {
            "Contact": {**_PERSON, "MailingCity": "string", "AccountId": "string", "IsPersonAccount": "boolean"},
            "Lead": {**_PERSON, "City": "string", "IsConverted": "boolean", "ConvertedContactId": "string"}
            | {"ConvertedDate": "date"},
            "Account": {**own, "IsPersonAccount": "boolean", "Newsletter__c": "boolean", "Newsletter_Date__c": "date"}
            | dict.fromkeys(("Newsletter__pc", "Offers__pc"), "boolean")
            | dict.fromkeys(("Newsletter_Date__pc", "Offers_Date__pc", "PersonEmailBouncedDate"), "datetime")
            | {"PersonEmailBouncedReason": "string", "PersonContactId": "reference"},
            **strings,
        }
        for name in ("Contact", "Lead", "Account", "Individual"):
            self.fields[name] |= _DELETED
        for fields in self.fields.values():
            fields.update({"IsDeleted": "boolean", "SystemModstamp": "datetime"})
        opt_outs = ("HasOptedOutSolicit", "HasOptedOutProcessing", "ShouldForget")
        self.fields["Individual"] |= dict.fromkeys(opt_outs, "boolean")
        for name in _VIEW_ALL:
            self.add("ObjectPermissions", ParentId="set", SobjectType=name, PermissionsViewAllRecords=True)
        self.add("PermissionSetAssignment", AssigneeId=USER_ID, PermissionSetId="set")

    def add(self, sobject: str, **values: Any) -> str:
        """Add a record, and return its id."""
        rows = self.rows.setdefault(sobject, [])
        values = {"Id": f"{sobject}-{len(rows)}", "IsDeleted": False, **values}
        rows.append(StampedRecord("SystemModstamp", **values))
        return str(rows[-1]["Id"])

    def record(self, sobject: str, record_id: str) -> dict[str, Any]:
        """Return a record."""
        return next(row for row in self.rows.get(sobject, []) if row["Id"] == record_id)

    def select(self, text: str, *, with_deleted: bool = False) -> Soql:
        """Return the result of a query."""
        relationships = {
            "CampaignMember": {"Lead": "Lead"},
            "Contact": {"Account": "Account", "Individual": "Individual"},
            "Lead": {"Individual": "Individual", "MasterRecord": "Lead"},
            "Account": {"MasterRecord": "Account"},
        }
        relationships["PermissionSetAssignment"] = {"PermissionSet": "PermissionSet"}
        visible = {
            name: {key: key for key in fields if f"{name}.{key}" not in self.hidden} | relationships.get(name, {})
            for name, fields in self.fields.items()
        }
        rows = {
            name: [row for row in rows if with_deleted or not row.get("IsDeleted")] for name, rows in self.rows.items()
        }
        return Soql(text, rows, visible)

    def describe(self, sobject: str) -> dict[str, Any]:
        """Return the description of an object."""
        parent = {
            "AccountId": ("Account", ["Account"]),
            "IndividualId": ("Individual", ["Individual"]),
            "MasterRecordId": ("MasterRecord", [sobject]),
        }
        fields = [
            {
                "name": name,
                "type": kind,
                "createable": f"{sobject}.{name}" not in self.read_only,
                "updateable": f"{sobject}.{name}" not in self.read_only,
                "relationshipName": parent.get(name, (None, []))[0],
                "referenceTo": parent.get(name, (None, []))[1],
                "calculated": f"{sobject}.{name}" in self.formulas,
            }
            for name, kind in self.fields[sobject].items()
            if f"{sobject}.{name}" not in self.hidden
        ]
        return {"name": sobject, "fields": fields, "keyPrefix": _PREFIXES.get(sobject)}

    def write(self, records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Write records of a collection, and return the result of each."""
        return [self._written(dict(record)) for record in records]

    def _written(self, record: dict[str, Any]) -> dict[str, Any]:
        sobject, record_id = record.pop("attributes")["type"], record.pop("id", None)
        code = self.refused.get(record_id or "new") or self.refused.get("")
        if record_id and self.locked[record_id] > 0:
            self.locked[record_id] -= 1
            code = "UNABLE_TO_LOCK_ROW"
        if set(record) - self.fields[sobject].keys():
            code = "INVALID_FIELD"
        if code:
            error = {"statusCode": code, "message": "Geheimrath", "fields": []}
            return {"id": record_id, "success": False, "errors": [error]}
        self.written.append(dict(record))
        if record_id is None:
            record_id = self.add(sobject, **record)
        self.record(sobject, record_id).update(record)
        self._mirror(sobject, record_id, record)
        return {"id": record_id, "success": True, "errors": []}

    def _mirror(self, sobject: str, record_id: str, values: dict[str, Any]) -> None:
        if sobject == "Account" and self.record("Account", record_id).get("IsPersonAccount"):
            twin = {
                name.replace("__pc", "__c").removeprefix("Person"): value
                for name, value in values.items()
                if name.endswith("__pc") or name.startswith("Person")
            }
            (contact,) = [row for row in self.rows["Contact"] if row.get("AccountId") == record_id]
            contact.update(twin)

    def results(self, job: str, offset: int) -> tuple[bytes, dict[str, str]]:
        """Return a page of a job's results, with its headers."""
        soql, rows = self.jobs[job]
        page = rows[offset : offset + self.page_rows]
        end = offset + len(page)
        promised = len(page)
        text = io.StringIO(newline="")
        writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n")
        writer.writerow(soql.paths)
        writer.writerows(map(_csv_value, values) for values in (page[:-1] if self.loses else page))
        locator = str(end) if end < len(rows) else "null"
        return text.getvalue().encode(), {"Sforce-NumberOfRecords": str(promised), "Sforce-Locator": locator}

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> tuple[int, object, dict[str, str]]:
        """Return status, content and headers of an answer."""
        match method, path.split("/"):
            case "GET", ["sobjects", name, "describe"] if name in self.fields:
                return 200, self.describe(name), {}
            case "GET", [""]:
                return 200, {}, {}
            case "GET", ["query" | "queryAll" as kind]:
                soql = self.select(query["q"], with_deleted=kind == "queryAll")
                self.jobs[location := str(len(self.jobs))] = soql, [soql.values(row) for row in soql.rows]
                return 200, self._page(location, 0), {}
            case "GET", ["query", location]:
                return 200, self._page(*_location(location)), {}
            case "POST", ["jobs", "query"]:
                soql = self.select(body["query"], with_deleted=body["operation"] == "queryAll")
                self.jobs[job := f"750{len(self.calls)}"] = soql, [soql.values(row) for row in soql.rows]
                return 200, {"id": job, "state": "UploadComplete"}, {}
            case "GET", ["jobs", "query", job]:
                return 200, {"state": "JobComplete", "numberRecordsProcessed": len(self.jobs[job][1])}, {}
            case "GET", ["jobs", "query", job, "results"]:
                return 200, *self.results(job, int(query.get("locator", 0)))
            case "DELETE", ["jobs", "query", job]:
                del self.jobs[job]
                return 204, b"", {}
            case "PATCH" | "POST", ["composite", "sobjects"]:
                return 200, self.write(body["records"]), {}
            case "GET", ["sobjects", _, "listviews", view, "describe"]:
                return 200, self.views[view], {}
            case "GET", ["analytics", "reports", report, "describe"]:
                return 200, self.reports[report].describe(), {}
            case "POST", ["analytics", "reports", report, "instances"]:
                return 200, self.reports[report].start(body), {}
            case "GET", ["analytics", "reports", report, "instances", run]:
                return 200, self.reports[report].result(run), {}
            case "GET", ["limits"]:
                return 200, {"DailyApiRequests": {"Max": self.limit, "Remaining": self.limit - len(self.calls)}}, {}
        return 404, [{"errorCode": "NOT_FOUND", "message": ""}], {}

    def _page(self, location: str, offset: int) -> dict[str, Any]:
        soql, rows = self.jobs[location]
        page, end = rows[offset : offset + self.page_rows], offset + self.page_rows
        records = [{"attributes": {"type": soql.sobject}, **dict(zip(soql.paths, row, strict=True))} for row in page]
        more = {} if end >= len(rows) else {"nextRecordsUrl": f"/services/data/v66.0/query/{location}-{end}"}
        return {"totalSize": len(rows), "done": not more, "records": records, **more}

    def fault(self, path: str) -> Fault | None:
        """Return the fault that a call meets."""
        if self.expires_at and self.expires_at in path:
            self.token, self.expires_at = self.token + 1, ""
        for fault in self.faults:
            if fault.times and re.search(fault.path, path):
                fault.times -= 1
                return fault
        return None


@contextmanager
def serving(org: Org, context: ssl.SSLContext | None = None) -> Iterator[str]:
    """Serve an org, and yield its address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # otherwise each answer waits for an acknowledgement of its headers
        wbufsize = -1

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            url = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(url.query).items()}
            org.calls.append(f"{self.command} {self.path}")
            if url.path == "/services/oauth2/token":
                return self._log_in({name: values[0] for name, values in parse_qs(body.decode()).items()})
            fault = org.fault(self.path)
            if fault:
                return self._send(fault.status, [{"errorCode": fault.code, "message": fault.message}])
            if self.headers["Authorization"] != f"Bearer token{org.token}":
                return self._send(401, [{"errorCode": "INVALID_SESSION_ID", "message": "Session expired"}])
            try:
                path = unquote(url.path.removeprefix("/services/data/v66.0/").rstrip("/"))
                answer = org.answer(self.command, path, query, json.loads(body or b"null"))
            except SoqlError as error:
                answer = 400, [{"errorCode": str(error), "message": "Geheimrath"}], {}
            except ConnectionCutError:
                self.close_connection = True
                return None
            return self._send(*answer, cut=org.cuts and "locator" in query)

        do_POST = do_PATCH = do_DELETE = do_GET  # noqa: N815

        def _log_in(self, form: dict[str, str]) -> None:
            if org.login_problem:
                return self._send(400, {"error": org.login_problem, "error_description": "retry your request"})
            if "assertion" not in form and form.get("client_secret") != CLIENT_SECRET:
                return self._send(400, {"error": "invalid_client", "error_description": form.get("client_secret")})
            identity = f"https://login.salesforce.com/id/00D/{USER_ID}"
            return self._send(200, {"access_token": f"token{org.token}", "id": identity, "form": form})

        def _send(
            self, status: int, content: object, headers: dict[str, str] | None = None, *, cut: bool = False
        ) -> None:
            raw = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            for name, value in {"Content-Length": str(len(raw)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(raw[: len(raw) // 2] if cut else raw)
            self.close_connection = self.close_connection or cut

        def log_message(self, format: str, *args: object) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        if context:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http{'s' if context else ''}://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def _location(location: str) -> tuple[str, int]:
    number, _, offset = location.partition("-")
    return number, int(offset)


def _csv_value(value: object) -> object:
    return str(value).lower() if isinstance(value, bool) else "" if value is None else value
