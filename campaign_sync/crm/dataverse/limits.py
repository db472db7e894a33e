"""How many calls Dynamics 365 still takes from the user, and how many a read needs."""

import math
import re
from collections import Counter

from campaign_sync.crm.dataverse.api import DataverseApi
from campaign_sync.crm.dataverse.consents import CONSENTS
from campaign_sync.crm.dataverse.environment import Environment
from campaign_sync.crm.dataverse.pages import PAGE_ROWS, ROWS_WITHOUT_COOKIE
from campaign_sync.crm.port import CrmError
from campaign_sync.crm.web_api.answer import Answer

_CALLS_LEFT = "x-ms-ratelimit-burst-remaining-xrm-requests"

_SECONDS_LEFT = "x-ms-ratelimit-time-remaining-xrm-requests"
"""See https://learn.microsoft.com/power-apps/developer/data-platform/api-limits."""

_CALLS_BESIDE_PAGES = 30
"""For the definitions of tables, and for what has one page."""


def limits_left(environment: Environment) -> str | None:
    """Return what Dynamics 365 still takes from the user, and what a read needs; None if it says neither.

    Only the limits of five minutes are known; no answer shows those of a day. The numbers of records are up to a day
    old: https://learn.microsoft.com/power-apps/developer/data-platform/webapi/reference/retrievetotalrecordcount.
    """
    reads = _reads(environment)
    answer = _counts(environment.api, sorted(reads))
    if answer is None:
        return None
    left, needed = _left(answer), _needed(answer, reads)
    return "; ".join(text for text in (left, needed) if text) or None


def _reads(environment: Environment) -> Counter[str]:
    """Return how often each table is read as a whole."""
    settings = environment.settings
    reads = Counter(entity_type.value for entity_type in environment.people)
    reads.update({entity_type.value for opt_in in settings.opt_ins.values() for entity_type in opt_in.field})
    reads.update({CONSENTS for opt_in in settings.opt_ins.values() if opt_in.purpose})
    reads.update([settings.consents.table] if settings.consents else [])
    return reads


def _counts(api: DataverseApi, tables: list[str]) -> Answer | None:
    names = ",".join(f"'{table}'" for table in tables)
    try:
        return api.answer(f"/RetrieveTotalRecordCount(EntityNames=[{names}])")
    except CrmError:  # the next call says what is wrong
        return None


def _left(answer: Answer) -> str | None:
    calls, seconds = (answer.headers.get(name, "").replace(",", "") for name in (_CALLS_LEFT, _SECONDS_LEFT))
    if not calls.isdecimal():
        return None
    time = f" and {float(seconds):,.0f} s of processing" if re.fullmatch(r"\d+(\.\d+)?", seconds) else ""
    return f"Dynamics 365 takes {int(calls):,} more API calls{time} from the user within five minutes"


def _needed(answer: Answer, reads: Counter[str]) -> str | None:
    try:
        counts = answer.json()["EntityRecordCountCollection"]
        rows = dict(zip(counts["Keys"], map(int, counts["Values"]), strict=True))
    except (ValueError, KeyError, TypeError):
        return None
    calls = _CALLS_BESIDE_PAGES + sum(times * _calls(rows.get(table, 0)) for table, times in reads.items())
    return f"reading all people and consents once takes about {calls:,}, and a list one for each {PAGE_ROWS:,} members"


def _calls(rows: int) -> int:
    """Return how many calls read this many rows and count them."""
    pages = max(1, math.ceil(rows / PAGE_ROWS))
    return 2 * pages if rows > ROWS_WITHOUT_COOKIE else pages + (pages > 1)
