"""`campaign-sync run` beside a daemon: it hands over its run and follows it."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from campaign_sync.orchestration.repair_hindrances import REPAIR_SENSOR
from campaign_sync_tests import terminal
from campaign_sync_tests.installation import ADDRESSES, NEWSLETTER
from campaign_sync_tests.scenarios.production.installation import ProductionInstallation
from campaign_sync_tests.waiting import PATIENCE

pytestmark = [pytest.mark.thorough, pytest.mark.xdist_group("production")]

RUN_ID = r"[0-9a-f-]{36}"


@pytest.fixture(autouse=True)
def _daemon_that_has_looked_at_the_lists(production: ProductionInstallation) -> None:
    production.stack.until(lambda: bool(production.stack.ticks(REPAIR_SENSOR)))


class Command:
    """A command in a process of its own, whose output is read while it runs."""

    def __init__(self, production: ProductionInstallation, *arguments: str) -> None:
        self._output = production.installation.folder / f"{'_'.join(arguments)}.txt"
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "campaign_sync", *arguments],
                cwd=production.installation.folder, env=production.stack.environment, stdout=output, stderr=output,
            )  # fmt: skip

    def has_printed(self, text: str) -> bool:
        return text in self.printed

    @property
    def printed(self) -> str:
        return " ".join(self._output.read_text("utf-8").split())


def test_a_run_is_handed_to_the_daemon_queued_behind_another_and_followed_and_goes_on_after_an_interrupt(
    production: ProductionInstallation,
) -> None:
    vendor, stack = production.installation.vendor, production.stack
    vendor.fault("addAll3", "delay", times=99, arg=PATIENCE)
    interrupted = Command(production, "run", "nord", "--list", "newsletter")
    stack.until(lambda: interrupted.has_printed("was handed to Dagster's daemon"))
    (first,) = re.findall(f"run ({RUN_ID}) was handed", interrupted.printed)
    stack.until(lambda: production.filling(first))

    interrupted.process.send_signal(signal.SIGINT)
    assert interrupted.process.wait(PATIENCE) != 0
    queued = Command(production, "run", "nord", "--list", "newsletter", "--list", "newsletter")
    stack.until(lambda: queued.has_printed(f"queued behind run {first} of nord"))
    vendor.repair()

    assert queued.process.wait(PATIENCE) == 0, queued.printed
    assert f"run {first} goes on. To end it, press Terminate on its page" in interrupted.printed
    assert stack.runs()[first]["status"] == "SUCCESS"
    assert "✓ 5 equal" in queued.printed
    assert "report: " in queued.printed
    assert production.installation.addresses(NEWSLETTER) == ADDRESSES


def test_a_list_that_fails_in_the_process_of_the_daemon_exits_with_1_and_one_sentence(
    production: ProductionInstallation,
) -> None:
    rename = "UPDATE marketing_list SET name = '{}' WHERE id = 'nord'"
    with production.installation.crm() as crm:
        crm.exec_driver_sql(rename.format("Renamed"))

    arguments = ("run", "nord", "--list", "newsletter", "--accept-size", "sale ended")
    done = terminal.run(arguments, production.installation.folder, production.stack.environment)
    with production.installation.crm() as crm:
        crm.exec_driver_sql(rename.format("Newsletter Nord"))

    assert done.returncode == 1, done.stdout + done.stderr
    (run_id,) = re.findall(f"run ({RUN_ID}) was handed", done.stdout)
    assert done.stdout.count("✗ ") == 1, done.stdout
    assert "✗ nord/newsletter_selection: " in done.stdout
    with production.installation.state() as state:
        assert state.recipient_lists.accepted_size("nord", "newsletter", run_id)


def test_a_configuration_that_the_daemon_does_not_serve_is_refused_before_anything_is_started(
    production: ProductionInstallation, tmp_path: Path
) -> None:
    before = set(production.stack.runs())
    other = tmp_path / "other.yaml"
    text = (production.installation.folder / "campaign_sync.yaml").read_text("utf-8")
    other.write_text(text.replace(str(NEWSLETTER), "4711"), "utf-8")

    environment = production.stack.environment | {"CAMPAIGN_SYNC_CONFIG": str(other)}
    done = terminal.run(("run", "nord"), production.installation.folder, environment)

    assert done.returncode == 2, done.stdout + done.stderr
    assert "serves another configuration than this command" in done.stderr
    assert [run for key, run in production.stack.runs().items() if key not in before and "nord" in run["jobName"]] == []
