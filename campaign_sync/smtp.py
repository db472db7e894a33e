"""Mails through the configured mail server."""

import smtplib
import ssl
from collections.abc import Sequence
from contextlib import suppress
from email.message import EmailMessage
from email.utils import formatdate, make_msgid

from campaign_sync.config import EmailSettings, UnavailableError

TIMEOUT_SECONDS = 20.0
"""How long the mail server may take for one step."""


def new_message(settings: EmailSettings, to: Sequence[str], subject: str) -> EmailMessage:
    """Return a mail without a text, from the configured sender."""
    message = EmailMessage()
    message["Subject"] = f"[campaign_sync] {subject}"
    message["From"], message["To"] = settings.sender, ", ".join(to)
    message["Date"] = formatdate(localtime=False)
    message["Message-ID"] = make_msgid(domain=settings.sender.rpartition("@")[2])
    message["Auto-Submitted"] = "auto-generated"  # prevents absence notices
    return message


def send_mail(settings: EmailSettings, message: EmailMessage, recipients_in: str) -> str | None:
    """Send a mail. Where TLS is used, certificates are verified.

    Args:
        settings: the mail server.
        message: the mail.
        recipients_in: the keys of the configuration that its recipients are from.

    Returns:
        Why the server took it for none of the recipients, and what to do, without a password or an address of theirs;
        None if it took it, perhaps for some of them only.
    """
    try:
        _deliver(settings, message)
    except UnavailableError as error:
        return str(error)
    except smtplib.SMTPAuthenticationError:
        return "it doesn't accept the username and password; check alarms.email.username and password"
    except smtplib.SMTPRecipientsRefused as error:
        codes = sorted({str(code) for code, _ in error.recipients.values()})
        return f"it refused all recipients (code {', '.join(codes)}); check {recipients_in}"
    except smtplib.SMTPNotSupportedError:
        return "it doesn't support what is required; check alarms.email.security"
    except smtplib.SMTPResponseException as error:
        return f"it answered with code {error.smtp_code}; check alarms.email.sender"
    except ssl.SSLError:
        return "no trusted TLS connection could be made; check its certificate, and alarms.email.security and port"
    except UnicodeError:
        return "it accepts ASCII only; change alarms.email.username or password"
    except (smtplib.SMTPException, OSError) as error:
        return f"it can't be reached ({type(error).__name__}); check alarms.email.host and port"
    return None


def _deliver(settings: EmailSettings, message: EmailMessage) -> None:
    tls = ssl.create_default_context()
    server = (
        smtplib.SMTP_SSL(settings.host, settings.port, timeout=TIMEOUT_SECONDS, context=tls)
        if settings.security == "tls"
        else smtplib.SMTP(settings.host, settings.port, timeout=TIMEOUT_SECONDS)
    )
    try:
        if settings.security == "starttls":
            server.starttls(context=tls)
        if settings.username and settings.password:
            server.login(settings.username.get_secret_value(), settings.password.get_secret_value())
        server.send_message(message)
    finally:
        with suppress(smtplib.SMTPException, OSError):  # it has accepted the mail already
            server.quit()
        server.close()
