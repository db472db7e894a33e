"""One replace, as a process of the nursery does it: put together as in production, and perhaps killed on the way."""

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal
from unittest.mock import patch

from campaign_sync.crm.sql.adapter import SqlCrm
from campaign_sync.optimizely import session
from campaign_sync.optimizely.client import connect
from campaign_sync.optimizely.service_definition import ServiceDefinition
from campaign_sync.replacement.errors import IncompleteListError, ReplacementRefusedError
from campaign_sync.replacement.list_replacer import ListReplacer
from campaign_sync.replacement.list_settings import ListSettings
from campaign_sync.sandbox.wsdl import SERVICES, wsdl
from campaign_sync.storage.files import FileStorage
from campaign_sync.storage.state import State
from campaign_sync_tests.faults.kill_points import Points, watched

Verdict = Literal["proven", "refused", "incomplete"]


def _wsdl(service: str, _url: str) -> bytes:
    return wsdl(service, "in0")


_CONTRACTS = {service: ServiceDefinition(service, "http://vendor", partial(_wsdl, service)) for service in SERVICES}
"""Every service's WSDL, read before any replace begins: reading them takes a fifth of its time."""


@dataclass(frozen=True)
class Errand:
    """A replace that is to be done."""

    settings: ListSettings
    mandator_id: int
    login: tuple[str, str]
    base_url: str
    crm_url: str
    state_url: str
    frames: Path
    run_id: str
    report: Path
    """Where to say how it went."""
    kill_at: str | None


@dataclass(frozen=True)
class Report:
    """How a replace went whose process wasn't killed."""

    verdict: Verdict
    told: str
    points: tuple[str, ...]
    resumed: bool = False

    @classmethod
    def read(cls, path: Path) -> "Report":
        """The report in a file."""
        values = json.loads(path.read_text())
        return cls(**{**values, "points": tuple(values["points"])})


def run(errand: Errand) -> None:
    """Replace the list, and report. Whatever isn't a verdict on the list is raised."""
    points = Points(errand.kill_at)
    with watched(points), patch.object(session, "ServiceDefinition", lambda service, *_: _CONTRACTS[service]):
        try:
            resumed = _replace(errand)
        except (ReplacementRefusedError, IncompleteListError) as error:
            verdict: Verdict = "refused" if isinstance(error, ReplacementRefusedError) else "incomplete"
            report = Report(verdict, str(error), tuple(points.passed))
        else:
            report = Report("proven", "", tuple(points.passed), resumed)
    errand.report.write_text(json.dumps(vars(report)))


def _replace(errand: Errand) -> bool:
    with (
        State(errand.state_url) as state,
        connect(errand.base_url, errand.mandator_id, *errand.login, parallel_calls=1) as vendor,
    ):
        crm = SqlCrm(errand.crm_url)
        crm.check()
        replacer = ListReplacer(vendor, crm, state, FileStorage(str(errand.frames)), errand.run_id)
        return replacer.replace(errand.settings).resumed
