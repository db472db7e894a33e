"""Alerts through Apprise: to any service that it knows by URL."""

import logging
import re
from types import ModuleType
from urllib.parse import unquote

from campaign_sync.alerts.channel import ChannelError
from campaign_sync.alerts.messages import Wording, fields_of
from campaign_sync.config import AppriseSettings, UnavailableError
from campaign_sync.domain.incident import Notice, NoticeKind
from campaign_sync.domain.printable_text import printable_line
from campaign_sync.extras import how_to_install

TIMEOUT_SECONDS = 20.0
"""How long one delivery may take in all; Apprise itself limits each connection and each answer to four seconds."""

_LONGEST_REASON = 200
_MASK = "…"


class AppriseChannel:
    """Sends each notice to one URL of Apprise. Certificates are verified and redirects aren't followed."""

    def __init__(self, key: str, settings: AppriseSettings, wording: Wording, ui_url: str | None) -> None:
        self._key, self._settings, self._wording, self._ui_url = key, settings, wording, ui_url

    @property
    def name(self) -> str:
        """`apprise` and its name in the configuration."""
        return f"apprise {self._key}"

    def send(self, notice: Notice) -> None:
        """Hand the notice to Apprise.

        Raises:
            ChannelError: the extra `apprise` is missing, Apprise doesn't understand the URL, the URL switches the
                verification of certificates off, or the service didn't accept the message.
        """
        try:
            import apprise  # an extra
        except ImportError:
            problem: str | None = f"Apprise isn't installed; {how_to_install('apprise')}"
        else:
            logging.getLogger("apprise").propagate = False  # its debug lines contain the URL
            try:
                problem = self._deliver(apprise, notice)
            except UnavailableError as error:
                problem = str(error)
        if problem:  # raised out here, because a caught exception may contain the URL, which is a secret
            raise ChannelError(f"the target alarms.apprise.{self._key} accepted no alarm: {problem}")

    def _deliver(self, apprise: ModuleType, notice: Notice) -> str | None:
        """Return the problem; None where the service accepted the message."""
        asset = apprise.AppriseAsset(
            app_id="campaign_sync",
            app_desc="campaign_sync",
            http_redirects=False,
            service_timeout=TIMEOUT_SECONDS,
            allow_templates=False,
            plugin_paths=[],
        )
        target = apprise.Apprise.instantiate(self._settings.url.get_secret_value(), asset=asset)
        if target is None:
            return "Apprise doesn't understand the URL; check it, and whether its service needs a further package."
        if not target.verify_certificate:
            return "its URL switches the verification of certificates off; remove verify=no."
        target.redirects = False
        fields = fields_of(notice, self._wording, self._ui_url)
        services = apprise.Apprise(asset=asset)
        services.add(target)
        result = services.notify(
            title=fields["headline"],
            body="\n\n".join(part for part in (fields["text"], fields["link"]) if part),
            notify_type=_notify_type(notice.kind),
            body_format=apprise.NotifyFormat.TEXT,
        )
        if result:
            return None
        log = "; ".join(
            entry.message
            for service in result
            for attempt in service
            for entry in attempt.logs
            if entry.level in ("WARNING", "ERROR", "CRITICAL")
        )
        reason = _without_secrets(log, self._settings.url.get_secret_value()) or "no reason given"
        return f"the service didn't accept it ({reason}); check the URL."


def _notify_type(stage: NoticeKind) -> str:
    if stage in (NoticeKind.ALARM, NoticeKind.WORSE, NoticeKind.UNWATCHED):
        return "failure"
    return "success" if stage is NoticeKind.ALL_CLEAR else "info"


def _without_secrets(log: str, url: str) -> str:
    """Return Apprise's log without any part of the URL and without addresses.

    Only the scheme and what is too short to be a secret may remain.
    """
    scheme, _, rest = url.partition("://")
    parts = {part for text in (rest, unquote(rest)) for part in (text, *re.split(r"[/:@?&=,;+\s]", text))}
    text = log
    for part in sorted(parts, key=len, reverse=True):
        if len(part) > 2 and part.lower() != scheme.lower():
            text = re.sub(re.escape(part), _MASK, text, flags=re.IGNORECASE)
    return printable_line(re.sub(r"\S+@\S+", _MASK, text))[:_LONGEST_REASON].strip()
