"""Calls of Salesforce's REST API, what its errors mean, and how much of the daily quota is left."""

import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any
from urllib.parse import quote

from campaign_sync.config.crm_salesforce import SalesforceLogin
from campaign_sync.crm.port import CrmError, CrmSetupError
from campaign_sync.crm.salesforce.login import Login
from campaign_sync.crm.web_api.answer import Answer, Retry
from campaign_sync.crm.web_api.session import ApiSession

_log = logging.getLogger(__name__)

_BUSY_SECONDS = 10.0
"""How long to wait where too many calls run at once, or a record is locked; Salesforce doesn't say."""

_PAGE = ("records", "done", "totalSize")

_CODE = re.compile(r"[A-Za-z_]{2,80}")

_RIGHTS = (
    "grant the integration user read access to the object and to every field that the configuration names, in its "
    "permission set; `campaign-sync check` names what is missing"
)

_NAMES_OR_RIGHTS = f"correct the names of the object and of its fields, or {_RIGHTS}"

_SETUP_PROBLEMS = {
    "UNSUPPORTED_API_VERSION": "correct crm.api_version",
    "API_DISABLED_FOR_ORG": "the edition of the org, or the user's profile, must allow the API (API Enabled)",
    "API_CURRENTLY_DISABLED": "the user's profile must allow the API (API Enabled)",
    "INSUFFICIENT_ACCESS": _RIGHTS,
    "INSUFFICIENT_ACCESS_OR_READONLY": _RIGHTS,
    "FORBIDDEN": _RIGHTS,
    "FUNCTIONALITY_NOT_ENABLED": "the org doesn't have what is called; leave it out of the configuration",
    "INVALID_FIELD": _NAMES_OR_RIGHTS,
    "INVALID_TYPE": _NAMES_OR_RIGHTS,
    "INVALIDENTITY": "objects that the Bulk API doesn't know can't be read",
    "MALFORMED_QUERY": "correct the query that the configuration or the list view has",
    "INVALID_SOQL_COMPATIBILITY": "such a list view can't be read; select a campaign, a report or a query instead",
    "INVALID_QUERY_FILTER_OPERATOR": "correct the query that the configuration or the list view has",
}


class SalesforceApi:
    """The API of an org. Safe to use from many threads at once.

    Args:
        settings: the section `crm`.
        wait: waits for a number of seconds.
    """

    def __init__(self, settings: SalesforceLogin, wait: Callable[[float], None] = time.sleep) -> None:
        self.wait = wait
        self.login = Login(settings)
        self._base = f"/services/data/v{settings.api_version}"
        self._session = ApiSession(
            "Salesforce",
            settings.url,
            self.login,
            judge,
            headers={"Accept": "application/json"},
            ca_file=settings.ca_file,
            wait=wait,
        )

    @property
    def calls(self) -> int:
        """How many calls were sent so far, logins included."""
        return self._session.calls

    def call(self, method: str, path: str, doing: str, **arguments: Any) -> Answer:
        """Call the API, and return an answer that is a success.

        Args:
            method: of HTTP.
            path: below the version, beginning with a slash; or as the API gave it, with the version.
            doing: what fails, for messages.
            arguments: those of `ApiSession.call`.

        Raises:
            CrmError: there is no answer, or it isn't a success.
        """
        place = path if path.startswith("/services/") else self._base + path
        return _accepted(self._session.call(method, place, **arguments), doing)

    def document(self, method: str, path: str, doing: str, has: Sequence[str] = (), **arguments: Any) -> Any:
        """Call the API like `call`, and return the answer's JSON.

        Raises:
            CrmError: it is none, or no object that has these names.
        """
        return _json(self.call(method, path, doing, **arguments), doing, has)

    def described(self, sobject: str) -> Any:
        """Return the description of an object; None if there is no such object for the user.

        Raises:
            CrmError: Salesforce can't be reached, or fails.
        """
        doing = f"describing the object {sobject}"
        answer = self._session.call("GET", f"{self._base}/sobjects/{quote(sobject)}/describe")
        return None if answer.status == 404 else _json(answer, doing, ("fields",))

    def key_prefix(self, sobject: str) -> str:
        """Return what the ids of an object's records begin with; empty if Salesforce doesn't say.

        Raises:
            CrmError: Salesforce can't be reached, or fails.
        """
        return str((self.described(sobject) or {}).get("keyPrefix") or "")

    def pauses(self, seconds: Sequence[float], longest: float) -> Iterator[None]:
        """Yield before each question whether work is done, and wait in between; end when that has taken too long.

        Args:
            seconds: between two questions; the last of them is repeated.
            longest: how long may be waited in all.
        """
        waited, attempt = 0.0, 0
        while True:
            yield
            pause = seconds[min(attempt, len(seconds) - 1)]
            waited, attempt = waited + pause, attempt + 1
            if waited > longest:
                return
            self.wait(pause)

    def rows(self, soql: str, doing: str) -> Iterator[Mapping[str, Any]]:
        """Yield the rows of a query with few of them.

        Raises:
            CrmError: the query is refused, or not all rows came.
        """
        yield from self._rows(self.document("GET", "/query", doing, _PAGE, query={"q": soql}), doing)

    def few_rows(self, soql: str, doing: str, most: int) -> list[Mapping[str, Any]] | None:
        """Return the rows of a query, deleted ones as well; None if there are more than `most`.

        Raises:
            CrmError: the query is refused, or not all rows came.
        """
        first = self.document("GET", "/queryAll", doing, _PAGE, query={"q": soql})
        return list(self._rows(first, doing)) if first["totalSize"] <= most else None

    def _rows(self, page: Any, doing: str) -> Iterator[Mapping[str, Any]]:
        """Yield the rows of a page and of all that follow."""
        count = 0
        while True:
            yield from page["records"]
            count += len(page["records"])
            following = page.get("nextRecordsUrl")
            if page["done"] or not following:
                break
            page = self.document("GET", following, doing, _PAGE)
        if count != page["totalSize"]:
            raise CrmError(f"{doing}: {count} of {page['totalSize']} rows came from Salesforce; run again")

    def now(self) -> datetime | None:
        """Return the time of Salesforce's clock; None if it doesn't say."""
        return self.call("GET", "/", "asking for the resources of the API").sent_at

    def limits(self) -> dict[str, tuple[int, int]]:
        """Return the limits by name: what is left, and the most; none for a user who may not see them."""
        answer = self._session.call("GET", f"{self._base}/limits")
        if answer.status == 404:
            raise CrmSetupError("Salesforce doesn't know this version of its API; correct crm.api_version and crm.url")
        if answer.status == 403:  # it takes the permission View Setup and Configuration
            return {}
        document = _json(answer, "asking for the limits")
        return {
            name: (int(limit["Remaining"]), int(limit["Max"]))
            for name, limit in (document.items() if isinstance(document, dict) else ())
            if isinstance(limit, dict) and {"Remaining", "Max"} <= limit.keys()
        }

    def require_calls(self, needed: int, doing: str) -> None:
        """Report how many calls are left today, before work is begun.

        Raises:
            CrmError: they aren't enough.
        """
        limit = self.limits().get("DailyApiRequests")
        if limit is None:
            _log.info("Salesforce doesn't show how many API calls are left; %s needs about %d", doing, needed)
            return
        left, most = limit
        _log.info("Salesforce: %d of %d API calls of 24 hours are left; %s needs about %d", left, most, doing, needed)
        if left < needed:
            raise CrmError(
                f"{doing} needs about {needed} API calls, and Salesforce has {left} of {most} left for these 24 hours; "
                "run again later, or have the limit raised (Setup, Company Information)"
            )


def _accepted(answer: Answer, doing: str) -> Answer:
    if answer.ok:
        return answer
    raise refusal(answer, doing)


def _json(answer: Answer, doing: str, has: Sequence[str] = ()) -> Any:
    document: Any = None
    with suppress(ValueError):
        document = _accepted(answer, doing).json()
    if document is not None and (not has or (isinstance(document, dict) and document.keys() >= set(has))):
        return document
    raise CrmError(
        f"{doing}: the answer isn't one of Salesforce, as those of proxies and login portals; check crm.url, and the "
        "proxies on the way"
    )


def judge(answer: Answer) -> Retry | CrmError | None:
    """Return what an answer means: whether the same call may succeed later, or fails for a known reason."""
    if answer.ok:
        return None
    code, message = error_of(answer)
    if answer.status == 401:
        return Retry("Salesforce refuses the token; check that the user of the app may log in", renew_token=True)
    if code == "REQUEST_LIMIT_EXCEEDED":
        return _limit(message)
    if code == "UNABLE_TO_LOCK_ROW":
        return Retry("Salesforce has a record locked; try again later", _BUSY_SECONDS)
    return None


def _limit(message: str) -> Retry | CrmError:
    if message.startswith("ConcurrentRequests"):
        return Retry("too many calls of Salesforce's API run at the same time; try again later", _BUSY_SECONDS)
    if message.startswith("TotalRequests"):
        return CrmError(
            "Salesforce accepts no more API calls in these 24 hours; run again later, or have the limit raised (Setup, "
            "Company Information)"
        )
    return CrmError("Salesforce runs no more reports in this hour; run again later")


def refusal(answer: Answer, doing: str) -> CrmError:
    """Return the error that an answer means. It has the code of Salesforce, never its message."""
    code, _ = error_of(answer)
    if problem := setup_problem(code, doing):
        return problem
    reason = code or f"status {answer.status}"
    return CrmError(f"{doing}: Salesforce refuses it ({reason}); run `campaign-sync check`, or try again later")


def setup_problem(code: str, doing: str) -> CrmSetupError | None:
    """Return the error that a code of Salesforce means, if a person has to correct something."""
    remedy = _SETUP_PROBLEMS.get(code)
    return CrmSetupError(f"{doing}: Salesforce refuses it ({code}); {remedy}") if remedy else None


def error_of(answer: Answer) -> tuple[str, str]:
    """Return the code and the message of an answer that is an error; empty where it has none."""
    try:
        document = answer.json()
    except ValueError:
        return "", ""
    errors: Sequence[Any] = document if isinstance(document, list) else [document]
    first = errors[0] if errors and isinstance(errors[0], dict) else {}
    return safe_code(first.get("errorCode")), str(first.get("message", ""))


def safe_code(value: object) -> str:
    """Return a code of Salesforce, empty if it can't be one."""
    return value if isinstance(value, str) and _CODE.fullmatch(value) else ""


def literal(text: str) -> str:
    """Return a text as SOQL writes it."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\r", "\\r") + "'"


def literals(texts: Sequence[str]) -> str:
    """Return a list of texts as SOQL writes it after IN."""
    return f"({', '.join(map(literal, texts))})"
