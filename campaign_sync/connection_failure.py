"""Why an HTTP call got no answer, in words that say what to check, and never with what was sent."""

import ssl
from dataclasses import dataclass

import requests
from urllib3.exceptions import ConnectTimeoutError, MaxRetryError, NameResolutionError, NewConnectionError

_REQUIRED_EXTENSIONS = ("key identifier", "key usage", "basic constraints")
"""In OpenSSL's messages about certificates that lack what `ssl.VERIFY_X509_STRICT` demands."""


@dataclass(frozen=True)
class ConnectionFailure:
    """What happened to a call."""

    problem: str
    """The problem and its remedy, to follow the name of the host and a colon."""
    unsent: bool
    """Whether the server can't have received anything."""


def explain_failure(
    error: requests.RequestException, *, url_setting: str, ca_setting: str, seconds: float
) -> ConnectionFailure:
    """Return why a call got no answer.

    Args:
        error: what requests raised.
        url_setting: where the host's address is configured.
        ca_setting: where the CA's file is configured.
        seconds: how long an answer was waited for.
    """
    reason = error.args[0] if error.args else None
    reason = reason.reason if isinstance(reason, MaxRetryError) else reason
    untrusted = next(
        (cause for cause in getattr(reason, "args", ()) if isinstance(cause, ssl.SSLCertVerificationError)), None
    )
    unsent = isinstance(reason, NewConnectionError | ConnectTimeoutError) or untrusted is not None
    if isinstance(reason, NameResolutionError):
        problem = f"its name can't be resolved; check {url_setting} and this machine's DNS"
    elif untrusted is not None:
        is_outdated = any(extension in untrusted.verify_message.lower() for extension in _REQUIRED_EXTENSIONS)
        remedy = (
            "have its CA issue it anew as RFC 5280 demands, and Python since version 3.13"
            if is_outdated
            else f"check {url_setting}, and if a private CA signed it, name the CA's PEM file in {ca_setting}"
        )
        problem = f"its certificate can't be verified ({untrusted.verify_message.rstrip('.')}); {remedy}"
    elif unsent:
        problem = f"it accepts no connection; check {url_setting}, the firewall and whether the server is up"
    elif isinstance(error, requests.exceptions.ProxyError):
        problem = "the proxy refused the call; check HTTPS_PROXY and NO_PROXY"
    elif isinstance(error, requests.exceptions.SSLError):
        problem = "the TLS connection failed; check its certificate and this machine's certificates"
    elif isinstance(error, requests.Timeout):
        problem = f"no answer within {seconds:g} s; try again later"
    else:
        problem = "the connection was lost before the answer was complete; try again"
    return ConnectionFailure(problem, unsent)
