"""A replacement in a process of the pool: put together as in production, and killed at a point if the job says so."""

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal
from unittest.mock import patch

from campaign_sync.crm.sql.adapter import SqlCrm
from campaign_sync.optimizely import service_definition
from campaign_sync.optimizely.client import connect
from campaign_sync.optimizely.service_definition import ServiceDefinition
from campaign_sync.replacement.errors import IncompleteListError, ReplacementRefusedError
from campaign_sync.replacement.list_replacer import ListReplacer
from campaign_sync.replacement.list_settings import ListSettings
from campaign_sync.sandbox.wsdl import SERVICES, wsdl
from campaign_sync.storage.files import FileStorage
from campaign_sync.storage.state import State
from campaign_sync_tests.faults.kill_points import KillPoints, watched

Verdict = Literal["proven", "refused", "incomplete"]


def _wsdl(service: str, _url: str) -> bytes:
    return wsdl(service, "in0")


_SERVICE_DEFINITIONS = {
    service: ServiceDefinition(service, "http://vendor", partial(_wsdl, service)) for service in SERVICES
}
"""Every service's WSDL, read before any replacement begins: reading them takes a fifth of its time."""


@dataclass(frozen=True)
class ReplacementJob:
    """A replacement that is to be done."""

    settings: ListSettings
    mandator_id: int
    login: tuple[str, str]
    base_url: str
    crm_url: str
    state_url: str
    frames: Path
    run_id: str
    report: Path
    """The file to write the report to."""
    kill_at: str | None


@dataclass(frozen=True)
class Report:
    """The result of a replacement whose process wasn't killed."""

    verdict: Verdict
    message: str
    points: tuple[str, ...]
    resumed: bool = False

    @classmethod
    def read(cls, path: Path) -> "Report":
        """Return the report in a file."""
        values = json.loads(path.read_text())
        return cls(**{**values, "points": tuple(values["points"])})


def run(job: ReplacementJob) -> None:
    """Replace the list and write the report. Raise errors that say nothing about the list."""
    points = KillPoints(job.kill_at)
    served = patch.object(service_definition, "ServiceDefinition", lambda service, *_: _SERVICE_DEFINITIONS[service])
    with watched(points), served:
        try:
            resumed = _replace(job)
        except (ReplacementRefusedError, IncompleteListError) as error:
            verdict: Verdict = "refused" if isinstance(error, ReplacementRefusedError) else "incomplete"
            report = Report(verdict, str(error), tuple(points.passed))
        else:
            report = Report("proven", "", tuple(points.passed), resumed)
    job.report.write_text(json.dumps(vars(report)))


def _replace(job: ReplacementJob) -> bool:
    with (
        State(job.state_url) as state,
        connect(job.base_url, job.mandator_id, *job.login, parallel_calls=1) as vendor,
    ):
        crm = SqlCrm(job.crm_url)
        crm.check()
        replacer = ListReplacer(vendor, crm, state, FileStorage(str(job.frames)), job.run_id)
        return replacer.replace(job.settings).resumed
