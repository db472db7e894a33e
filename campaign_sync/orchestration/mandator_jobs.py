"""The jobs of a mandator."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from campaign_sync.config import Configuration
from campaign_sync.orchestration.dagster_internals import AssetJob
from campaign_sync.orchestration.daily_replacement import daily_job
from campaign_sync.orchestration.drift_sensor import list_drift_job
from campaign_sync.orchestration.feedback_schedules import audit_job, feedback_job
from campaign_sync.orchestration.report_sensor import report_job
from campaign_sync.orchestration.responses_schedule import responses_job


@dataclass(frozen=True)
class MandatorJobs:
    """The jobs of a mandator; None for one that isn't configured."""

    daily: AssetJob
    feedback: AssetJob
    audit: AssetJob
    list_drift: AssetJob
    responses: AssetJob | None
    report: AssetJob | None

    @classmethod
    def of(cls, configuration: Configuration, mandator: str) -> Self:
        """Return the jobs of `mandator`, a key of the configuration."""
        settings = configuration.mandators[mandator]
        return cls(
            daily=daily_job(mandator, settings),
            feedback=feedback_job(mandator, settings),
            audit=audit_job(mandator, settings),
            list_drift=list_drift_job(mandator, settings),
            responses=responses_job(mandator, settings),
            report=report_job(configuration, mandator),
        )

    def __iter__(self) -> Iterator[AssetJob]:
        """Yield those that are configured."""
        return (job for job in vars(self).values() if job)
