"""Mandators whose settings can't be used, while those of others can."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Self
from zoneinfo import ZoneInfo

from pydantic import Field, ValidationError

from campaign_sync.config.automation import AutomationSettings, Owner, Title
from campaign_sync.config.base import ConfigModel
from campaign_sync.config.field_types import CronExpression, EmailAddress, TimeZoneName

FALLBACK_SCHEDULE = "0 6 * * *"
"""When the daily run of a broken mandator is reported as skipped if its schedule can't be read."""


class BrokenMandator(ConfigModel):
    """What can be read of a mandator whose settings have mistakes: what its alarms and its schedule need."""

    problems: tuple[str, ...]
    """All mistakes, each as `file:line:column dotted.path: sentence`, without values."""
    title: Title | None = None
    """See `MandatorSettings`, as the following."""
    owners: tuple[Owner, ...] = ()
    schedule: CronExpression | None = None
    timezone: TimeZoneName = "Europe/Berlin"
    alarms_to: list[EmailAddress] = Field(default_factory=list)
    automation: AutomationSettings = AutomationSettings()
    lists: tuple[str, ...] = ()
    """The keys of its lists."""

    @classmethod
    def of(cls, section: object, problems: Iterable[str]) -> Self:
        """Return what can be read of a section of `mandators`, value by value."""
        problems = tuple(problems)
        given = dict(section) if isinstance(section, dict) else {}
        given["lists"] = tuple(given["lists"]) if isinstance(given.get("lists"), dict) else ()
        for misspelled in get_close_matches("schedule", given, n=1, cutoff=0.8):
            given["schedule"] = given[misspelled]
        keys = [name for name in cls.model_fields if name != "problems" and name in given]
        readable = {name: given[name] for name in keys if cls._is_valid({"problems": problems, name: given[name]})}
        if given.get("schedule") is not None and "schedule" not in readable:
            readable["schedule"] = FALLBACK_SCHEDULE
        return cls.model_validate({"problems": problems, **readable})

    @classmethod
    def _is_valid(cls, values: dict[str, object]) -> bool:
        try:
            cls.model_validate(values)
        except ValidationError:
            return False
        return True

    @property
    def zone(self) -> ZoneInfo:
        """The mandator's time zone."""
        return ZoneInfo(self.timezone)

    def display_name(self, name: str) -> str:
        """Return the display name of the mandator, whose key in the configuration is `name`."""
        return self.title or name
