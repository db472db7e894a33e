"""The YAML file as typed settings. Every mistake in it is reported with its place, all at once.

`load_configuration` is the way in; `Configuration` is what comes out; `configuration_schema` describes the file to
editors.
"""

from campaign_sync.configuration.automation import AutomationSettings, CrmExportSettings
from campaign_sync.configuration.feedback import (
    FeedbackSettings,
    FileSettings,
    ReaderSettings,
    ResponseReaderSettings,
    ResponseSettings,
)
from campaign_sync.configuration.loading import (
    CONFIGURATION_VARIABLE,
    DEFAULT_PATH,
    ConfigurationError,
    load_configuration,
)
from campaign_sync.configuration.schema import configuration_schema
from campaign_sync.configuration.settings import (
    Configuration,
    CrmSettings,
    Limits,
    MailingSettings,
    MandatorSettings,
    OptimizelySettings,
    RecipientListSettings,
    SelectSettings,
    StorageSettings,
    Strategy,
)

__all__ = [
    "CONFIGURATION_VARIABLE",
    "DEFAULT_PATH",
    "AutomationSettings",
    "Configuration",
    "ConfigurationError",
    "CrmExportSettings",
    "CrmSettings",
    "FeedbackSettings",
    "FileSettings",
    "Limits",
    "MailingSettings",
    "MandatorSettings",
    "OptimizelySettings",
    "ReaderSettings",
    "RecipientListSettings",
    "ResponseReaderSettings",
    "ResponseSettings",
    "SelectSettings",
    "StorageSettings",
    "Strategy",
    "configuration_schema",
    "load_configuration",
]
