"""A Dataverse of a few tables, with a real HTTP server: Entra's tokens, FetchXML, metadata and batches."""

import json
import re
import ssl
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.sax.saxutils import quoteattr

from lxml import etree

from campaign_sync_tests.crm.cut import ConnectionCutError
from campaign_sync_tests.crm.stamped_record import StampedRecord

TENANT, CLIENT, SECRET = "9b8f3f4e-1111-4222-8333-444444444444", "the-client", "the secret"

Row = dict[str, Any]

_CORE = "@Microsoft.Dynamics.CRM."

_PEOPLE = (
    "industrycode:Picklist industrycodename:Virtual parentcustomerid:Customer parentcustomeridname:String "
    "emailaddress1:String firstname:String lastname:String name:String address1_city:String "
    "donotbulkemail:Boolean donotemail:Boolean "
    "cs_bounced:Boolean cs_bouncedon:DateTime cs_news:Boolean cs_newson:DateTime cs_offers:Boolean "
    "cs_offerson:DateTime cs_press:Boolean cs_presson:DateTime"
)

_VIEW = "name:String returnedtypecode:String fetchxml:Memo querytype:Integer"

_TABLES = {
    name: dict(column.split(":") for column in columns.split())
    for name, columns in {
        "contact": _PEOPLE,
        "lead": _PEOPLE,
        "account": _PEOPLE,
        "list": "listname:String type:Boolean createdfromcode:Picklist query:Memo",
        "listmember": "listid:Lookup entityid:Lookup",
        "savedquery": _VIEW,
        "userquery": _VIEW,
        "msdynmkt_purpose": "msdynmkt_name:String",
        "msdynmkt_topic": "msdynmkt_name:String msdynmkt_purposeid:Lookup",
        "msdynmkt_contactpointconsent4": (
            "msdynmkt_contactpointvalue:String msdynmkt_contactpointtype:Picklist msdynmkt_value:Picklist "
            "msdynmkt_contactpointconsenttype:Picklist msdynmkt_purposeid:Lookup msdynmkt_topicid:Lookup "
            "msdynmkt_source:Picklist msdynmkt_logicalreason:Picklist msdynmkt_reason:String"
        ),
        "cs_consentlog": (
            "cs_contactid:Lookup cs_leadid:Lookup cs_consent:String cs_what:String cs_on:DateTime cs_evidence:String"
        ),
    }.items()
}

_SETS = {"savedquery": "savedqueries", "userquery": "userqueries", "cs_consentlog": "cs_consentlogs"}

_REFERENCES = {
    "msdynmkt_purposeid": ("msdynmkt_PurposeId", "msdynmkt_purpose"),
    "msdynmkt_topicid": ("msdynmkt_TopicId", "msdynmkt_topic"),
    "cs_contactid": ("cs_ContactId", "contact"),
}

_LABEL = "OData.Community.Display.V1.FormattedValue"

_LABELS = {"industrycodename": "industrycode", "parentcustomeridname": "parentcustomerid"}
"""Columns that are the labels of others. They can't be asked for."""

_ACTIONS = ("Read", "Write", "Create", "Append", "AppendTo")

_JSON = {"Content-Type": "application/json"}

_LIMITS = {
    "x-ms-ratelimit-burst-remaining-xrm-requests": "5990",
    "x-ms-ratelimit-time-remaining-xrm-requests": "1,180.25",
}

SUM_ROWS = 30
"""Sums over more rows are refused."""

TOTAL_ROWS = 25
"""No total is counted beyond."""


class RefusalError(Exception):
    """An error answer of the API."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


class Dataverse:
    """The rows of the tables, and the faults that the server has now."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Row]] = {name: {} for name in _TABLES}
        self.tokens: set[str] = set()
        self.calls: list[str] = []
        self.writes: list[tuple[str, str, Row]] = []
        self.cookies: dict[str, tuple[str, str]] = {}
        self.loses = self.loses_answer = self.repeats = self.hangs_up = False
        self.refuses_all = self.has_no_cookies = self.sums_fail = False
        self.refused: set[str] = set()
        self.throttled = self.expire_after = self.skips = self.logins = 0
        self.shallow: set[str] = set()
        """Tables of which the user sees only a part."""
        self.lacks: set[str] = set()
        """Privileges that the user lacks."""
        self.of_team: set[str] = set()
        """Privileges that the user has by a team, with the right depth shown only where they are asked for by name."""
        self.secured: dict[str, bool] = {}
        """Columns with column security, as table.column, and whether the user may read them."""
        self.unwritable: set[str] = set()
        """Those of them that the user may read only."""
        self.calculated: set[str] = set()
        """Calculated columns, as table.column."""
        self.behavior = "UserLocal"
        self.shows_labels, self.shows_privileges = False, True
        self.lock = threading.Lock()
        self.versions = 0

    def add(self, table: str, key: str | None = None, **values: Any) -> str:
        """Add a row and return its key."""
        key = key or str(uuid.uuid4())
        self.versions += 1
        made = dict.fromkeys(("createdon", "modifiedon"), "2026-01-01T00:00:00Z")
        own = {f"{table}id": key, "statecode": 0, "querytype": 0, **made, **values, "version": self.versions}
        self.rows[table][key] = StampedRecord("modifiedon", **own)
        return key

    def columns(self, table: str) -> dict[str, str]:
        """Return the types of a table's columns."""
        common = {"createdon": "DateTime", "modifiedon": "DateTime", "statecode": "State"}
        return {f"{table}id": "Uniqueidentifier", **_TABLES[table], **common}

    def token(self, form: dict[str, list[str]]) -> tuple[int, Any]:
        if form["client_id"] != [CLIENT] or form.get("client_secret", [SECRET]) != [SECRET]:
            return 401, {"error": "invalid_client", "error_codes": [7000215], "error_description": "wrong"}
        token, self.logins = str(uuid.uuid4()), self.logins + 1
        self.tokens.add(token)
        return 200, {"token_type": "Bearer", "expires_in": 3599, "access_token": token}

    def answer(self, method: str, path: str, query: dict[str, str], body: Any, headers: Any) -> tuple[int, Any]:
        """Return the status and content of a call below the API's address."""
        key = re.fullmatch(r"(\w+)\(([^)]*)\)", path)
        if path == "WhoAmI":
            return 200, {"UserId": "u1"}
        if path.endswith("RetrieveUserPrivileges()"):
            return 200, {"RolePrivileges": list(self._rights(dict.fromkeys(self.of_team, "Basic")))}
        if path.endswith("RetrieveUserSetOfPrivilegesByNames(PrivilegeNames=@names)"):
            wanted = json.loads(query["@names"])
            return 200, {"RolePrivileges": [right for right in self._rights({}) if right["PrivilegeName"] in wanted]}
        if path.endswith("RetrievePrincipalAttributePrivileges()"):
            rights = [
                {"AttributeId": name, "CanRead": 4 if seen else 0, "CanUpdate": 4, "CanCreate": 4}
                | ({"CanUpdate": 0, "CanCreate": 0} if name in self.unwritable else {})
                for name, seen in self.secured.items()
            ]
            return 200, {"AttributePrivileges": rights}
        if path.startswith("RetrieveTotalRecordCount"):
            names = re.findall(r"'(\w+)'", path)
            counts = {"Keys": names, "Values": [len(self.rows[name]) for name in names]}
            return 200, {"EntityRecordCountCollection": counts}
        if path.startswith("EntityDefinitions"):
            return 200, self._definition(path, query.get("$filter", ""))
        table = next((name for name in _TABLES if _entity_set(name) == path.partition("(")[0]), None)
        if table is None:
            raise RefusalError(404, "0x8006088a", "Resource not found")
        if method == "PATCH" and key:
            return self._patch(table, unquote(key[2]), body, headers)
        if "fetchXml" in query:
            self.shows_labels = _LABEL in (headers.get("Prefer") or "")
            return 200, self._fetch(table, query["fetchXml"])
        raise RefusalError(404, "", "No HTTP resource was found")

    def _rights(self, depths: dict[str, str]) -> Iterator[Row]:
        for table in _TABLES:
            for action in _ACTIONS:
                name = f"prv{action}{table}"
                depth = "Local" if table in self.shallow and action == "Read" else "Global"
                if name not in self.lacks:
                    yield {"PrivilegeName": name, "Depth": depths.get(name, depth)}

    def _definition(self, path: str, condition: str) -> Any:
        if named := re.search(r"LogicalName eq '(\w+)'", condition):
            return {"value": [self._definition(f"EntityDefinitions(LogicalName='{named[1]}')", "")]}
        name = re.search(r"LogicalName='(\w+)'\)", path)
        if name is None:
            return {"value": [{"LogicalName": table} for table in _TABLES if table.startswith("cs_")]}
        table, _, rest = name[1], None, path[name.end() :]
        if table not in _TABLES:
            raise RefusalError(404, "0x80060888", "Could not find an entity")
        columns = self.columns(table)
        if rest == "/Attributes":
            return {"value": [self._attribute(table, column, kind) for column, kind in columns.items()]}
        if rest == "/ManyToOneRelationships":
            names = ("ReferencingAttribute", "ReferencingEntityNavigationPropertyName", "ReferencedEntity")
            listed = [(column, *_REFERENCES[column]) for column in columns if column in _REFERENCES]
            return {"value": [dict(zip(names, values, strict=True)) for values in listed]}
        if rest.startswith("/Attributes("):
            column = re.findall(r"LogicalName='(\w+)'", path)[1]
            kind = 1 if f"{table}.{column}" in self.calculated else 0
            return {"DateTimeBehavior": {"Value": self.behavior}, "MaxLength": 40, "SourceType": kind}
        actions = _ACTIONS if self.shows_privileges else ()
        return {
            "LogicalName": table, "EntitySetName": _entity_set(table), "PrimaryIdAttribute": f"{table}id",
            "Privileges": [{"PrivilegeType": action, "Name": f"prv{action}{table}"} for action in actions],
        }  # fmt: skip

    def _attribute(self, table: str, column: str, kind: str) -> Row:
        own = f"{table}.{column}"
        attribute = {"LogicalName": column, "AttributeType": kind, "AttributeOf": _LABELS.get(column)}
        return {**attribute, "MetadataId": own, "IsSecured": own in self.secured}

    def _patch(self, table: str, key: str, body: Row, headers: Any) -> tuple[int, Any]:
        present = self.rows[table].get(key)
        bound = {column: navigation for column, (navigation, _) in _REFERENCES.items()}
        values = dict(body)
        for column, navigation in bound.items():
            if f"{navigation}@odata.bind" in values:
                values[column] = re.search(r"\(([^)]+)\)", values.pop(f"{navigation}@odata.bind"))[1]  # type: ignore[index]
        if unknown := values.keys() - self.columns(table).keys():
            raise RefusalError(400, "0x0", f"Invalid property '{unknown}'")
        privilege = f"prv{'Write' if present else 'Create'}{table}"
        if self.refuses_all or privilege in self.lacks:
            raise RefusalError(403, "0x80040220", f"Principal user (Id=u1) is missing {privilege} on Anna Geheimrath")
        if self.refused & {key, *map(str, values.values()), *map(str, (present or {}).values())}:
            raise RefusalError(403, "0x80048306", "Principal u1 does not have WriteAccess for Anna Geheimrath")
        if present and headers.get("If-None-Match") == "*":
            raise RefusalError(412, "0x80040237", "exists")
        if headers.get("If-Match", "*") != "*" and (not present or headers["If-Match"] != f'W/"{present["version"]}"'):
            raise RefusalError(412, "0x80060882", "changed")
        self.writes.append((table, key, dict(values)))
        self.add(table, key, **(present or {}))
        self.rows[table][key].update(values)
        return 204, None

    # FetchXML

    def _fetch(self, table: str, text: str) -> Any:
        root = etree.fromstring(text)
        (entity,) = root
        rows = [row for row in self._matching(entity) if row]
        if root.get("aggregate") == "true":
            if self.sums_fail or len(rows) > SUM_ROWS:
                raise RefusalError(400, "0x8004e023", "AggregateQueryRecordLimit exceeded")
            return {"value": [{"n": len(rows)}]}
        ordered = sorted(rows, key=lambda row: str(row[f"{table}id"]))
        number, size = int(root.get("page", "1")), int(root.get("count", "5000"))
        start = (number - 1) * size
        if cookie := root.get("paging-cookie"):
            last, query = self.cookies[cookie]
            assert query == _without_paging(root), "the cookie belongs to another query"
            start = next((at for at, row in enumerate(ordered) if str(row[f"{table}id"]) > last), len(ordered))
        start = max(0, start - 1) if self.repeats else start
        if number > 1 and self.skips:
            self.skips -= 1
            start += size
        page, more = ordered[start : start + size], len(ordered) > start + size
        answer: Row = {f"{_CORE}morerecords": more, f"{_CORE}totalrecordcount": min(len(rows), TOTAL_ROWS)}
        answer[f"{_CORE}totalrecordcountlimitexceeded"] = len(rows) > TOTAL_ROWS
        if page and not self.has_no_cookies:
            key = str(page[-1][f"{table}id"])
            last = quoteattr("{" + key.upper() + "}")
            cookie = f'<cookie page="{number}"><{table}id last={last} /></cookie>'
            self.cookies[cookie] = (key, _without_paging(root))
            twice = quote(quote(cookie, safe=""), safe="")
            answer[f"{_CORE}fetchxmlpagingcookie"] = f'<cookie pagenumber="{number + 1}" pagingcookie="{twice}" />'
        wanted = [element.get("name") for element in entity.findall("attribute")]
        columns = self.columns(table)
        if any(name not in columns or name in _LABELS for name in wanted):
            raise RefusalError(400, "0x80041103", f"{table} doesn't contain an attribute")
        shown = [self._shown(table, row, wanted) for row in page]
        return {**answer, "value": shown[:-1] if self.loses else shown}

    def _shown(self, table: str, row: Row, wanted: list[str]) -> Row:
        columns = self.columns(table)
        values: Row = {}
        for name in wanted:
            shown = f"_{name}_value" if columns[name] in ("Lookup", "Customer") else name
            values[shown] = row.get(name)
            if self.shows_labels and row.get(name) is not None:
                values[f"{shown}@{_LABEL}"] = row.get(f"{name}name", str(row[name]))
        return {"@odata.etag": f'W/"{row["version"]}"', **{k: v for k, v in values.items() if v is not None}}

    def _matching(self, entity: Any) -> Iterator[Row]:
        for row in self.rows[entity.get("name")].values():
            if all(self._holds(element, row) for element in entity.findall("filter")) and all(
                any(other[link.get("from")] == row.get(link.get("to")) for other in self._matching(link))
                for link in entity.findall("link-entity")
            ):
                yield row

    def _holds(self, element: Any, row: Row) -> bool:
        if element.tag == "filter":
            results = [self._holds(child, row) for child in element]
            return any(results) if element.get("type") == "or" else all(results)
        value, given = row.get(element.get("attribute")), element.get("value")
        compared = str(int(value) if isinstance(value, bool) else value).lower()
        match element.get("operator"):
            case "eq":
                return bool(compared == given.lower())
            case "in":
                return compared in [child.text.lower() for child in element]
            case "le":
                return value is not None and bool(compared <= given.lower())
            case "ge":
                return value is not None and bool(compared >= given.lower())
            case "not-null":
                return value is not None
        raise RefusalError(400, "0x80040203", "unknown operator")


def _entity_set(table: str) -> str:
    return _SETS.get(table, f"{table}s")


def _without_paging(root: Any) -> str:
    copy = etree.fromstring(etree.tostring(root))
    for name in ("page", "paging-cookie"):
        copy.attrib.pop(name, None)
    return str(etree.tostring(copy, encoding="unicode"))


class _Handler(BaseHTTPRequestHandler):
    dataverse: Dataverse
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # otherwise each answer waits for an acknowledgement of its headers
    wbufsize = -1

    def do_GET(self) -> None:
        self._serve(b"")

    def do_PATCH(self) -> None:
        self._serve(self.rfile.read(int(self.headers["Content-Length"])))

    def do_POST(self) -> None:
        self._serve(self.rfile.read(int(self.headers["Content-Length"])))

    def _serve(self, body: bytes) -> None:
        try:
            with self.dataverse.lock:
                status, content, headers = self._answer(body)
        except ConnectionCutError:
            self.close_connection = True
            return
        data = content if isinstance(content, bytes) else json.dumps(content).encode() if content else b""
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        is_later_page = "page%3D%222%22" in self.path
        self.wfile.write(data[: len(data) // 2] if self.dataverse.hangs_up and is_later_page else data)
        self.close_connection = self.dataverse.hangs_up

    def _answer(self, body: bytes) -> tuple[int, Any, dict[str, str]]:
        dataverse, url = self.dataverse, urlsplit(self.path)
        if url.path.endswith("/oauth2/v2.0/token"):
            status, content = dataverse.token(parse_qs(body.decode()))
            return status, content, _JSON
        dataverse.calls.append(f"{self.command} {unquote(self.path)}")
        if dataverse.expire_after and len(dataverse.calls) == dataverse.expire_after:
            dataverse.tokens.clear()
        if self.headers["Authorization"].removeprefix("Bearer ") not in dataverse.tokens:
            return 401, b"", {}
        if dataverse.throttled:
            dataverse.throttled -= 1
            error = {"code": "0x80072322", "message": "Number of requests exceeded the limit"}
            return 429, {"error": error}, {"Retry-After": "7"}
        path = unquote(url.path.partition("/api/data/v9.2/")[2])
        if path == "$batch":
            answer = self._batch(body)
            lost, dataverse.loses_answer = dataverse.loses_answer, False
            return (502, b"", {}) if lost else answer
        status, content = self._one(self.command, path, url.query, json.loads(body) if body else None, self.headers)
        return status, content, _JSON | _LIMITS

    def _one(self, method: str, path: str, query: str, body: Any, headers: Any) -> tuple[int, Any]:
        options = {name: values[0] for name, values in parse_qs(query).items()}
        try:
            return self.dataverse.answer(method, path, options, body, headers)
        except RefusalError as error:
            return error.status, {"error": {"code": error.code, "message": error.message}}

    def _batch(self, body: bytes) -> tuple[int, Any, dict[str, str]]:
        boundary = self.headers["Content-Type"].partition("boundary=")[2]
        pieces = []
        for part in body.decode().split(f"--{boundary}\r\n")[1:]:
            _, request, content = part.split("\r\n\r\n", 2)
            line, *lines = request.split("\r\n")
            method, target, _ = line.split(" ")
            headers = dict(header.split(": ", 1) for header in lines)
            url = urlsplit(target)
            path, text = unquote(url.path.partition("/api/data/v9.2/")[2]), content.partition("\r\n--")[0]
            status, answer = self._one(method, path, url.query, json.loads(text) if text.strip() else None, headers)
            data = "" if answer is None else json.dumps(answer, ensure_ascii=False)
            pieces.append(
                f"Content-Type: application/http\r\n\r\nHTTP/1.1 {status} X\r\nOData-Version: 4.0\r\n\r\n{data}"
            )
        whole = "".join(f"--answer\r\n{piece}\r\n" for piece in pieces) + "--answer--\r\n"
        return 200, whole.encode(), {"Content-Type": "multipart/mixed; boundary=answer"}

    def log_message(self, *args: object) -> None: ...


@contextmanager
def serving(dataverse: Dataverse, context: ssl.SSLContext | None = None) -> Iterator[str]:
    """Serve a Dataverse, and yield its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"dataverse": dataverse}))
    server.daemon_threads = True
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield f"{'https' if context else 'http'}://localhost:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
