"""Calls to the Web API of Dataverse."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode

from campaign_sync.config.crm_dataverse import DataverseLogin
from campaign_sync.crm.dataverse.batch import Operation, decode_batch, encode_batch
from campaign_sync.crm.dataverse.errors import TITLE, forbidden, judge, refusal
from campaign_sync.crm.dataverse.login import entra_login
from campaign_sync.crm.port import CrmError
from campaign_sync.crm.web_api.answer import Answer
from campaign_sync.crm.web_api.session import ApiSession

API = "/api/data/v9.2"

_ODATA = {"OData-Version": "4.0", "OData-MaxVersion": "4.0", "Accept": "application/json"}

_ANNOTATIONS = "Microsoft.Dynamics.CRM.*"

LABEL = "OData.Community.Display.V1.FormattedValue"
"""The annotation with the label of a choice, or the name of the record that a lookup refers to."""

_CONTINUE = "odata.continue-on-error"

LONGEST_URL = 30_000
"""Dataverse takes URLs of 32 KB, and of 64 KB inside of a batch."""

OPERATIONS_PER_BATCH = 100
"""Dataverse takes 1,000; fewer keep a batch below its limit of processing time."""


class DataverseApi:
    """Calls the Web API of an environment.

    Args:
        settings: the section `crm`.
        wait: waits for a number of seconds.
    """

    def __init__(self, settings: DataverseLogin, wait: Callable[[float], None] = time.sleep) -> None:
        self._session = ApiSession(
            TITLE, settings.url, entra_login(settings), judge, headers=_ODATA, ca_file=settings.ca_file, wait=wait
        )
        self._url_length = len(settings.url)

    @property
    def calls(self) -> int:
        """How many calls were made so far."""
        return self._session.calls

    def answer(self, path: str, query: Mapping[str, str] | None = None) -> Answer:
        """Return the answer to a call. It may be a refusal."""
        return self._session.call("GET", _target(path, query))

    def get(self, path: str, title: str, query: Mapping[str, str] | None = None) -> Any:
        """Return the content of a resource.

        Args:
            path: below the API's address, beginning with a slash.
            title: what is read, for messages.
            query: the options of the query.

        Raises:
            CrmError: it can't be read.
        """
        return content(self.answer(path, query), title)

    def now(self) -> datetime | None:
        """Return the time of Dataverse's clock; None if it doesn't say."""
        answer = self.answer("/WhoAmI")
        content(answer, "WhoAmI")
        return answer.sent_at

    def find(self, path: str, title: str, query: Mapping[str, str] | None = None) -> Any:
        """Return the content of a resource; None if there is no such resource."""
        answer = self.answer(path, query)
        return None if answer.status == 404 else content(answer, title)

    def fetch(self, entity_set: str, fetch_xml: str, *, labeled: bool = False) -> Answer:
        """Return the answer to a FetchXML query, with Dataverse's own annotations. It may be a refusal.

        Args:
            entity_set: the table's name in the API.
            fetch_xml: the query.
            labeled: whether the answer has labels as well.
        """
        names = f"{_ANNOTATIONS},{LABEL}" if labeled else _ANNOTATIONS
        annotations = {"Prefer": f'odata.include-annotations="{names}"'}
        target = _target(f"/{entity_set}", {"fetchXml": fetch_xml})
        if self._url_length + len(target) < LONGEST_URL and "@" not in fetch_xml:  # no address in logs of proxies
            return self._session.call("GET", target, headers=annotations)
        (answer,) = self.batch([Operation("GET", target, headers={**_ODATA, **annotations})], "a query in a batch")
        if answer.status == 403:
            raise forbidden(answer)
        return answer

    def batch(self, operations: Sequence[Operation], title: str) -> list[Answer]:
        """Return the answers of operations, in their order. Any of them may be a refusal.

        Args:
            operations: repeating them must change nothing.
            title: what they do, for messages.

        Raises:
            CrmError: the batch as a whole failed.
        """
        content_type, data = encode_batch(operations)
        headers = {"Content-Type": content_type, "Prefer": _CONTINUE}
        answer = self._session.call("POST", f"{API}/$batch", headers=headers, data=data, repeatable=True)
        if not answer.ok:
            raise refusal(answer, title)
        try:
            answers = decode_batch(answer)
        except ValueError:
            answers = []
        if len(answers) != len(operations):
            raise CrmError(f"{TITLE} answered {len(answers)} of {len(operations)} parts of {title}; run again")
        return answers


def write(api: DataverseApi, operations: Sequence[Operation], title: str) -> Iterator[Answer]:
    """Yield the answer to each operation, batch by batch. Any of them may be a refusal.

    Raises:
        CrmError: a batch as a whole failed.
    """
    for start in range(0, len(operations), OPERATIONS_PER_BATCH):
        yield from api.batch(operations[start : start + OPERATIONS_PER_BATCH], title)


def record_path(entity_set: str, key: str) -> str:
    """Return the path of a record, for an operation of a batch."""
    return f"{API}/{entity_set}({quote(key, safe='-')})"


def content(answer: Answer, title: str) -> Any:
    """Return the content of an answer that must be a success.

    Raises:
        CrmError: it is none, or no JSON.
    """
    if not answer.ok:
        raise refusal(answer, title)
    try:
        return answer.json()
    except ValueError:  # the exception holds the content
        pass
    raise CrmError(
        f"{TITLE} answers {title} with something else than JSON; run again, then check the proxies on the way"
    )


def _target(path: str, query: Mapping[str, str] | None) -> str:
    return f"{API}{path}?{urlencode(query, quote_via=quote)}" if query else API + path
