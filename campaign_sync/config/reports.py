"""The section of the configuration on daily reports."""

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator

from campaign_sync.config.base import ConfigModel
from campaign_sync.config.field_types import Duration

Language = Literal["de", "en"]
"""The languages that reports are written in."""


def _each_once(languages: tuple[Language, ...]) -> tuple[Language, ...]:
    return tuple(dict.fromkeys(languages))


class ReportSettings(ConfigModel):
    """The daily report of each mandator: pages for people who send mailings."""

    languages: Annotated[tuple[Language, ...], AfterValidator(_each_once)] = ("de", "en")
    """Languages it is written in; an empty list for no reports."""
    keep: Duration = timedelta(days=400)
    """How long the page of a day is kept."""
