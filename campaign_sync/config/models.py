"""The sections of the configuration as frozen models."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import (
    BeforeValidator,
    Field,
    PrivateAttr,
    SecretStr,
    SerializeAsAny,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from campaign_sync.config.alerts import AlarmSettings
from campaign_sync.config.automation import AutomationSettings, CrmExportSettings, Owner, Title
from campaign_sync.config.base import ConfigModel
from campaign_sync.config.broken_mandators import BrokenMandator
from campaign_sync.config.crm import CrmSettings
from campaign_sync.config.crm_adapters import AdapterError, settings_model
from campaign_sync.config.erasure import ErasureSettings
from campaign_sync.config.field_types import (
    BaseUrl,
    CaFile,
    Credential,
    CronExpression,
    Duration,
    EmailAddress,
    Key,
    LocalFolder,
    Location,
    Name,
    Number,
    StateUrl,
    TimeZoneName,
    VendorId,
    Whole,
)
from campaign_sync.config.kubernetes import KubernetesSettings
from campaign_sync.config.picks import PickSettings
from campaign_sync.config.readers import FeedbackSettings, ResponseSettings
from campaign_sync.config.reports import ReportSettings
from campaign_sync.config.retention import RetentionSettings
from campaign_sync.config.telemetry import TelemetrySettings
from campaign_sync.domain.approval_mode import ApprovalMode
from campaign_sync.domain.message import SOURCE_LANGUAGE, Language
from campaign_sync.domain.recipient import TechnicalField
from campaign_sync.domain.size_limits import SizeLimits

MAX_CALLS = 40
"""The vendor's limit of calls at the same time per mandator."""

MAX_GROUPS = 8
"""The most groups of lists of a mandator that are replaced at the same time."""

_STATE_URL = "sqlite:///.campaign_sync/state.db"


def _refuse_removed_strategy(value: object) -> object:
    if value == "shadow_then_refill":
        raise ValueError("the strategy shadow_then_refill was removed; use clear_refill or differential")
    return value


Strategy = Literal["clear_refill", "differential"]
"""The ways to replace a list."""


SmartCampaigns = Literal["warn", "refuse"]
"""Whether a replacement goes on or is refused after it has waited `max_wait` for a running Smart Campaign."""


UnsubscribeLists = Literal["client", "per_list"]
"""Whether a mandator has a single unsubscribe list, or recipient lists may have their own."""


class OptimizelySettings(ConfigModel):
    """The connection to Optimizely Campaign."""

    base_url: BaseUrl
    """Address of the SOAP API up to and without `/Rpc<Service>`, like https://api.campaign.episerver.net/soap11."""
    batch_size: Whole = Field(default=1000, ge=1, le=1000)
    """Recipients sent with one call; the vendor takes at most 1000."""
    parallel_calls: Whole = Field(default=4, ge=1, le=MAX_CALLS)
    """Calls at the same time per mandator; the vendor allows 40."""
    timeout_seconds: Number = Field(default=180, gt=0)
    """How long one call may take, in seconds."""
    ca_file: CaFile | None = None
    """PEM file with the private CA that signed the certificate at base_url; the public CAs where left out."""


class StorageSettings(ConfigModel):
    """Where the product stores its own data. Relative paths begin at the working directory."""

    frames: Location = ".campaign_sync/frames"
    """Folder or URL (s3://, gs://, abfs://) for selections, snapshots and raw feedback."""
    state_url: StateUrl = Field(
        default=SecretStr(_STATE_URL),
        json_schema_extra={"default": _STATE_URL},  # pydantic hides defaults of secrets
    )
    """SQLAlchemy URL of the product's own tables, SQLite or PostgreSQL; one with a password only as a reference."""
    crm_copies: LocalFolder = ".campaign_sync/crm"
    """Local folder for copies of CRMs that aren't read where they are; they are personal data, and can be removed."""


class MailingSettings(ConfigModel):
    """How replacements take account of a mandator's mailings."""

    watch: bool = True
    """Whether a list waits for mailings that use it. Off only if the account lacks the MailingWebservice."""
    quiet_before_mailing: Duration = timedelta(minutes=60)
    """How long before the start of a mailing its lists aren't cleared any more."""
    max_wait: Duration = timedelta(minutes=30)
    """How long a replacement waits for such a mailing before it fails with the list unchanged."""
    smart_campaigns: SmartCampaigns = "warn"
    """What a replacement does after waiting for a Smart Campaign: go on with a warning, or refuse."""


class Limits(ConfigModel):
    """How large the list may be, how much one replacement may change it, and how much of it may be damaged."""

    min_rows: Whole = Field(default=1, ge=0)
    """Fewer rows stop the replacement."""
    max_rows: Annotated[Whole, Field(ge=0)] | None = None
    """More rows stop the replacement; no upper bound if left out."""
    max_shrink: Number = Field(default=0.2, ge=0, le=1)
    """Largest loss of rows as a share of the last replacement: 0.2 is 20 %."""
    max_growth: Number = Field(default=0.5, ge=0)
    """Largest gain of rows as a share of the last replacement: 0.5 is 50 %."""
    max_mojibake: Number = Field(default=0.05, ge=0, le=1)
    """Largest share of rows with a text that was read in a wrong encoding (KÃ¶ln); more stop the replacement."""

    @model_validator(mode="after")
    def _check_bounds(self) -> Self:
        if self.max_rows is not None and self.max_rows < self.min_rows:
            raise ValueError("max_rows is smaller than min_rows, so no list could ever pass")
        return self

    def size_limits(self) -> SizeLimits:
        """Return the limits for the domain."""
        return SizeLimits(self.min_rows, self.max_rows, self.max_shrink, self.max_growth, self.max_mojibake)


class RecipientListSettings(ConfigModel):
    """A recipient list, and the selection that belongs into it."""

    title: Title | None = None
    """The display name of the list, in any script; its key if left out."""
    owners: tuple[Owner, ...] = ()
    """Who is responsible for the list, where these aren't the mandator's owners."""
    recipient_list_id: VendorId
    """The vendor's id of the list."""
    kind: Literal["regular"]
    """Kind of the list at the vendor. Only regular lists can be replaced, and the API doesn't return the kind."""
    opt_in_id: Name
    """The opt-in (advertising consent) that everybody in the list must have granted."""
    select: PickSettings
    """The selection of the people who belong into the list."""
    exclude: tuple[PickSettings, ...] = ()
    """People who are left out of it although they are selected, and everybody with their addresses."""
    attributes: dict[Name, Name] = Field(default_factory=dict)
    """What is sent besides the technical fields; list attribute: CRM column."""
    technical_fields: dict[TechnicalField, Name] = Field(default_factory=dict)
    """Only if a list has another name for one; technical field: list attribute."""
    limits: Limits = Limits()
    """Sizes beyond which the list isn't changed."""
    strategy: Annotated[Strategy, BeforeValidator(_refuse_removed_strategy)] = "clear_refill"
    """How the list is replaced; docs/safety.md compares the strategies."""
    id_attribute: Name | None = None
    """The attribute in which the vendor returns a recipient's id, if it isn't detected automatically."""
    max_snapshot_age: Duration = timedelta(hours=6)
    """The maximum age of a snapshot when it is sent, and of a plan when it is approved."""
    approval: ApprovalMode = "first"
    """Which replacements need the approval of a plan: `first`, those of a list that was never proven and that others
    have filled; `always`; `never`."""
    priority: Whole = Field(default=0, ge=0, le=1000)
    """Lists with a higher number are replaced first; then the order of the file counts."""

    def technical_attribute(self, field: TechnicalField) -> str:
        """Return the list attribute of a technical field, by default the name of the field."""
        return self.technical_fields.get(field, field.value)

    def display_name(self, name: str) -> str:
        """Return the display name of the list, whose key in the configuration is `name`."""
        return self.title or name


class MandatorSettings(ConfigModel):
    """A mandator of Optimizely Campaign (a client; a closed workspace)."""

    mandator_id: VendorId
    """The vendor's id of the mandator."""
    username: Credential
    """Name of the API user; {env: NAME} or {file: PATH}."""
    password: Credential
    """Password of the API user; {env: NAME} or {file: PATH}."""
    title: Title | None = None
    """The display name of the mandator, in any script; its key if left out."""
    owners: tuple[Owner, ...] = ()
    """Who is responsible for its lists: e-mail addresses, or teams like team:marketing."""
    schedule: CronExpression | None = None
    """When the daily run starts, as five cron fields in the mandator's time zone; not scheduled if left out."""
    crm_export: CrmExportSettings | None = None
    """The CRM export that starts the daily run before its planned time; none if left out."""
    deadline: CronExpression | None = None
    """The deadline of the lists, as five cron fields in the mandator's time zone; by the schedule if left out."""
    automation: AutomationSettings = AutomationSettings()
    """The parts of the automation."""
    kubernetes: KubernetesSettings | None = None
    """What the pods of its runs get, where runs are pods; what all runs get if left out."""
    timezone: TimeZoneName = "Europe/Berlin"
    """Time zone of the schedule, and of times in the feedback without a zone."""
    feedback: FeedbackSettings = FeedbackSettings()
    """How bounces and unsubscribes are fetched."""
    responses: ResponseSettings | None = None
    """How opens, clicks and other responses are imported; not at all if left out."""
    canary_address: EmailAddress | None = None
    """An address of yours that has unsubscribed from this mandator. It shows whether a list is a regular one."""
    unsubscribe_lists: UnsubscribeLists = "client"
    """`per_list` if the vendor's support has set up unsubscribe lists for single recipient lists."""
    alarms_to: list[EmailAddress] = Field(default_factory=list)
    """Recipients of this mandator's alarms by mail, instead of alarms.email.to."""
    report_to: list[EmailAddress] = Field(default_factory=list)
    """Recipients of this mandator's daily report by mail."""
    mailings: MailingSettings = MailingSettings()
    """How replacements take account of mailings."""
    parallel_runs: Whole = Field(default=1, ge=1, le=MAX_GROUPS)
    """Groups of lists that the daily replacement replaces at the same time, each in a run of its own."""
    lists: dict[Key, RecipientListSettings] = Field(min_length=1)
    """The recipient lists by a name of your choice (lower-case letters, digits, underscores)."""
    _prefix: str = PrivateAttr("")
    _language: Language = PrivateAttr(SOURCE_LANGUAGE)

    @property
    def language(self) -> Language:
        """The language of its descriptions and checks in Dagster's UI."""
        return self._language

    @property
    def prefix(self) -> str:
        """What all its names in Dagster begin with, by `dagster.prefix`; empty for nothing."""
        return self._prefix

    @property
    def groups(self) -> int:
        """How many groups of lists the daily replacement begins after the feedback; 1 for everything in one run."""
        return min(self.parallel_runs, len(self.lists))

    @property
    def opt_ins_of_lists(self) -> dict[int, str]:
        """The opt-in of each recipient list, by the list's id."""
        return {settings.recipient_list_id: settings.opt_in_id for settings in self.lists.values()}

    @property
    def recipient_list_ids(self) -> dict[str, int]:
        """The vendor's id of each recipient list, by its name."""
        return {name: settings.recipient_list_id for name, settings in self.lists.items()}

    @property
    def zone(self) -> ZoneInfo:
        """The mandator's time zone."""
        return ZoneInfo(self.timezone)

    def display_name(self, name: str) -> str:
        """Return the display name of the mandator, whose key in the configuration is `name`."""
        return self.title or name


def _settings_of_adapter(section: object, validate: ValidatorFunctionWrapHandler) -> object:
    """Return the section `crm` as the settings of the adapter that it names, with the places of all its errors."""
    if not isinstance(section, dict):
        return validate(section)
    try:
        model = settings_model(section)
    except AdapterError as error:
        problem = PydanticCustomError("value_error", "{error}", {"error": str(error)})
    else:
        return model.model_validate(section)
    raise ValidationError.from_exception_data(
        "crm", [InitErrorDetails(type=problem, loc=("adapter",), input=None)], hide_input=True
    )


class CrmSection(ConfigModel):
    """The section `crm` of a file that has nothing else yet."""

    crm: Annotated[SerializeAsAny[CrmSettings], WrapValidator(_settings_of_adapter)]
    """The connection to the CRM."""


class DagsterSettings(ConfigModel):
    """What the product is called in Dagster."""

    prefix: Key | None = None
    """What the names of assets, groups, jobs, schedules and sensors begin with; nothing if left out."""


class Configuration(ConfigModel):
    """The whole configuration file."""

    optimizely: OptimizelySettings
    """The connection to Optimizely Campaign."""
    crm: Annotated[SerializeAsAny[CrmSettings], WrapValidator(_settings_of_adapter)]
    """The connection to the CRM."""
    storage: StorageSettings = StorageSettings()
    """Where the product stores its own data."""
    alarms: AlarmSettings = AlarmSettings()
    """The channels for notices of incidents."""
    telemetry: TelemetrySettings = TelemetrySettings()
    """Where spans and metrics are sent; nowhere if left out."""
    language: Language = SOURCE_LANGUAGE
    """The language of alarms, and of descriptions and checks in Dagster's UI."""
    reports: ReportSettings = ReportSettings()
    """The daily report of each mandator."""
    retention: RetentionSettings = RetentionSettings()
    """How long what only grows is kept."""
    erasure: ErasureSettings = ErasureSettings()
    """How people who were erased stay suppressed."""
    dagster: DagsterSettings = DagsterSettings()
    """What the product is called in Dagster."""
    mandators: dict[Key, MandatorSettings] = Field(min_length=1)
    """The mandators by a name of your choice (lower-case letters, digits, underscores)."""

    @property
    def prefix(self) -> str:
        """What all names in Dagster begin with; empty for nothing."""
        return self.dagster.prefix or ""

    def model_post_init(self, _: object) -> None:
        """Let every mandator know the prefix and the language."""
        for settings in self.mandators.values():
            settings._prefix, settings._language = self.prefix, self.language

    _broken_mandators: Mapping[str, BrokenMandator] = PrivateAttr(default_factory=dict)

    @property
    def broken_mandators(self) -> Mapping[str, BrokenMandator]:
        """The mandators in the file that aren't among `mandators`, because their settings have mistakes."""
        return self._broken_mandators


class SoundMandators(Configuration):
    """A configuration without the mandators that are broken, perhaps all of them."""

    mandators: dict[Key, MandatorSettings]

    @classmethod
    def of(cls, value: dict[str, object], broken: Mapping[str, BrokenMandator]) -> Self:
        """Return the configuration with the value of a file without its broken mandators."""
        configuration = cls.model_validate(value)
        configuration._broken_mandators = broken
        return configuration
