"""The section `alarms`: the channels for notices of incidents."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from campaign_sync.config.base import ConfigModel
from campaign_sync.config.field_types import Credential, EmailAddress, Key, Text, UiUrl, Whole


class EmailSettings(ConfigModel):
    """Alarms by mail."""

    host: Text
    """The mail server that sends them."""
    port: Whole = Field(default=587, ge=1, le=65535)
    """Its port."""
    security: Literal["starttls", "tls", "none"] = "starttls"
    """`starttls`, `tls` from the first byte (port 465), or `none` for a server on this machine."""
    username: Credential | None = None
    """Name of the user; left out if the server needs no login."""
    password: Credential | None = None
    """Password of the user."""
    sender: EmailAddress
    """Sender of the mails."""
    to: list[EmailAddress] = Field(min_length=1)
    """Recipients of the mails, unless a mandator has its own in alarms_to."""

    @model_validator(mode="after")
    def _check_credentials(self) -> Self:
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password go together")
        if self.password is not None and self.security == "none":
            raise ValueError("a password isn't sent without encryption; use security starttls or tls")
        return self


class WebhookSettings(ConfigModel):
    """Alarms to a URL."""

    url: Credential
    """Where they are posted. The URL itself is a credential."""
    format: Literal["teams", "slack", "json"] = "json"
    """`teams` for a workflow of Microsoft Teams, `slack` for an incoming webhook of Slack, or plain JSON."""
    template: dict[str, Any] | None = None
    """JSON of your own instead; {headline}, {text}, {since}, … in its texts are replaced."""

    @model_validator(mode="after")
    def _check_template_format(self) -> Self:
        if self.template is not None and self.format != "json":
            raise ValueError("template is for format json; leave one of them out")
        return self


class AppriseSettings(ConfigModel):
    """Alerts through Apprise."""

    url: Credential
    """A URL of Apprise, which contains the service's credentials."""
    mandators: list[Key] = Field(default_factory=list)
    """The mandators whose alerts are sent there; all where left out."""


class AlarmSettings(ConfigModel):
    """The channels for notices of incidents. These are always logged as well."""

    email: EmailSettings | None = None
    """Alarms by mail."""
    webhooks: dict[Key, WebhookSettings] = Field(default_factory=dict)
    """Alarms to URLs, by a name of your choice."""
    apprise: dict[Key, AppriseSettings] = Field(default_factory=dict)
    """Alerts to services that Apprise knows, by a name of your choice."""
    heartbeat_url: Credential | None = None
    """Requested every minute in which alarms work; a receiver outside alerts people when that stays away."""
    ui_url: UiUrl | None = None
    """Where people open Dagster's UI, for the links in alarms."""
