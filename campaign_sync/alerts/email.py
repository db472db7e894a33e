"""Alerts by mail."""

from collections.abc import Sequence

from campaign_sync.alerts.channel import ChannelError
from campaign_sync.alerts.messages import Wording, fields_of
from campaign_sync.config import EmailSettings
from campaign_sync.domain.incident import Notice
from campaign_sync.smtp import new_message, send_mail


class EmailChannel:
    """Sends each notice as a plain text mail to some people."""

    name = "email"

    def __init__(self, settings: EmailSettings, to: Sequence[str], wording: Wording, ui_url: str | None) -> None:
        self._settings, self._to, self._wording, self._ui_url = settings, list(to), wording, ui_url

    def send(self, notice: Notice) -> None:
        """Send the mail.

        Raises:
            ChannelError: the server couldn't be reached, refused the login, or refused all recipients. If it refused
                only some, the others have the mail, so this isn't an error.
        """
        fields = fields_of(notice, self._wording, self._ui_url)
        message = new_message(self._settings, self._to, fields["headline"])
        message.set_content("\n\n".join(part for part in (fields["text"], fields["link"]) if part) + "\n")
        if problem := send_mail(self._settings, message, "alarms.email.to and alarms_to"):
            raise ChannelError(
                f"the mail server {self._settings.host}:{self._settings.port} accepted no alarm: {problem}"
            )
