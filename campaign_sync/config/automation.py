"""The sections `automation` and `crm_export`, and the types of titles and owners."""

import re
import unicodedata
from datetime import timedelta
from pathlib import PurePath
from typing import Annotated, Self

from pydantic import AfterValidator, AliasChoices, Field, model_validator

from campaign_sync.config.base import ConfigModel
from campaign_sync.config.field_types import Duration, Name, Text

_LONGEST_TITLE = 100
_LONGEST_LEAD = timedelta(hours=20)
_WILDCARD = re.compile(r"[*?\[]")


def _title(value: str) -> str:
    if len(value) > _LONGEST_TITLE or any(unicodedata.category(character) in ("Cc", "Zl", "Zp") for character in value):
        raise ValueError(f"one line of text is expected, at most {_LONGEST_TITLE} characters")
    return value


def _owner(value: str) -> str:
    """Return an owner in the form that Dagster accepts."""
    is_address = re.fullmatch(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}", value)
    if not is_address and not re.fullmatch(r"team:\S.*", value):
        raise ValueError("an owner is an e-mail address, or a team like team:marketing")
    return value


def _marker(value: str) -> str:
    if _WILDCARD.search(str(PurePath(value).parent)):
        raise ValueError("*, ? and [ are wildcards in the name of the file only, not in that of its folder")
    return value


def _lead(value: timedelta) -> timedelta:
    if value > _LONGEST_LEAD:
        raise ValueError("at most 20h is expected; an export of the day before would start the next day otherwise")
    return value


Title = Annotated[Text, AfterValidator(_title)]
"""A display name in any script. Keys become file names and URLs, titles never do."""

Owner = Annotated[Text, AfterValidator(_owner)]
"""A person or team that is responsible for an asset."""


class CrmExportSettings(ConfigModel):
    """The sign that the CRM's nightly export is finished: exactly one of marker and table."""

    marker: Annotated[Text, AfterValidator(_marker)] | None = None
    """A file that is written last. Its modification time counts; of several matches (`done_*`) the newest."""
    table: Name | None = None
    """The export's name in the CRM's table export_log; its newest finished_at counts."""
    earliest: Annotated[Duration, AfterValidator(_lead)] = timedelta(hours=6)
    """How long before the planned time an export may start the daily run."""

    @model_validator(mode="after")
    def _check_exactly_one(self) -> Self:
        if (self.marker is None) == (self.table is None):
            raise ValueError("exactly one of marker and table is expected")
        return self


def _at_least_a_minute(value: timedelta) -> timedelta:
    if value < timedelta(minutes=1):
        raise ValueError("at least 1m is expected")
    return value


class AutomationSettings(ConfigModel):
    """The parts of the mandator's automation. A part that is off doesn't exist in Dagster."""

    repair: bool = Field(default=True, validation_alias=AliasChoices("repair", "mend"))
    """Whether a list that was left incomplete is replaced again automatically."""
    feedback_watch: bool = True
    """Whether the age of the feedback is checked between runs."""
    alarms: bool = True
    """Whether notices of incidents are sent."""
    max_runtime: Annotated[Duration, AfterValidator(_at_least_a_minute)] = timedelta(hours=4)
    """How long a run may take before Dagster ends it, because it hangs."""
