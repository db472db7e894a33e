"""The login at Microsoft Entra with the client credentials of an app registration."""

import time
import uuid
from collections.abc import Callable
from typing import Any

from campaign_sync.config.crm_dataverse import DataverseLogin
from campaign_sync.crm.port import CrmError, CrmSetupError
from campaign_sync.crm.web_api.answer import Answer
from campaign_sync.crm.web_api.session import ApiSession
from campaign_sync.extras import how_to_install

_ASSERTION_SECONDS = 600

_REMEDIES = {
    7000215: "the secret is wrong; correct crm.client_secret (it is the secret's value, not its id)",
    7000222: "the secret has expired; make a new one in Entra, and replace crm.client_secret",
    700027: "it doesn't know the certificate; upload it to the app registration, or correct crm.certificate",
    700016: "there is no such app in the tenant; correct crm.client_id or crm.tenant_id",
    90002: "there is no such tenant; correct crm.tenant_id, or crm.login_url in a national cloud",
    500011: "there is no such environment in the tenant; correct crm.url, without .api. and without a path",
    900144: "a part of the request is missing; check that no setting is empty",
}
"""What to do about the numbers (AADSTS…) of
https://learn.microsoft.com/entra/identity-platform/reference-error-codes."""

_TEMPORARY = ("server_error", "temporarily_unavailable")
"""Words of OAuth that ask to try again."""


def entra_login(settings: DataverseLogin) -> Callable[[ApiSession], str]:
    """Return what logs in and returns an access token for the environment."""
    url = f"{settings.login_url}/{settings.tenant_id}/oauth2/v2.0/token"

    def log_in(session: ApiSession) -> str:
        form = {
            "grant_type": "client_credentials",
            "client_id": settings.client_id.get_secret_value(),
            "scope": f"{settings.url}/.default",
            **_proof(settings, url),
        }
        return _token(session.call_without_token("POST", url, data=form, setting="crm.login_url"))

    return log_in


def _proof(settings: DataverseLogin, url: str) -> dict[str, str]:
    if settings.client_secret is not None:
        return {"client_secret": settings.client_secret.get_secret_value()}
    pem = settings.certificate.get_secret_value() if settings.certificate else ""
    return {
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": _assertion(pem.encode(), settings.client_id.get_secret_value(), url),
    }


def _assertion(pem: bytes, client_id: str, url: str) -> str:
    """Return a signed assertion.

    See https://learn.microsoft.com/entra/identity-platform/certificate-credentials.
    """
    try:
        import jwt
        from cryptography import x509
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    except ImportError:
        raise CrmSetupError(
            f"the login with a certificate needs the extra dataverse; {how_to_install('dataverse')}"
        ) from None
    now = int(time.time())
    claims = {"aud": url, "iss": client_id, "sub": client_id, "jti": str(uuid.uuid4()), "nbf": now, "iat": now}
    try:
        key: Any = load_pem_private_key(pem, None)
        thumbprint = x509.load_pem_x509_certificate(pem).fingerprint(SHA256())
        header = {"x5t#S256": jwt.utils.base64url_encode(thumbprint).decode()}
        return jwt.encode({**claims, "exp": now + _ASSERTION_SECONDS}, key, algorithm="PS256", headers=header)
    except (ValueError, TypeError, jwt.PyJWTError):
        pass
    raise CrmSetupError(
        "crm.certificate must hold an RSA key without a password and its certificate, both in the form PEM "
        "(-----BEGIN PRIVATE KEY----- and -----BEGIN CERTIFICATE-----)"
    )


def _token(answer: Answer) -> str:
    try:
        content = answer.json()
        token = content.get("access_token") if answer.ok else None
        codes = content.get("error_codes") or []
        temporary = content.get("error") in _TEMPORARY
    except (ValueError, AttributeError):
        token, codes, temporary = None, [], False
    if isinstance(token, str) and token:
        return token
    if temporary:
        raise CrmError("Microsoft Entra can't log the application in now; try again later")
    if not codes:
        raise CrmSetupError(f"the login at Microsoft Entra failed with status {answer.status}; check crm.login_url")
    remedy = _REMEDIES.get(codes[0], "look the number up at https://login.microsoftonline.com/error")
    raise CrmSetupError(f"Microsoft Entra refuses the login (AADSTS{codes[0]}): {remedy}")
