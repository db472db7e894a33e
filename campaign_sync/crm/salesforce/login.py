"""The login: OAuth 2.0 client credentials, or a signed JWT. There is none with a password: Salesforce retires it."""

import time
from urllib.parse import urlsplit

from campaign_sync.config.crm_salesforce import SalesforceLogin
from campaign_sync.crm.port import CrmError, CrmSetupError
from campaign_sync.crm.web_api.answer import Answer
from campaign_sync.crm.web_api.session import ApiSession
from campaign_sync.extras import how_to_install

_JWT_SECONDS = 120
"""How long an assertion is valid. Salesforce takes three minutes at most."""

_REMEDIES = {
    "invalid_client_id": "crm.client_id must be the consumer key of the external client app",
    "invalid_client": "crm.client_secret must be the app's consumer secret",
    "invalid_grant": (
        "for client credentials the app needs the flow enabled, and a Run As user; for a JWT the app needs the "
        "certificate of crm.private_key, and crm.username must be pre-authorized for it. Either needs crm.url to be "
        "the My Domain of the org, and the user to be active"
    ),
    "invalid_app_access": "the app's policies must allow the user",
    "unsupported_grant_type": "enable the OAuth flow in the settings of the app",
}

_TEMPORARY = frozenset({"unknown_error", "server_error", "temporarily_unavailable"})
"""Codes that ask to try again: "retry your request"."""


class Login:
    """Logs in, and knows as whom.

    Args:
        settings: the section `crm`.
    """

    def __init__(self, settings: SalesforceLogin) -> None:
        self._settings = settings
        self.user_id: str | None = None
        """The id of the user, once logged in."""

    def __call__(self, session: ApiSession) -> str:
        """Return a new token.

        Raises:
            CrmSetupError: the login is refused.
        """
        answer = session.call_without_token("POST", f"{self._settings.url}/services/oauth2/token", data=self._form())
        document = _document(answer)
        token = document.get("access_token")
        if not answer.ok or not isinstance(token, str):
            raise _refusal(answer, document)
        # The last part of the identity URL: …/id/<organization>/<user>.
        self.user_id = str(document.get("id", "")).rpartition("/")[2] or None
        return token

    def _form(self) -> dict[str, str]:
        client_id = self._settings.client_id.get_secret_value()
        if self._settings.client_secret is not None:
            secret = self._settings.client_secret.get_secret_value()
            return {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret}
        return {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": self._assertion(client_id)}

    def _assertion(self, client_id: str) -> str:
        private_key = self._settings.private_key
        try:
            import jwt
            from cryptography.hazmat.primitives.serialization import load_pem_private_key
        except ImportError:
            raise CrmSetupError(
                f"the login by JWT needs the extra salesforce; {how_to_install('salesforce')}"
            ) from None
        claims = {
            "iss": client_id,
            "sub": self._settings.username,
            "aud": _audience(self._settings.url),
            "exp": int(time.time()) + _JWT_SECONDS,
        }
        try:
            key = load_pem_private_key((private_key.get_secret_value() if private_key else "").encode(), password=None)
            return jwt.encode(claims, key, algorithm="RS256")  # type: ignore[arg-type]
        except (ValueError, TypeError, jwt.PyJWTError):
            pass  # the exception holds the key
        raise CrmSetupError(
            "crm.private_key must be the RSA private key of the app's certificate, in the form PEM without a passphrase"
        )


def _audience(url: str) -> str:
    is_sandbox = ".sandbox." in (urlsplit(url).hostname or "")
    return f"https://{'test' if is_sandbox else 'login'}.salesforce.com"


def _document(answer: Answer) -> dict[str, object]:
    try:
        document = answer.json()
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _refusal(answer: Answer, document: dict[str, object]) -> CrmError:
    code = str(document.get("error", ""))
    if not code.replace("_", "").isalpha():  # whatever it is, it isn't quoted
        return CrmSetupError(
            f"the login to Salesforce isn't answered as expected (status {answer.status}); crm.url must be the My "
            "Domain of the org, like https://acme.my.salesforce.com"
        )
    if code in _TEMPORARY:
        return CrmError(f"Salesforce can't log the user in now ({code}); try again later")
    remedy = _REMEDIES.get(code, "check the external client app in Setup, and crm.url")
    return CrmSetupError(f"Salesforce refuses the login ({code}): {remedy}")
