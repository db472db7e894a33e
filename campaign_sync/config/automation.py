"""The sections about what happens by itself, and what people call things."""

import re
import unicodedata
from datetime import timedelta
from pathlib import PurePath
from typing import Annotated, Self

from pydantic import AfterValidator, model_validator

from campaign_sync.config.base import ConfigModel
from campaign_sync.config.field_types import Duration, Name, Text

_LONGEST_TITLE = 100
_LONGEST_LEAD = timedelta(hours=20)
_IN_A_NAME_ONLY = re.compile(r"[*?\[]")


def _title(value: str) -> str:
    if len(value) > _LONGEST_TITLE or any(unicodedata.category(character) in ("Cc", "Zl", "Zp") for character in value):
        raise ValueError(f"one line of text is expected, at most {_LONGEST_TITLE} characters")
    return value


def _owner(value: str) -> str:
    """What Dagster takes for an owner."""
    is_address = re.fullmatch(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}", value)
    if not is_address and not re.fullmatch(r"team:\S.*", value):
        raise ValueError("an owner is an e-mail address, or a team like team:marketing")
    return value


def _marker(value: str) -> str:
    if _IN_A_NAME_ONLY.search(str(PurePath(value).parent)):
        raise ValueError("*, ? and [ stand for other characters in a file's name only, not in its folder's")
    return value


def _lead(value: timedelta) -> timedelta:
    if value > _LONGEST_LEAD:
        raise ValueError("at most 20h is expected; an export of the day before would start the next day otherwise")
    return value


Title = Annotated[Text, AfterValidator(_title)]
"""What people call something, in any script; names become file names and URLs, titles never do."""

Owner = Annotated[Text, AfterValidator(_owner)]
"""Who looks after something."""


class CrmExportSettings(ConfigModel):
    """By what the CRM tells that its nightly export is finished: exactly one of marker and table."""

    marker: Annotated[Text, AfterValidator(_marker)] | None = None
    """A file that is written last; its modification time counts, of several matches (`done_*`) the newest."""
    table: Name | None = None
    """The export's name in the CRM's table export_log; its newest finished_at counts."""
    earliest: Annotated[Duration, AfterValidator(_lead)] = timedelta(hours=6)
    """How long before the planned time such an export starts the day."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.marker is None) == (self.table is None):
            raise ValueError("exactly one of marker and table is expected")
        return self


class AutomationSettings(ConfigModel):
    """What of the mandator's automation is there. Off means that Dagster doesn't have it at all."""

    mend: bool = True
    """Whether a replace that broke off is taken up by itself."""
    feedback_watch: bool = True
    """Whether somebody looks how old the feedback has become while nothing runs."""
    alarms: bool = True
    """Whether people are told what is wrong."""
