"""The HTTP API of Rolodex. Its errors become CrmErrors, without the data that a request or an answer holds."""

from collections.abc import Iterator
from typing import Any

import requests

from campaign_sync.crm.port import CrmError, CrmSetupError

TIMEOUT_SECONDS = 60


class RolodexApi:
    """Calls the API.

    Args:
        base_url: its address.
        token: of the user.
        page_size: how many records are read with one call.
    """

    def __init__(self, base_url: str, token: str, page_size: int) -> None:
        self._base_url, self._page_size = base_url, page_size
        self._session = requests.Session()
        self._session.headers["Authorization"] = f"Bearer {token}"

    def get(self, path: str, **parameters: int) -> Any:
        """Return what a resource holds; None if there is no such resource."""
        answer = self._call("GET", path, params=parameters)
        return None if answer.status_code == requests.codes.not_found else _content(answer, path)

    def patch(self, path: str, changes: dict[str, Any]) -> bool:
        """Change a record. Return whether the CRM accepted it."""
        return self._call("PATCH", path, json=changes).ok

    def pages(self, path: str) -> "Pages":
        """Return all items of a resource, to be read once."""
        return Pages(self, path, self._page_size)

    def _call(self, method: str, path: str, **arguments: Any) -> requests.Response:
        try:
            answer = self._session.request(method, self._base_url + path, timeout=TIMEOUT_SECONDS, **arguments)
        except requests.RequestException as error:
            problem = type(error).__name__
        else:
            if answer.status_code in (401, 403):
                raise CrmSetupError("Rolodex refuses the token; correct crm.token")
            if answer.status_code < 500:
                return answer
            problem = f"status {answer.status_code}"
        # Raised here, because the caught exception may contain what was sent.
        raise CrmError(f"Rolodex can't be reached ({problem}); check crm.base_url, and that it is running")


class Pages:
    """The items of a resource, page by page, and how many there are by the CRM's own count."""

    def __init__(self, api: RolodexApi, path: str, page_size: int) -> None:
        self._api, self._path, self._page_size = api, path, page_size
        self.received = 0
        self.total: int | None = None

    def __iter__(self) -> Iterator[list[Any]]:
        while True:
            page = self._api.get(self._path, offset=self.received, limit=self._page_size)
            if page is None:
                raise CrmError("Rolodex has no such list; correct the name under select")
            # Where records come and go meanwhile, pages by offset skip some.
            if self.total not in (None, page["total"]):
                raise CrmError("Rolodex has another number of records than when reading began; run it again")
            self.total = page["total"]
            if not page["items"]:
                return
            self.received += len(page["items"])
            yield page["items"]

    def require_all(self) -> None:
        """Raise CrmError unless all items have come."""
        if self.received != self.total:
            raise CrmError(f"Rolodex counts {self.total} records, and {self.received} arrived; run it again")


def _content(answer: requests.Response, path: str) -> Any:
    if not answer.ok:
        raise CrmError(f"Rolodex refuses to read {path.split('/')[1]} (status {answer.status_code}); run it again")
    try:
        return answer.json()
    except ValueError:
        pass
    raise CrmError(f"Rolodex answers {path.split('/')[1]} with something else than JSON; check crm.base_url")
