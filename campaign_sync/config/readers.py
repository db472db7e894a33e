"""The sections `feedback` and `responses`: what the vendor returns, and how it is read."""

from dataclasses import replace
from datetime import UTC, timedelta, tzinfo
from typing import Literal, Self
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator

from campaign_sync.config.base import ConfigModel
from campaign_sync.config.field_types import (
    Column,
    Credential,
    CronExpression,
    Duration,
    Location,
    Text,
    TimeFormat,
    TimeZoneName,
)
from campaign_sync.config.retention import refuse_former_key
from campaign_sync.domain.feedback import (
    MAILING_UNSUBSCRIBES,
    OUT_BOUNCES,
    READER_KINDS,
    RESPONSES,
    FeedbackKind,
)
from campaign_sync.domain.feedback_age import LONGEST_LIFETIME, SHORTEST_LIFETIME, AgeLimits
from campaign_sync.domain.feedback_rows import Layout
from campaign_sync.domain.response import RESPONSE_READER_KINDS

ReaderName = Literal["getOutBounces", "getUnsubscribes", "getMailingUnsubscribes", "getResponses"]
"""The vendor's closed-loop operations that return bounces and unsubscribes."""

ResponseReaderName = Literal["getOpens", "getClicks", "getResponses"]
"""The vendor's closed-loop operations that return responses to mailings."""


class RowSettings(ConfigModel):
    """The columns of rows, as agreed with the vendor."""

    recipient: Column = 0
    """Column with the recipient id: its position from 0, or its name in the header row."""
    time: Column | None = 1
    """Column with the time of the event; null if getOutBounces returns none."""
    category: Column | None = None
    """Column that distinguishes hard bounces, soft bounces and other replies; getResponses needs it."""
    mailing: Column | None = None
    """Column with the id of the mailing; for getMailingUnsubscribes 1, with the time in 2, if both are left out."""
    opt_in_id: Column | None = None
    """Column with the list field opt-in-id, if the vendor adds it to the rows: the only consent that is affected."""
    entity_type: Column | None = None
    """Column with the list field entity-type, likewise; with entity_id it names the record of the CRM."""
    entity_id: Column | None = None
    """Column with the list field entity-id, likewise."""
    header: bool | None = None
    """Whether the rows begin with a header; detected automatically if left out."""
    time_format: TimeFormat = "epoch_ms"
    """`epoch_ms`, `iso` or a strptime pattern."""
    timezone: TimeZoneName | None = None
    """Time zone of times without a zone; the mandator's if left out."""

    @model_validator(mode="after")
    def _check_header(self) -> Self:
        if self.header is False and any(isinstance(column, str) for column in self.layout(UTC).columns.values()):
            raise ValueError("columns are named, so the rows must have a header: leave header out, or use positions")
        return self

    def layout(self, zone: tzinfo) -> Layout:
        """Return the layout for the domain. `zone` applies if neither the times nor this section have one."""
        return Layout(
            recipient=self.recipient,
            time=self.time,
            category=self.category,
            mailing=self.mailing,
            header=self.header,
            time_format=self.time_format,
            zone=ZoneInfo(self.timezone) if self.timezone else zone,
            opt_in_id=self.opt_in_id,
            entity_type=self.entity_type,
            entity_id=self.entity_id,
        )


class ReaderSettings(RowSettings):
    """The rows of a closed-loop reader of feedback."""

    no_bounces: tuple[Text, ...] = ()
    """Your own categories that are no bounces, besides autoresponder and unknown."""

    files: Text | None = None
    """The delivered files with these rows, like unsubscribes_*.csv; only with feedback.files."""


class ResponseReaderSettings(RowSettings):
    """The rows of a closed-loop reader of responses."""

    time: Column = 2
    """Column with the time of the event."""
    category: Column | None = None
    """Column with the category of an answer; only for getResponses."""
    mailing: Column = 1
    """Column with the id of the mailing."""
    link: Column | None = None
    """Column with the clicked link; only for getClicks."""

    def layout(self, zone: tzinfo) -> Layout:
        """Return the layout for the domain. `zone` applies if neither the times nor this section have one."""
        return replace(super().layout(zone), link=self.link)


class FileSettings(ConfigModel):
    """Where an export job of the vendor delivers feedback as CSV files, in place of the closed-loop readers."""

    url: Location
    """A folder, or sftp://host/folder."""
    username: Credential | None = None
    """User of the SFTP server; {env: NAME} or {file: PATH}."""
    password: Credential | None = None
    """The user's password; {env: NAME} or {file: PATH}. A key_file is better."""
    key_file: Text | None = None
    """File with the user's private key."""
    known_hosts: Text | None = None
    """File with the server's host key; ~/.ssh/known_hosts if left out."""
    separator: Literal[";", ",", "\t", "|"] | None = None
    """The separator of the columns; detected automatically if left out."""


def _default_readers() -> dict[ReaderName, ReaderSettings]:
    return {"getOutBounces": ReaderSettings(), "getUnsubscribes": ReaderSettings()}


class FeedbackSettings(ConfigModel):
    """How bounces and unsubscribes are fetched."""

    readers: dict[ReaderName, ReaderSettings] = Field(default_factory=_default_readers)
    """The closed-loop readers and the layouts of their rows, with at least one each for bounces and unsubscribes."""
    files: FileSettings | None = None
    """Delivered files that are read in place of calling the readers."""
    overlap: Duration = timedelta(hours=2)
    """How far each window overlaps the previous one, for files that arrive late."""
    lifetime: Duration = timedelta(days=30)
    """How long the vendor keeps feedback, 14 to 30 days. The very first import covers all of it."""
    max_age: Duration = timedelta(hours=36)
    """The maximum age of imported feedback when a list is replaced."""
    schedule: CronExpression | None = None
    """When feedback is imported between the daily runs, like "15 * * * *"; lists aren't changed."""
    audit: CronExpression | None = "0 2 * * 0"
    """When the CRM is compared with the vendor's unsubscribe list and blocklist; never if null."""

    @property
    def readers_by_name(self) -> dict[str, ReaderSettings]:
        """The settings of the readers by name."""
        return {str(name): settings for name, settings in self.readers.items()}

    def reader(self, name: str) -> ReaderSettings | None:
        """Return the settings of a reader; None if it isn't configured."""
        return self.readers_by_name.get(name)

    @property
    def opt_in_readers(self) -> tuple[str, ...]:
        """The readers of unsubscribes whose rows name the opt-in concerned."""
        return tuple(
            str(name)
            for name, reader in self.readers.items()
            if READER_KINDS[name] is FeedbackKind.UNSUBSCRIBES and reader.opt_in_id is not None
        )

    @property
    def age_limits(self) -> AgeLimits:
        """The limits for the age of feedback."""
        return AgeLimits(self.max_age, self.lifetime, by_files=self.files is not None)

    @model_validator(mode="before")
    @classmethod
    def _refuse_former_key(cls, value: object) -> object:
        return refuse_former_key(value, "keep_files", "feedback")

    @field_validator("lifetime")
    @classmethod
    def _check_lifetime(cls, value: timedelta) -> timedelta:
        if not SHORTEST_LIFETIME <= value <= LONGEST_LIFETIME:
            raise ValueError(
                f"the vendor keeps feedback for {SHORTEST_LIFETIME.days}d to {LONGEST_LIFETIME.days}d; set what was "
                "agreed with it, because it decides from which day on unsubscribes are lost"
            )
        return value

    @field_validator("readers", mode="before")
    @classmethod
    def _set_mailing_column(cls, value: object) -> object:
        """Set the default columns of getMailingUnsubscribes: recipient, mailing, time."""
        if not isinstance(value, dict):
            return value
        layout = value.get(MAILING_UNSUBSCRIBES)
        if not isinstance(layout, dict) or {"mailing", "time"}.intersection(layout):
            return value
        return {**value, MAILING_UNSUBSCRIBES: {**layout, "mailing": 1, "time": 2}}

    @model_validator(mode="after")
    def _check_readers(self) -> Self:
        for kind in FeedbackKind:
            names = [name for name, of in READER_KINDS.items() if of is kind]
            if not set(names) & set(self.readers):
                raise ValueError(f"readers has none for {kind.value}; add {' or '.join(names)}")
        for name, reader in self.readers.items():
            if name == RESPONSES and reader.category is None:
                raise ValueError(f"readers.{name} needs a category, to distinguish bounces from other replies")
            if reader.time is None and name != OUT_BOUNCES:
                raise ValueError(f"readers.{name} needs a time; only {OUT_BOUNCES} can do without")
            if self.files and reader.files is None:
                raise ValueError(f"readers.{name} needs files: which of the delivered files are its own")
            if reader.files and self.files is None:
                raise ValueError(f"readers.{name} names files, but files.url doesn't say where they are delivered")
        return self


class ResponseSettings(ConfigModel):
    """How opens, clicks and other responses are imported."""

    readers: dict[ResponseReaderName, ResponseReaderSettings] = Field(min_length=1)
    """The closed-loop readers and the layouts of their rows."""
    schedule: CronExpression | None = None
    """When responses are imported, like "*/30 * * * *"; not scheduled if left out."""

    def reader(self, name: str) -> ResponseReaderSettings | None:
        """Return the settings of a reader; None if it isn't configured."""
        return {str(key): settings for key, settings in self.readers.items()}.get(name)

    @model_validator(mode="after")
    def _check_columns(self) -> Self:
        for name, reader in self.readers.items():
            known = RESPONSE_READER_KINDS[name].detail
            for column, place in (("link", reader.link), ("category", reader.category)):
                if place is not None and column != known:
                    source = next(key for key, kind in RESPONSE_READER_KINDS.items() if kind.detail == column)
                    raise ValueError(f"readers.{name} has no {column}, only {source} does; leave it out")
        return self
