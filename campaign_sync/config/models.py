"""The sections of the configuration as frozen models."""

from datetime import timedelta
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, Field, SecretStr, model_validator

from campaign_sync.config.alerts import AlarmSettings
from campaign_sync.config.automation import AutomationSettings, CrmExportSettings, Owner, Title
from campaign_sync.config.base import ConfigModel
from campaign_sync.config.field_types import (
    BaseUrl,
    CaFile,
    Credential,
    CronExpression,
    DatabaseUrl,
    Duration,
    EmailAddress,
    Key,
    Location,
    Name,
    Number,
    StateUrl,
    TimeZoneName,
    VendorId,
    Whole,
)
from campaign_sync.config.readers import FeedbackSettings, ResponseSettings
from campaign_sync.config.reports import ReportSettings
from campaign_sync.config.telemetry import TelemetrySettings
from campaign_sync.domain.consent import STANDARD_WORDS, ConsentWords, normalize_word
from campaign_sync.domain.recipient import TechnicalField
from campaign_sync.domain.size_limits import SizeLimits

_STATE_URL = "sqlite:///.campaign_sync/state.db"


def _refuse_removed_strategy(value: object) -> object:
    if value == "shadow_then_refill":
        raise ValueError("the strategy shadow_then_refill was removed; use clear_refill or differential")
    return value


Strategy = Literal["clear_refill", "differential"]
"""The ways of replacing a list."""


SmartCampaigns = Literal["warn", "refuse"]
"""What a Smart Campaign that is being sent does to a replace that has waited for it long enough."""


UnsubscribeLists = Literal["client", "per_list"]
"""Whether a mandator has one unsubscribe list, or some of its recipient lists have their own."""


class OptimizelySettings(ConfigModel):
    """How to reach Optimizely Campaign."""

    base_url: BaseUrl
    """Address of the SOAP API up to and without `/Rpc<Service>`, like https://api.campaign.episerver.net/soap11."""
    batch_size: Whole = Field(default=1000, ge=1, le=1000)
    """Recipients sent with one call; the vendor takes at most 1000."""
    parallel_calls: Whole = Field(default=4, ge=1, le=40)
    """Calls at the same time per mandator; the vendor allows 40."""
    timeout_seconds: Number = Field(default=180, gt=0)
    """How long one call may take, in seconds."""
    ca_file: CaFile | None = None
    """PEM file with the private CA that signed the certificate at base_url; the public CAs where left out."""


class ConsentKindSettings(ConfigModel):
    """The CRM's own words for what happens to a consent; granted, confirmed and withdrawn are always understood."""

    granted: tuple[Name, ...] = ()
    """Words that grant a consent."""
    withdrawn: tuple[Name, ...] = ()
    """Words that withdraw one."""
    ignored: tuple[Name, ...] = ()
    """Words that do neither, like those for a double opt-in that isn't confirmed yet."""

    @model_validator(mode="after")
    def _one_meaning_each(self) -> Self:
        words = [normalize_word(word) for word in (*self.granted, *self.withdrawn, *self.ignored)]
        for word in words:
            if word in STANDARD_WORDS:
                raise ValueError(f"{word} has its meaning already; leave it out")
            if words.count(word) > 1:
                raise ValueError(f"{word} is declared twice; case and blanks around it don't count")
        return self

    @property
    def words(self) -> ConsentWords:
        """The domain's words."""
        return ConsentWords(
            *(frozenset(map(normalize_word, each)) for each in (self.granted, self.withdrawn, self.ignored))
        )


class CrmSettings(ConfigModel):
    """How to reach the CRM."""

    adapter: Literal["sql"] = "sql"
    """The kind of CRM: `sql` for tables or views in any database SQLAlchemy can reach."""
    url: DatabaseUrl
    """SQLAlchemy URL of the CRM's database. One with a password must be {env: NAME} or {file: PATH}."""
    consent_kinds: ConsentKindSettings = ConsentKindSettings()
    """Further words in consent_event.kind, and what they mean."""


class StorageSettings(ConfigModel):
    """Where the product keeps what is its own. Relative paths begin at the working directory."""

    frames: Location = ".campaign_sync/frames"
    """Folder or URL (s3://, gs://, abfs://) for selections, snapshots and raw feedback."""
    state_url: StateUrl = Field(
        default=SecretStr(_STATE_URL),
        json_schema_extra={"default": _STATE_URL},  # pydantic hides it, being the default of a secret
    )
    """SQLAlchemy URL of the product's own tables, SQLite or PostgreSQL; one with a password only as a reference."""


class MailingSettings(ConfigModel):
    """What mailings of a mandator have to do with replacing its lists."""

    watch: bool = True
    """Whether a list waits for mailings that use it. Off only where the account lacks the MailingWebservice."""
    quiet_before_mailing: Duration = timedelta(minutes=60)
    """How long before a mailing starts its lists aren't cleared any more."""
    max_wait: Duration = timedelta(minutes=30)
    """How long a replace waits for such a mailing before it gives up untouched."""
    smart_campaigns: SmartCampaigns = "warn"
    """What a replace does once it has waited so long for a Smart Campaign: go on with a warning, or refuse."""


class SelectSettings(ConfigModel):
    """Who belongs into the list: exactly one marketing list or report of the CRM, by name."""

    marketing_list: Name | None = None
    """Name of a marketing list in the CRM."""
    report: Name | None = None
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


class Limits(ConfigModel):
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


class RecipientListSettings(ConfigModel):
    """One recipient list, and who belongs into it."""

    title: Title | None = None
    """What people call the list, in any script; its name where left out."""
    recipient_list_id: VendorId
    """The vendor's id of the list."""
    kind: Literal["regular"]
    """Kind of the list at the vendor. Only regular lists can be replaced, and the API can't tell which they are."""
    opt_in_id: Name
    """The one opt-in (advertising consent) that everybody in the list must have granted."""
    select: SelectSettings
    """Who belongs into the list."""
    attributes: dict[Name, Name] = Field(default_factory=dict)
    """What is sent beside the technical fields; list attribute: CRM column."""
    technical_fields: dict[TechnicalField, Name] = Field(default_factory=dict)
    """Only where a list names one differently; technical field: list attribute."""
    limits: Limits = Limits()
    """Sizes beyond which the list isn't touched."""
    strategy: Annotated[Strategy, BeforeValidator(_refuse_removed_strategy)] = "clear_refill"
    """How the list is replaced; docs/safety.md compares the ways."""
    id_attribute: Name | None = None
    """Under which name the vendor gives out a recipient's id, where it is none that is found out by itself."""
    max_snapshot_age: Duration = timedelta(hours=6)
    """How old a snapshot may be when it is sent."""

    def technical_attribute(self, field: TechnicalField) -> str:
        """The list attribute that holds a technical field: the field's own name unless configured otherwise."""
        return self.technical_fields.get(field, field.value)

    def display_name(self, name: str) -> str:
        """What people call the list, whose key in the configuration is `name`."""
        return self.title or name


class MandatorSettings(ConfigModel):
    """One mandator of Optimizely Campaign (a client; a closed workspace)."""

    mandator_id: VendorId
    """The vendor's id of the mandator."""
    username: Credential
    """Name of the API user; {env: NAME} or {file: PATH}."""
    password: Credential
    """Password of the API user; {env: NAME} or {file: PATH}."""
    title: Title | None = None
    """What people call the mandator, in any script; its name where left out."""
    owners: tuple[Owner, ...] = ()
    """Who looks after its lists: e-mail addresses, or teams like team:marketing."""
    schedule: CronExpression | None = None
    """When the daily replace runs, as five cron fields in the mandator's time zone; never by itself where left out."""
    crm_export: CrmExportSettings | None = None
    """What starts the day before its planned time; nothing does where left out."""
    deadline: CronExpression | None = None
    """By when the lists must be there, as five cron fields in the mandator's time zone; by the schedule if left out."""
    automation: AutomationSettings = AutomationSettings()
    """What of the automation is there."""
    timezone: TimeZoneName = "Europe/Berlin"
    """Time zone of the schedule and of times in the feedback that don't name theirs."""
    feedback: FeedbackSettings = FeedbackSettings()
    """How bounces and unsubscribes are fetched."""
    responses: ResponseSettings | None = None
    """How opens, clicks and other responses are brought back; not at all where left out."""
    canary_address: EmailAddress | None = None
    """An address of yours that has unsubscribed from this mandator. By it a list shows whether it is a regular one."""
    unsubscribe_lists: UnsubscribeLists = "client"
    """`per_list` where the vendor's support has given recipient lists an unsubscribe list of their own."""
    alarms_to: list[EmailAddress] = Field(default_factory=list)
    """Who gets this mandator's alarms by mail, instead of alarms.email.to."""
    mailings: MailingSettings = MailingSettings()
    """What mailings have to do with replacing lists."""
    lists: dict[Key, RecipientListSettings] = Field(min_length=1)
    """The recipient lists by a name of your choice (lower-case letters, digits, underscores)."""

    @property
    def opt_ins_of_lists(self) -> dict[int, str]:
        """The opt-in of each recipient list, by the list's id."""
        return {one.recipient_list_id: one.opt_in_id for one in self.lists.values()}

    @property
    def zone(self) -> ZoneInfo:
        """The mandator's time zone."""
        return ZoneInfo(self.timezone)

    def display_name(self, name: str) -> str:
        """What people call the mandator, whose key in the configuration is `name`."""
        return self.title or name


class Configuration(ConfigModel):
    """Which recipient lists are replaced, from where, and under which conditions."""

    optimizely: OptimizelySettings
    """How to reach Optimizely Campaign."""
    crm: CrmSettings
    """How to reach the CRM."""
    storage: StorageSettings = StorageSettings()
    """Where the product keeps what is its own."""
    alarms: AlarmSettings = AlarmSettings()
    """Who is told when something is wrong."""
    telemetry: TelemetrySettings = TelemetrySettings()
    """Where spans and metrics go; nowhere where left out."""
    reports: ReportSettings = ReportSettings()
    """The daily report of each mandator."""
    mandators: dict[Key, MandatorSettings] = Field(min_length=1)
    """The mandators by a name of your choice (lower-case letters, digits, underscores)."""
