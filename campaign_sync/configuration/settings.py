"""The sections of the configuration as frozen models."""

from dataclasses import replace
from datetime import UTC, timedelta, tzinfo
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from campaign_sync.configuration.values import (
    BaseUrl,
    Column,
    Credential,
    CronExpression,
    DatabaseUrl,
    Duration,
    EmailAddress,
    Key,
    Number,
    StateUrl,
    Text,
    TimeFormat,
    TimeZoneName,
    VendorId,
    Whole,
)
from campaign_sync.domain.feedback import KIND_OF_READER, OUT_BOUNCES, RESPONSES, FeedbackKind
from campaign_sync.domain.feedback_age import AgeLimits
from campaign_sync.domain.layout import Layout
from campaign_sync.domain.limits import SizeLimits
from campaign_sync.domain.recipient import TechnicalField
from campaign_sync.domain.response import KIND_OF_RESPONSE_READER

_STATE_URL = "sqlite:///.campaign_sync/state.db"

ReaderName = Literal["getOutBounces", "getUnsubscribes", "getMailingUnsubscribes", "getResponses"]
"""The vendor's closed-loop operations that tell of people who left or can't be reached."""

ResponseReaderName = Literal["getOpens", "getClicks", "getResponses"]
"""The vendor's closed-loop operations that tell what recipients did with a mailing."""


Strategy = Literal["clear_refill", "differential", "shadow_then_refill"]
"""The ways of replacing a list."""


class Section(BaseModel):
    """Unknown keys are refused, nothing changes later, and no error shows what was written: it may be a secret."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True)


class OptimizelySettings(Section):
    """How to reach Optimizely Campaign."""

    base_url: BaseUrl
    """Address of the SOAP API up to and without `/Rpc<Service>`, like https://api.campaign.episerver.net/soap11."""
    batch_size: Whole = Field(default=1000, ge=1, le=1000)
    """Recipients sent with one call; the vendor takes at most 1000."""
    parallel_calls: Whole = Field(default=4, ge=1, le=40)
    """Calls at the same time per mandator; the vendor allows 40."""
    timeout_seconds: Number = Field(default=180, gt=0)
    """How long one call may take, in seconds."""


class CrmSettings(Section):
    """How to reach the CRM."""

    adapter: Literal["sql"] = "sql"
    """The kind of CRM: `sql` for tables or views in any database SQLAlchemy can reach."""
    url: DatabaseUrl
    """SQLAlchemy URL of the CRM's database. One with a password must be {env: NAME}."""


class StorageSettings(Section):
    """Where the product keeps what is its own. Relative paths begin at the working directory."""

    frames: Text = ".campaign_sync/frames"
    """Folder or URL (s3://, gs://, abfs://) for selections, snapshots and raw feedback."""
    state_url: StateUrl = Field(
        default=SecretStr(_STATE_URL),
        json_schema_extra={"default": _STATE_URL},  # pydantic hides it, being the default of a secret
    )
    """SQLAlchemy URL of the product's own tables, SQLite or PostgreSQL. One with a password must be {env: NAME}."""


class RowSettings(Section):
    """Where rows hold what is needed, as agreed with the vendor."""

    recipient: Column = 0
    """Column with the recipient id: its position from 0, or its name in the header row."""
    time: Column | None = 1
    """Column with the time of the event; null where getOutBounces gives none."""
    category: Column | None = None
    """Column that tells hard bounces from soft ones and from other replies; getResponses needs it."""
    mailing: Column | None = None
    """Column with the id of the mailing. By it an unsubscribe is known to be about that mailing's lists."""
    header: bool | None = None
    """Whether rows begin with the columns' names; found out by itself where left out."""
    time_format: TimeFormat = "epoch_ms"
    """`epoch_ms`, `iso` or a strptime pattern."""
    timezone: TimeZoneName | None = None
    """Time zone of times that don't name theirs; the mandator's where left out."""

    @model_validator(mode="after")
    def _names_need_a_header(self) -> Self:
        if self.header is False and any(isinstance(column, str) for column in self.layout(UTC).columns.values()):
            raise ValueError("columns are named, so the rows must have a header: leave header out, or use positions")
        return self

    def layout(self, zone: tzinfo) -> Layout:
        """The domain's layout. `zone` is used where neither the times nor this section name one."""
        return Layout(
            recipient=self.recipient,
            time=self.time,
            category=self.category,
            mailing=self.mailing,
            header=self.header,
            time_format=self.time_format,
            zone=ZoneInfo(self.timezone) if self.timezone else zone,
        )


class ReaderSettings(RowSettings):
    """Where the rows of a closed-loop reader of feedback hold what is needed."""

    no_bounces: tuple[Text, ...] = ()
    """Categories of yours that are no bounces; autoresponder and unknown are known to be none."""

    files: Text | None = None
    """Which of the delivered files hold these rows, like unsubscribes_*.csv; only with feedback.files."""


class ResponseReaderSettings(RowSettings):
    """Where the rows of a closed-loop reader of responses hold what is needed."""

    time: Column = 2
    """Column with the time of the event."""
    category: Column | None = None
    """Column with the category of an answer; only of getResponses."""
    mailing: Column = 1
    """Column with the id of the mailing."""
    link: Column | None = None
    """Column with the clicked link; only of getClicks."""

    def layout(self, zone: tzinfo) -> Layout:
        """The domain's layout. `zone` is used where neither the times nor this section name one."""
        return replace(super().layout(zone), link=self.link)


class FileSettings(Section):
    """Where a job of the vendor's delivers feedback as CSV files, in place of the closed-loop readers."""

    url: Text
    """A folder, or sftp://host/folder."""
    username: Credential | None = None
    """User of the SFTP server; {env: NAME}."""
    password: Credential | None = None
    """The user's password; {env: NAME}. Better a key_file."""
    key_file: Text | None = None
    """File with the user's private key."""
    known_hosts: Text | None = None
    """File with the server's host key; ~/.ssh/known_hosts where left out."""
    separator: Literal[";", ",", "\t", "|"] | None = None
    """What separates the columns; found out by itself where left out."""


class FeedbackSettings(Section):
    """How bounces and unsubscribes are fetched."""

    readers: dict[ReaderName, ReaderSettings] = {
        "getOutBounces": ReaderSettings(),
        "getUnsubscribes": ReaderSettings(),
    }
    """The closed-loop readers to be asked, and how their rows are laid out: of bounces and of unsubscribes one each."""
    files: FileSettings | None = None
    """Delivered files to be read in place of asking the readers."""
    overlap: Duration = timedelta(hours=2)
    """How far every window reaches back into the one before, for files that came late."""
    lifetime: Duration = timedelta(days=30)
    """How long the vendor keeps feedback, 14 to 30 days. The very first import reaches back so far."""
    max_age: Duration = timedelta(hours=36)
    """How old imported feedback may be when a list is replaced."""
    schedule: CronExpression | None = None
    """When feedback is imported between the daily replaces, like "15 * * * *"; lists stay as they are."""
    audit: CronExpression | None = "0 2 * * 0"
    """When the CRM is compared with the vendor's unsubscribe list and blocklist; never where null."""
    keep_files: Duration = timedelta(days=400)
    """How long the rows are kept as they came."""

    def reader(self, name: str) -> ReaderSettings | None:
        """The settings of a reader; None where it isn't configured."""
        return {str(key): settings for key, settings in self.readers.items()}.get(name)

    @property
    def age_limits(self) -> AgeLimits:
        """How old feedback may become."""
        return AgeLimits(self.max_age, self.lifetime)

    @model_validator(mode="after")
    def _readers_are_complete(self) -> Self:
        for kind in FeedbackKind:
            names = [name for name, of in KIND_OF_READER.items() if of is kind]
            if not set(names) & set(self.readers):
                raise ValueError(f"readers has none for {kind.value}; add {' or '.join(names)}")
        for name, reader in self.readers.items():
            if name == RESPONSES and reader.category is None:
                raise ValueError(f"readers.{name} needs a category, to tell bounces from other replies")
            if reader.time is None and name != OUT_BOUNCES:
                raise ValueError(f"readers.{name} needs a time; only {OUT_BOUNCES} can do without")
            if self.files and reader.files is None:
                raise ValueError(f"readers.{name} needs files: which of the delivered files are its own")
            if reader.files and self.files is None:
                raise ValueError(f"readers.{name} names files, but files.url doesn't say where they are delivered")
        return self


class ResponseSettings(Section):
    """How opens, clicks and other responses are brought back."""

    readers: dict[ResponseReaderName, ResponseReaderSettings] = Field(min_length=1)
    """The closed-loop readers to be asked, and how their rows are laid out."""
    schedule: CronExpression | None = None
    """When they are asked, like "*/30 * * * *"; never by itself where left out."""

    def reader(self, name: str) -> ResponseReaderSettings | None:
        """The settings of a reader; None where it isn't configured."""
        return {str(key): settings for key, settings in self.readers.items()}.get(name)

    @model_validator(mode="after")
    def _readers_tell_what_they_can(self) -> Self:
        for name, reader in self.readers.items():
            known = KIND_OF_RESPONSE_READER[name].detail
            for column, place in (("link", reader.link), ("category", reader.category)):
                if place is not None and column != known:
                    teller = next(key for key, kind in KIND_OF_RESPONSE_READER.items() if kind.detail == column)
                    raise ValueError(f"readers.{name} has no {column}, only {teller} does; leave it out")
        return self


class MailingSettings(Section):
    """What mailings of a mandator have to do with replacing its lists."""

    watch: bool = True
    """Whether a list waits for mailings that use it. Off only where the account lacks the MailingWebservice."""
    quiet_before_mailing: Duration = timedelta(minutes=60)
    """How long before a mailing starts its lists aren't cleared any more."""
    max_wait: Duration = timedelta(minutes=30)
    """How long a replace waits for such a mailing before it gives up untouched."""


class SelectSettings(Section):
    """Who belongs into the list: exactly one marketing list or report of the CRM, by name."""

    marketing_list: Text | None = None
    """Name of a marketing list in the CRM."""
    report: Text | None = None
    """Name of a report in the CRM."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.marketing_list is None) == (self.report is None):
            raise ValueError("exactly one of marketing_list and report is expected")
        return self

    @property
    def kind(self) -> Literal["marketing_list", "report"]:
        """Which of the two it is."""
        return "report" if self.marketing_list is None else "marketing_list"

    @property
    def name(self) -> str:
        """Its name in the CRM."""
        return self.marketing_list or self.report or ""


class Limits(Section):
    """How large the list may be, and how far it may move in one replace."""

    min_rows: Whole = Field(default=1, ge=0)
    """Fewer rows stop the replace."""
    max_rows: Annotated[Whole, Field(ge=0)] | None = None
    """More rows stop the replace; no upper bound where left out."""
    max_shrink: Number = Field(default=0.2, ge=0, le=1)
    """Largest loss of rows as a share of the last replace: 0.2 is 20 %."""
    max_growth: Number = Field(default=0.5, ge=0)
    """Largest gain of rows as a share of the last replace: 0.5 is 50 %."""

    @model_validator(mode="after")
    def _some_size_is_allowed(self) -> Self:
        if self.max_rows is not None and self.max_rows < self.min_rows:
            raise ValueError("max_rows is smaller than min_rows, so no list could ever pass")
        return self

    def size_limits(self) -> SizeLimits:
        """The domain's limits."""
        return SizeLimits(self.min_rows, self.max_rows, self.max_shrink, self.max_growth)


class RecipientListSettings(Section):
    """One recipient list, and who belongs into it."""

    recipient_list_id: VendorId
    """The vendor's id of the list."""
    kind: Literal["regular"]
    """Kind of the list at the vendor. Only regular lists can be replaced, and the API can't tell which they are."""
    opt_in_id: Text
    """The one opt-in (advertising consent) that everybody in the list must have granted."""
    select: SelectSettings
    """Who belongs into the list."""
    attributes: dict[Text, Text] = {}
    """What is sent beside the technical fields; list attribute: CRM column."""
    technical_fields: dict[TechnicalField, Text] = {}
    """Only where a list names one differently; technical field: list attribute."""
    limits: Limits = Limits()
    """Sizes beyond which the list isn't touched."""
    strategy: Strategy = "clear_refill"
    """How the list is replaced; docs/safety.md compares the ways."""
    id_attribute: Text | None = None
    """Under which name the vendor gives out a recipient's id; `differential` needs it. The proof then covers it too."""
    max_snapshot_age: Duration = timedelta(hours=6)
    """How old a snapshot may be when it is sent."""

    @model_validator(mode="after")
    def _differences_need_ids(self) -> Self:
        if self.strategy == "differential" and self.id_attribute is None:
            raise ValueError("strategy differential needs id_attribute, to know whom to take out of the list")
        return self

    def technical_attribute(self, field: TechnicalField) -> str:
        """The list attribute that holds a technical field: the field's own name unless configured otherwise."""
        return self.technical_fields.get(field, field.value)


class MandatorSettings(Section):
    """One mandator of Optimizely Campaign (a client; a closed workspace)."""

    mandator_id: VendorId
    """The vendor's id of the mandator."""
    username: Credential
    """Name of the API user; {env: NAME}."""
    password: Credential
    """Password of the API user; {env: NAME}."""
    schedule: CronExpression | None = None
    """When the daily replace runs, as five cron fields in the mandator's time zone; never by itself where left out."""
    timezone: TimeZoneName = "Europe/Berlin"
    """Time zone of the schedule and of times in the feedback that don't name theirs."""
    feedback: FeedbackSettings = FeedbackSettings()
    """How bounces and unsubscribes are fetched."""
    responses: ResponseSettings | None = None
    """How opens, clicks and other responses are brought back; not at all where left out."""
    canary_address: EmailAddress | None = None
    """An address of yours that has unsubscribed from this mandator. By it a list shows whether it is a regular one."""
    mailings: MailingSettings = MailingSettings()
    """What mailings have to do with replacing lists."""
    lists: dict[Key, RecipientListSettings] = Field(min_length=1)
    """The recipient lists by a name of your choice (lower-case letters, digits, underscores)."""

    @property
    def zone(self) -> ZoneInfo:
        """The mandator's time zone."""
        return ZoneInfo(self.timezone)


class Configuration(Section):
    """Which recipient lists are replaced, from where, and under which conditions."""

    optimizely: OptimizelySettings
    """How to reach Optimizely Campaign."""
    crm: CrmSettings
    """How to reach the CRM."""
    storage: StorageSettings = StorageSettings()
    """Where the product keeps what is its own."""
    mandators: dict[Key, MandatorSettings] = Field(min_length=1)
    """The mandators by a name of your choice (lower-case letters, digits, underscores)."""
