"""The section `reports`: the daily reports."""

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator

from campaign_sync.config.base import ConfigModel
from campaign_sync.config.field_types import Duration

Language = Literal["de", "en"]
"""The languages of reports."""


def _unique(languages: tuple[Language, ...]) -> tuple[Language, ...]:
    return tuple(dict.fromkeys(languages))


class ReportSettings(ConfigModel):
    """The daily report of each mandator, for people who send mailings."""

    languages: Annotated[tuple[Language, ...], AfterValidator(_unique)] = ("de", "en")
    """Languages of the report; an empty list for no reports."""
    keep: Duration = timedelta(days=400)
    """How long the report of a day is kept."""
