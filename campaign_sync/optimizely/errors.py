"""What can go wrong at the vendor's, named by what to do about it. No message holds anybody's data or a credential."""

import re
from collections.abc import Iterable

from campaign_sync.optimizely.fault_text import known_words


class OptimizelyError(Exception):
    """A call to Optimizely Campaign came to nothing.

    `outcome_unknown` is True where the vendor may have carried the call out all the same, wholly or in part.
    """

    outcome_unknown = False


class CredentialsError(OptimizelyError):
    """The vendor doesn't let this user into this mandator."""


class SessionExpiredError(OptimizelyError):
    """The vendor doesn't know the session. Calls answer this by logging in again; it surfaces if that didn't help."""


class TransientError(OptimizelyError):
    """The network or the vendor failed for the moment; trying again later may work."""

    def __init__(self, message: str, *, outcome_unknown: bool):
        super().__init__(message)
        self.outcome_unknown = outcome_unknown


class UnsettledFileError(TransientError):
    """A delivered file is gone or another one since it was listed: somebody is still at it."""

    def __init__(self, message: str):
        super().__init__(message, outcome_unknown=False)


class RefusedError(OptimizelyError):
    """The vendor understood the call and won't do it. Trying again changes nothing."""


class UnsendableError(OptimizelyError, ValueError):
    """The rows can't be sent as they are. Raised before anything is sent; names positions, never contents."""


class UnreadableAnswerError(OptimizelyError):
    """An answer that is larger, or other XML, than the vendor ever sends. Trying again changes nothing."""

    def __init__(self, message: str, *, outcome_unknown: bool):
        super().__init__(message)
        self.outcome_unknown = outcome_unknown


class FileSourceError(OptimizelyError):
    """A drop, or a file delivered into it, can't be used as it is. Trying again changes nothing."""


class ForeignListError(OptimizelyError):
    """The recipient list isn't one of the logged-in mandator's. Raised before anything is sent to it."""


class UnknownFaultError(OptimizelyError):
    """The vendor reported something we can't interpret, so whether it did the work is unknown, too."""

    outcome_unknown = True


_SESSION = re.compile(r"InvalidWebserviceSession|Invalid session", re.IGNORECASE)
_CREDENTIALS = re.compile(r"Invalid credentials|INTERFACE_WEBSERVICE", re.IGNORECASE)
_TRANSIENT = re.compile(
    r"internal error|time[d]?[ -]?out|temporar|try again|unavailable|overload|deadlock|too many (requests|connections)",
    re.IGNORECASE,
)
_FORBIDDEN = re.compile(r"\bnot (allowed|permitted|authori[sz]ed)\b|\b(access|permission) denied\b", re.IGNORECASE)
"""Said of what a user may not do, however the vendor's text goes on: trying again changes nothing."""
_REFUSED = re.compile(
    r"\bdo(es)? not exists?\b|\bno \w+ found\b|too many|at most|unknown attribute|read-only|lengths? differ|of length|"
    r"unauthori[sz]ed|denied|permission|illegal ?argument|invalid|bad types|deserializer|"
    r"no such operation|NumberFormatException",
    re.IGNORECASE,
)


def from_fault(call: str, text: str, *, mandator_id: int, secrets: Iterable[str]) -> OptimizelyError:
    """The error that a SOAP fault stands for.

    Args:
        call: what was called, as `Recipient.addAll3`; becomes part of the message.
        text: the fault's text as received. Only what is known of it becomes part of the message.
        mandator_id: whose session it was.
        secrets: the session id and the user's name and password.
    """
    said = known_words(text, secrets)
    where = f"{call} of mandator {mandator_id}"
    if _SESSION.search(text):
        return SessionExpiredError(
            f"{where}: the vendor rejects the session, and again after a new login. Look whether something else logs "
            "this user out, and whether the clocks and the session rules at the vendor's have changed."
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
            "the user's operations with those ordered from support."
        )
    return UnknownFaultError(
        f"{where}: the vendor reports a fault we don't know ({said}). Ask its support, with the time of the call."
    )
