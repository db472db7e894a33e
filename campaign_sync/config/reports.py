"""The section `reports`: the daily reports."""

from typing import Annotated

from pydantic import AfterValidator, model_validator

from campaign_sync.config.base import ConfigModel
from campaign_sync.config.retention import refuse_former_key
from campaign_sync.domain.message import Language


def _unique(languages: tuple[Language, ...]) -> tuple[Language, ...]:
    return tuple(dict.fromkeys(languages))


class ReportSettings(ConfigModel):
    """The daily report of each mandator, for people who send mailings."""

    languages: Annotated[tuple[Language, ...], AfterValidator(_unique)] = ("de", "en")
    """Languages of the report; an empty list for no reports."""

    @model_validator(mode="before")
    @classmethod
    def _refuse_former_key(cls, value: object) -> object:
        return refuse_former_key(value, "keep", "reports")
