"""Requests to the receivers of alarms and heartbeats, whose URLs are secrets."""

from typing import Literal

from pydantic import SecretStr


def send_request(
    method: Literal["GET", "POST"], url: SecretStr, *, timeout: float, refused: str, body: object = None
) -> str | None:
    """Send a request and return what is wrong and what helps; None if the receiver accepts it.

    What is returned has no part of the URL. Raise it outside of any exception of this call, which holds the URL.

    Args:
        method: of HTTP.
        url: where to send it.
        timeout: seconds that the receiver may take to answer.
        refused: what helps if the receiver answers with an error.
        body: what is sent as JSON; nothing if left out.

    Raises:
        UnavailableError: the URL can't be read.
    """
    import requests  # only here: few requests are sent

    try:
        with requests.request(
            method,
            url.get_secret_value(),
            json=body,
            timeout=timeout,
            allow_redirects=False,
            stream=True,  # only the status is needed; the body may be slow or endless
        ) as response:
            status = response.status_code
    except (requests.RequestException, ValueError) as error:
        return f"it can't be reached ({type(error).__name__}); check the URL"
    return None if 200 <= status < 300 else f"it answered HTTP {status}; {refused}"
