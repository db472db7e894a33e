"""Alerts by mail."""

import smtplib
import ssl
from collections.abc import Sequence
from contextlib import suppress
from email.message import EmailMessage
from email.utils import formatdate, make_msgid

from campaign_sync.alerts.channel import ChannelError
from campaign_sync.alerts.messages import Wording, fields_of
from campaign_sync.config import EmailSettings, UnavailableError
from campaign_sync.domain.incident import Notice

TIMEOUT_SECONDS = 20.0
"""How long the mail server may take for one step."""


class EmailChannel:
    """Sends each notice as a plain text mail to some people. Where TLS is used, certificates are verified."""

    name = "email"

    def __init__(self, settings: EmailSettings, to: Sequence[str], wording: Wording, ui_url: str | None) -> None:
        self._settings, self._to, self._wording, self._ui_url = settings, list(to), wording, ui_url

    def send(self, notice: Notice) -> None:
        """Send the mail.

        Raises:
            ChannelError: the server couldn't be reached, refused the login, or refused all recipients. If it refused
                only some, the others have the mail, so this isn't an error.
        """
        message, problem = self._message(notice), None
        try:
            self._deliver(message)
        except UnavailableError as error:
            problem = str(error)
        except smtplib.SMTPAuthenticationError:
            problem = "it doesn't accept the username and password; check alarms.email.username and password"
        except smtplib.SMTPRecipientsRefused as error:
            codes = sorted({str(code) for code, _ in error.recipients.values()})
            problem = f"it refused all recipients (code {', '.join(codes)}); check alarms.email.to and alarms_to"
        except smtplib.SMTPNotSupportedError:
            problem = "it doesn't support what is required; check alarms.email.security"
        except smtplib.SMTPResponseException as error:
            problem = f"it answered with code {error.smtp_code}; check alarms.email.sender"
        except ssl.SSLError:
            problem = (
                "no trusted TLS connection could be made; check its certificate, and alarms.email.security and port"
            )
        except UnicodeError:
            problem = "it accepts ASCII only; change alarms.email.username or password"
        except (smtplib.SMTPException, OSError) as error:
            problem = f"it can't be reached ({type(error).__name__}); check alarms.email.host and port"
        if problem:  # raised out here, because the caught exceptions may name people
            raise ChannelError(
                f"the mail server {self._settings.host}:{self._settings.port} accepted no alarm: {problem}"
            )

    def _deliver(self, message: EmailMessage) -> None:
        settings = self._settings
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

    def _message(self, notice: Notice) -> EmailMessage:
        fields = fields_of(notice, self._wording, self._ui_url)
        message = EmailMessage()
        message["Subject"] = f"[campaign_sync] {fields['headline']}"
        message["From"], message["To"] = self._settings.sender, ", ".join(self._to)
        message["Date"] = formatdate(localtime=False)
        message["Message-ID"] = make_msgid(domain=self._settings.sender.rpartition("@")[2])
        message["Auto-Submitted"] = "auto-generated"  # prevents absence notices
        message.set_content("\n\n".join(part for part in (fields["text"], fields["link"]) if part) + "\n")
        return message
