"""The YAML file as typed settings. Every mistake in it is reported with its place, all at once.

`load_configuration` reads the file and returns a `Configuration`; `configuration_schema` describes it to editors. Not
here: what a setting does. The packages that use it take the settings as they are.
"""

from campaign_sync.config.alerts import AlarmSettings, AppriseSettings, EmailSettings, WebhookSettings
from campaign_sync.config.automation import AutomationSettings, CrmExportSettings
from campaign_sync.config.broken_mandators import BrokenMandator
from campaign_sync.config.crm import CrmSettings, OptInSettings
from campaign_sync.config.crm_sql import PRESETS, SqlSettings, SqlTables, SqlWriteBack, TableMapping, preset_text
from campaign_sync.config.erasure import ErasureSettings
from campaign_sync.config.json_schema import configuration_schema
from campaign_sync.config.kubernetes import KubernetesSettings
from campaign_sync.config.loader import (
    CONFIGURATION_VARIABLE,
    DEFAULT_PATH,
    ConfigurationError,
    load_configuration,
    load_crm,
)
from campaign_sync.config.models import (
    MAX_GROUPS,
    Configuration,
    Limits,
    MailingSettings,
    MandatorSettings,
    OptimizelySettings,
    RecipientListSettings,
    SmartCampaigns,
    StorageSettings,
    Strategy,
    UnsubscribeLists,
)
from campaign_sync.config.picks import ConditionSettings, PickSettings
from campaign_sync.config.readers import (
    FeedbackSettings,
    FileSettings,
    ReaderSettings,
    ResponseReaderSettings,
    ResponseSettings,
)
from campaign_sync.config.references import UnavailableError, unavailable_secrets
from campaign_sync.config.reports import ReportSettings
from campaign_sync.config.retention import RetentionSettings
from campaign_sync.config.telemetry import OtlpSettings, TelemetrySettings

__all__ = [
    "CONFIGURATION_VARIABLE",
    "DEFAULT_PATH",
    "MAX_GROUPS",
    "PRESETS",
    "AlarmSettings",
    "AppriseSettings",
    "AutomationSettings",
    "BrokenMandator",
    "ConditionSettings",
    "Configuration",
    "ConfigurationError",
    "CrmExportSettings",
    "CrmSettings",
    "EmailSettings",
    "ErasureSettings",
    "FeedbackSettings",
    "FileSettings",
    "KubernetesSettings",
    "Limits",
    "MailingSettings",
    "MandatorSettings",
    "OptInSettings",
    "OptimizelySettings",
    "OtlpSettings",
    "PickSettings",
    "ReaderSettings",
    "RecipientListSettings",
    "ReportSettings",
    "ResponseReaderSettings",
    "ResponseSettings",
    "RetentionSettings",
    "SmartCampaigns",
    "SqlSettings",
    "SqlTables",
    "SqlWriteBack",
    "StorageSettings",
    "Strategy",
    "TableMapping",
    "TelemetrySettings",
    "UnavailableError",
    "UnsubscribeLists",
    "WebhookSettings",
    "configuration_schema",
    "load_configuration",
    "load_crm",
    "preset_text",
    "unavailable_secrets",
]
