"""Alerts to a URL: for Microsoft Teams, Slack, or as JSON by a template."""

import re
from collections.abc import Mapping
from typing import Any

from campaign_sync.alerts.channel import ChannelError
from campaign_sync.alerts.http_request import send_request
from campaign_sync.alerts.messages import Wording, fields_of
from campaign_sync.config import UnavailableError, WebhookSettings
from campaign_sync.domain.incident import Notice, NoticeKind

TIMEOUT_SECONDS = 20.0
"""How long the receiver may take to answer."""


class WebhookChannel:
    """Posts each notice as JSON."""

    def __init__(self, key: str, settings: WebhookSettings, wording: Wording, ui_url: str | None) -> None:
        self._key, self._settings, self._wording, self._ui_url = key, settings, wording, ui_url

    @property
    def name(self) -> str:
        """`webhook` and its name in the configuration."""
        return f"webhook {self._key}"

    def send(self, notice: Notice) -> None:
        """Post the notice.

        Raises:
            ChannelError: it couldn't be reached, or answered with an error.
        """
        url, body = self._settings.url, self._body(notice)
        advice = "check the URL and the format it expects"
        try:
            problem = send_request("POST", url, timeout=TIMEOUT_SECONDS, refused=advice, body=body)
        except UnavailableError as error:
            problem = str(error)
        if problem:
            raise ChannelError(f"the webhook alarms.webhooks.{self._key} accepted no alarm: {problem}")

    def _body(self, notice: Notice) -> Mapping[str, Any]:
        fields = fields_of(notice, self._wording, self._ui_url)
        if self._settings.template is not None:
            filled: dict[str, Any] = _filled(self._settings.template, fields)
            return filled
        if self._settings.format == "teams":
            return _teams(fields, notice.kind)
        if self._settings.format == "slack":
            link = f"\n<{fields['link']}>" if fields["link"] else ""
            return {"text": f"*{_slack(fields['headline'])}*\n{_slack(fields['text'])}{link}"}
        return fields


def _filled(template: Any, fields: Mapping[str, str]) -> Any:
    """Return the template with every `{name}` in its texts filled in. Texts stay texts, whatever is filled in."""
    if isinstance(template, Mapping):
        return {key: _filled(value, fields) for key, value in template.items()}
    if isinstance(template, list):
        return [_filled(value, fields) for value in template]
    if isinstance(template, str):
        return re.sub(r"\{(\w+)\}", lambda match: fields.get(match[1], match[0]), template)
    return template


def _slack(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _plain_text(text: str, **style: str) -> dict[str, Any]:
    """Return a paragraph of an adaptive card without Markdown, so that no name of a mailing becomes a link."""
    return {"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": text, **style}]}


def _teams(fields: Mapping[str, str], stage: NoticeKind) -> dict[str, Any]:
    """Return an adaptive card, as workflows of Teams accept it; connectors with their message cards are gone."""
    color = "attention" if stage in (NoticeKind.ALARM, NoticeKind.WORSE, NoticeKind.UNWATCHED) else "good"
    card: dict[str, Any] = {
        "type": "AdaptiveCard",
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "version": "1.4",
        "body": [
            _plain_text(fields["headline"], weight="bolder", size="medium", color=color),
            _plain_text(fields["text"]),
        ],
    }
    if fields["link"]:
        card["actions"] = [{"type": "Action.OpenUrl", "title": "Dagster", "url": fields["link"]}]
    return {
        "type": "message",
        "attachments": [{"contentType": "application/vnd.microsoft.card.adaptive", "content": card}],
    }
