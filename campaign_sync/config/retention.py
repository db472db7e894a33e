"""The section `retention`: how long what only grows is kept."""

from datetime import timedelta
from typing import Annotated, Self

from pydantic import AfterValidator, model_validator

from campaign_sync.config.base import ConfigModel
from campaign_sync.config.field_types import Duration

SHORTEST = timedelta(days=1)
"""What is younger may still be under way."""

SHORTEST_RUNS = timedelta(days=7)
"""Runs of the last days say what was started for a day, and what is repeated."""

SHORTEST_FRAMES = timedelta(days=120)
"""The vendor gives out its rows for 30 days, and snapshots of 90 days before say on which consents these were sent."""

SHORTEST_REPEATED = timedelta(days=60)
"""The vendor gives out the same rows for 30 days, and delivers late."""

SHORTEST_INQUIRIES = timedelta(days=30)
"""So that they can be reviewed once a month."""


def _at_least(shortest: timedelta, reason: str) -> AfterValidator:
    def check(value: timedelta) -> timedelta:
        if value < shortest:
            raise ValueError(f"at least {shortest.days}d is expected: {reason}")
        return value

    return AfterValidator(check)


_Kept = Annotated[Duration, _at_least(SHORTEST, "what is younger may still be under way")]


class RetentionSettings(ConfigModel):
    """How long what only grows is kept. The job `campaign_sync_retention` purges once a day what is older."""

    runs: Annotated[Duration, _at_least(SHORTEST_RUNS, "what was started on the last days is known from its runs")] = (
        timedelta(days=180)
    )
    """Dagster's runs, and the numbers that its pages of assets plot."""
    events: _Kept = timedelta(days=30)
    """The other events of these runs, with the results of their checks and what they printed."""
    ticks: _Kept = timedelta(days=30)
    """What sensors and schedules did, except for the newest of each."""
    frames: Annotated[
        Duration, _at_least(SHORTEST_FRAMES, "unsubscribes are attributed to consents by the snapshots of that time")
    ] = timedelta(days=1100)
    """The snapshots of lists: the evidence of who was written to on which consent."""
    feedback: _Kept = timedelta(days=400)
    """The rows of feedback and responses as they came."""
    plans: _Kept = timedelta(days=30)
    """The rows of stored plans that were never sent."""
    responses: Annotated[
        Duration,
        _at_least(SHORTEST_REPEATED, "the vendor repeats responses, and what was removed would be stored again"),
    ] = timedelta(days=400)
    """The days of the dataset of responses."""
    write_backs: Annotated[
        Duration, _at_least(SHORTEST_REPEATED, "a row that the vendor repeats is about the same consents as before")
    ] = timedelta(days=1100)
    """Which feedback led to which entry in the CRM."""
    acceptances: Annotated[
        Duration, _at_least(SHORTEST_RUNS, "what was accepted on the last days holds for runs that are repeated")
    ] = timedelta(days=1100)
    """The names of those who accepted, approved or dismissed something, and their reasons."""
    inquiries: Annotated[
        Duration, _at_least(SHORTEST_INQUIRIES, "who asked about people is questioned weeks later")
    ] = timedelta(days=400)
    """Who asked about whom."""
    reports: _Kept = timedelta(days=400)
    """The reports of single days."""

    @property
    def summary(self) -> str:
        """All limits in words."""
        return ", ".join(f"{kind} {limit / timedelta(days=1):g} days" for kind, limit in self)

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.runs < self.events:
            raise ValueError("runs is shorter than events, but events go with their run; make runs at least as long")
        return self


def refuse_former_key(section: object, key: str, retention_key: str) -> object:
    """Return another section as it is given. A ValueError says that its key `key` is a key of this section now."""
    if isinstance(section, dict) and key in section:
        raise ValueError(
            f"{key} is retention.{retention_key} now, for all mandators: move its value there, and remove it here"
        )
    return section
