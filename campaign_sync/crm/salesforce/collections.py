"""Changes of single records, by sObject collections: every record is accounted for, and refused ones stay alone."""

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from campaign_sync.crm.port import CrmError
from campaign_sync.crm.salesforce.api import SalesforceApi, safe_code

_log = logging.getLogger(__name__)

MOST_RECORDS: Final = 200
"""How many records a call takes."""

_LOCKED: Final = frozenset({"UNABLE_TO_LOCK_ROW"})

_LOCK_ATTEMPTS = 3

_LOCK_SECONDS = 2.0

_NO_CODE = "no reason given"

_HEADERS: Final = {"Sforce-Auto-Assign": "FALSE", "Sforce-Duplicate-Rule-Header": "allowSave=true"}
"""Without the first, Salesforce gives every lead that is written a new owner by the org's assignment rules; without the
second, duplicate rules that only alert refuse the record."""


@dataclass(frozen=True)
class Change:
    """New values of a record, or a new record."""

    sobject: str
    record_id: str | None
    """None for a new record."""
    values: Mapping[str, object]

    @property
    def document(self) -> dict[str, object]:
        """The record as the API takes it."""
        key = {"id": self.record_id} if self.record_id else {}
        return {"attributes": {"type": self.sobject}, **key, **self.values}


class RecordWriter:
    """Writes changes.

    Args:
        api: of the org.
    """

    def __init__(self, api: SalesforceApi) -> None:
        self._api = api
        self._codes = Counter[str]()

    def write(self, changes: Iterable[Change]) -> list[Change]:
        """Write changes, at most one of each record, and return those that Salesforce refuses.

        Raises:
            CrmError: Salesforce can't be reached, or doesn't answer for every record.
        """
        self._codes.clear()
        refused: list[Change] = []
        ordered = sorted(changes, key=lambda change: (change.record_id is None, change.sobject))
        for is_new in (False, True):
            part = [change for change in ordered if (change.record_id is None) is is_new]
            for start in range(0, len(part), MOST_RECORDS):
                refused += self._write_part(part[start : start + MOST_RECORDS])
        if refused:
            reasons = ", ".join(f"{code} ({count})" for code, count in self._codes.most_common(5))
            _log.warning(
                "Salesforce refuses %d changes: %s; they are repeated by the next import. Check the user's rights, and "
                "the validation rules and flows of the object",
                len(refused),
                reasons,
            )
        return refused

    def _write_part(self, changes: Sequence[Change]) -> list[Change]:
        refused = []
        for change, code in zip(changes, self._codes_of(changes), strict=True):
            final = self._repeated(change) if code in _LOCKED else code
            if final is not None:
                self._codes[final] += 1
                refused.append(change)
        return refused

    def _repeated(self, change: Change) -> str | None:
        """Write a record that was locked, alone."""
        code: str | None = None
        for attempt in range(_LOCK_ATTEMPTS):
            self._api.wait(_LOCK_SECONDS * 2**attempt)
            (code,) = self._codes_of([change])
            if code not in _LOCKED:
                break
        return code

    def _codes_of(self, changes: Sequence[Change]) -> list[str | None]:
        """Write changes, and return the code of the error for each; None for success."""
        is_new = changes[0].record_id is None
        results = self._api.document(
            "POST" if is_new else "PATCH",
            "/composite/sobjects",
            "writing records",
            json={"allOrNone": False, "records": [change.document for change in changes]},
            headers=_HEADERS,
            repeatable=not is_new,
        )
        is_list = isinstance(results, list) and all(isinstance(result, dict) for result in results)
        if not is_list or len(results) != len(changes):
            raise CrmError("writing records: Salesforce doesn't answer for every record; run the import again")
        return [_code(result) for result in results]


def _code(result: Mapping[str, Any]) -> str | None:
    if result.get("success") is True:
        return None
    errors = result.get("errors") or [{}]
    return safe_code(errors[0].get("statusCode")) or _NO_CODE
