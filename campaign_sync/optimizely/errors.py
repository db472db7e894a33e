"""The errors of the vendor. No message holds personal data or a credential.

```
OptimizelyError
├── CredentialsError         correct the user, password or mandator
├── SessionExpiredError      the session ends even after a new login
├── TransientError           try again later
├── RefusedError             the vendor won't carry out this call
├── UnsendableError          the rows can't be encoded; nothing was sent
├── UnreadableAnswerError    the answer isn't what the vendor ever sends
├── ForeignListError         the list isn't the mandator's; nothing was sent
└── UnknownFaultError        a fault that this program doesn't know
```

Only `TransientError` is worth a retry. `outcome_unknown` says whether the call may have been carried out all the same.
"""

import re
from collections.abc import Iterable

from campaign_sync.errors import CampaignSyncError
from campaign_sync.optimizely.fault_text import known_words


class OptimizelyError(CampaignSyncError):
    """A call to Optimizely Campaign failed.

    `outcome_unknown` is True if the vendor may have carried the call out all the same, wholly or in part.
    """

    outcome_unknown = False


class CredentialsError(OptimizelyError):
    """The vendor rejects the user."""


class SessionExpiredError(OptimizelyError):
    """The vendor doesn't know the session. Calls log in again once; this is raised if that doesn't help."""

    retryable = True


class TransientError(OptimizelyError):
    """The network or the vendor failed temporarily; a later attempt may succeed."""

    retryable = True

    def __init__(self, message: str, *, outcome_unknown: bool):
        super().__init__(message)
        self.outcome_unknown = outcome_unknown


class RefusedError(OptimizelyError):
    """The vendor refuses the call. A retry changes nothing."""


class UnsendableError(OptimizelyError, ValueError):
    """The rows can't be encoded. Raised before anything is sent; the message names positions, never contents."""


class UnreadableAnswerError(OptimizelyError):
    """The answer is too large, or hostile XML. A retry changes nothing."""

    def __init__(self, message: str, *, outcome_unknown: bool):
        super().__init__(message)
        self.outcome_unknown = outcome_unknown


class ForeignListError(OptimizelyError):
    """The recipient list belongs to another mandator or doesn't exist. Raised before anything is sent to it."""


class UnknownFaultError(OptimizelyError):
    """The vendor reported an unknown fault, so it may have carried out the call."""

    retryable = True

    outcome_unknown = True


_SESSION = re.compile(r"InvalidWebserviceSession|Invalid session", re.IGNORECASE)
_CREDENTIALS = re.compile(r"Invalid credentials|INTERFACE_WEBSERVICE", re.IGNORECASE)
_TRANSIENT = re.compile(
    r"internal error|time[d]?[ -]?out|temporar|try again|unavailable|overload|deadlock|too many (requests|connections)",
    re.IGNORECASE,
)
_FORBIDDEN = re.compile(r"\bnot (allowed|permitted|authori[sz]ed)\b|\b(access|permission) denied\b", re.IGNORECASE)
"""Missing permissions, whatever else the text says: a retry changes nothing."""
_REFUSED = re.compile(
    r"\bdo(es)? not exists?\b|\bno \w+ found\b|too many|at most|unknown attribute|read-only|lengths? differ|of length|"
    r"unauthori[sz]ed|denied|permission|illegal ?argument|invalid|bad types|deserializer|"
    r"no such operation|NumberFormatException",
    re.IGNORECASE,
)


def from_fault(call: str, text: str, *, mandator_id: int, secrets: Iterable[str]) -> OptimizelyError:
    """Return the error for a SOAP fault.

    Args:
        call: the service and operation, as `Recipient.addAll3`; part of the message.
        text: the fault's text as received. Only known words of it become part of the message.
        mandator_id: the mandator of the session.
        secrets: the session id, username and password.
    """
    said = known_words(text, secrets)
    where = f"{call} of mandator {mandator_id}"
    if _SESSION.search(text):
        return SessionExpiredError(
            f"{where}: the vendor rejects the session, and again after a new login. Check whether another program "
            "logs this user out, and ask the vendor's support whether its session rules have changed."
        )
    if _CREDENTIALS.search(text):
        return CredentialsError(
            f"{where}: the vendor doesn't let this user in. Check mandator_id, username and password in the "
            "configuration, the user's right INTERFACE_WEBSERVICE, and that it may log in from this machine's address."
        )
    if _TRANSIENT.search(text) and not _FORBIDDEN.search(text):
        return TransientError(
            f"{where}: the vendor failed ({said}). Try again later; if it stays, ask the vendor's support.",
            outcome_unknown=True,
        )
    if _REFUSED.search(text) or _FORBIDDEN.search(text):
        return RefusedError(
            f"{where}: the vendor refuses the call ({said}). Compare the configuration with the list in Campaign, and "
            "the user's operations with those ordered from the vendor's support."
        )
    return UnknownFaultError(
        f"{where}: the vendor reports an unknown fault ({said}). Ask its support, with the time of the call."
    )
