"""What the error answers of Dataverse mean. Their texts may quote data, so only codes and privileges are repeated."""

import re

from campaign_sync.crm.port import CrmError, CrmSetupError
from campaign_sync.crm.web_api.answer import Answer, Retry

TITLE = "Dynamics 365"

_LIMITS = {
    "0x80072322": "too many requests within five minutes",
    "0x80072321": "too much processing time within five minutes",
    "0x80072326": "too many requests at the same time",
}
"""The service protection limits, per user:
https://learn.microsoft.com/power-apps/developer/data-platform/api-limits."""

_REMEDIES = {
    "0x80041102": "there is no such table; correct its name in crm",
    "0x80041103": "there is no such column; correct its name in crm, or the list, view or query that names it",
    "0x8006088a": "there is no such table; correct its name in crm",
}

_FORBIDDEN = 403

SECURITY_ROLES = (
    "Power Platform admin center, Environments, Settings, Users + permissions, Security roles, the role, and there the "
    "table"
)
"""Where rights on tables are given."""

_MISSING_PRIVILEGE = "0x80040220"
"""The user may do this with no record at all.

https://learn.microsoft.com/troubleshoot/power-platform/dataverse/user-permissions/client-errors
"""

_REASONS = {
    "0x80048306": (
        "the application user has no access to these records; set Write on the table to Organization in its security "
        "role"
    ),
    "0x8004f507": (
        "column security keeps the application user from changing a column; add it to a column security profile with "
        "Update"
    ),
}
"""Why single records are refused. The first is the access check, which follows that of the privilege."""


def judge(answer: Answer) -> Retry | CrmError | None:
    """Say which answers can be repeated, and which need a person. See `Judge`."""
    if answer.status == 401:
        return Retry(f"{TITLE} refuses the token; check the app in Entra", renew_token=True)
    if answer.status == 429:
        limit = _LIMITS.get(error_code(answer), "too many requests")
        return Retry(f"{TITLE} refuses {limit}; try again later", after=answer.retry_after)
    if answer.status == _FORBIDDEN:
        return forbidden(answer)
    return None


def forbidden(answer: Answer) -> CrmError:
    """Return the error for an answer that refuses for lack of rights."""
    privilege = _privilege(answer)
    if privilege:
        return CrmSetupError(
            f"the application user lacks the privilege {privilege} in Dynamics 365; set it to Organization in the "
            f"user's security role ({SECURITY_ROLES})"
        )
    if error_code(answer) == "0x80072560":
        return CrmSetupError(
            f"the environment has no application user for crm.client_id; create one in the Power Platform admin center "
            f"(Environments, Settings, Application users){_code(answer)}"
        )
    return CrmSetupError(f"Dynamics 365 forbids the call{_code(answer)}; check the application user's security role")


def refusal(answer: Answer, title: str) -> CrmError:
    """Return the error for any other answer without success.

    Args:
        answer: what came.
        title: what was called, for the message.
    """
    remedy = _REMEDIES.get(error_code(answer))
    kind = CrmSetupError if remedy else CrmError
    return kind(f"Dynamics 365 refuses {title} with status {answer.status}{_code(answer)}; {remedy or 'run again'}")


def missing_privilege(answer: Answer) -> str | None:
    """Return the privilege that the user lacks as a whole; None if the answer says nothing like that.

    A record that the user can't access is refused with another code.
    """
    return _privilege(answer) if error_code(answer) == _MISSING_PRIVILEGE else None


def refusal_reason(answer: Answer) -> str:
    """Return why a change of a record was refused, for a message."""
    if answer.status == 412:
        return "they have changed since they were read"
    code = error_code(answer)
    if code in _REASONS:
        return f"{_REASONS[code]} ({code})"
    privilege = missing_privilege(answer)
    return ", ".join(filter(None, (f"status {answer.status}", code, privilege and f"the user lacks {privilege}")))


def _privilege(answer: Answer) -> str | None:
    name = re.search(r"\bprv[A-Za-z0-9_]+", _error(answer).get("message", ""))
    return name[0] if name else None


def error_code(answer: Answer) -> str:
    """Return the code of an error, like 0x80040217; empty if there is none."""
    code = _error(answer).get("code", "").lower()
    return code if re.fullmatch(r"0x[0-9a-f]{1,8}", code) else ""


def _code(answer: Answer) -> str:
    code = error_code(answer)
    return f" ({code})" if code else ""


def _error(answer: Answer) -> dict[str, str]:
    try:
        error = answer.json()["error"]
        return {key: str(error.get(key) or "") for key in ("code", "message")}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}
