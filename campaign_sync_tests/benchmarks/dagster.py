"""The cost of Dagster with many small lists: `python -m campaign_sync_tests.benchmarks.dagster [LISTS] [ROWS]`.

One mandator's daily run in one process, as `campaign-sync run` does it on its own SQLite instance, against the sandbox
in another process. All people are in the lists already, and the process is warm. Its wall time has three parts:

- waiting: time with at least one pending call to the vendor;
- work: the rest of the time within the bodies of the assets, from the first line of `translate_errors` to its last;
- orchestration: the remaining time, which exists only because of Dagster: the definitions and the instance, the run
  and its events, the opening of resources, the frames between assets, and checks and metadata as Dagster stores them.

The naive baseline does the same work without Dagster: the same functions in a loop, the same calls, gate and proof.
"""

import os
import resource
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from rich.console import Console
from rich.table import Column, Table

from campaign_sync.cli.dagster_instance import use_instance
from campaign_sync.cli.next_steps import NextSteps
from campaign_sync.cli.run import run_daily_replacement
from campaign_sync.crm.port import SELECTION_COLUMNS
from campaign_sync.domain.asset_names import AssetKind, AssetName
from campaign_sync.domain.checks import check_snapshot
from campaign_sync.domain.erasure import NO_ERASURES
from campaign_sync.domain.selection import split_by_consent
from campaign_sync.domain.snapshot import build_snapshot
from campaign_sync.domain.suppression import Suppressed
from campaign_sync.feedback.current_suppression import current_suppression
from campaign_sync.feedback.feedback_fetcher import FeedbackFetcher
from campaign_sync.feedback.pending_feedback import read_pending
from campaign_sync.feedback.write_back import FeedbackWriteBack
from campaign_sync.replacement.list_settings import list_settings
from campaign_sync.replacement.preflight_checks import check_context
from campaign_sync.replacement.selected_people import list_opt_in
from campaign_sync.telemetry.instruments import Instruments, using
from campaign_sync.telemetry.spans import asset_span, run_span
from campaign_sync_tests.benchmarks.arguments import parse_numbers
from campaign_sync_tests.benchmarks.generated_data import installation
from campaign_sync_tests.installation import ATTRIBUTES, NEWSLETTER, NORD, Installation
from campaign_sync_tests.opened import opened

GOAL_SECONDS = 15.0
"""The limit of orchestration, for 50 small lists."""


@dataclass(frozen=True)
class Measured:
    """The seconds of a run, by part."""

    wall: float
    cpu: float
    waiting: float
    work: float

    @property
    def orchestration(self) -> float:
        """The time that is neither work nor waiting."""
        return self.wall - self.waiting - self.work


@contextmanager
def many_lists(lists: int, rows: int) -> Iterator[Installation]:
    """Set up one mandator with this many lists of the same people, and the sandbox in its own process."""
    with installation(rows) as rig:
        settings = rig.list_settings()
        settings["attributes"] = {name: column for name, column in settings["attributes"].items() if name in ATTRIBUTES}
        rig.settings["mandators"]["nord"]["lists"] = {
            f"list{number:03}": settings | {"recipient_list_id": NEWSLETTER + 1000 + number} for number in range(lists)
        }
        for number in range(lists):
            rig.vendor.add_list(NORD, NEWSLETTER + 1000 + number, f"List {number}", ATTRIBUTES)
        yield rig


def _with_dagster(rig: Installation) -> None:
    with Path(os.devnull).open("w") as nowhere:
        proven = run_daily_replacement(rig.configuration, "nord", None, Console(file=nowhere), NextSteps("")).proven
    assert proven, "a list wasn't proven"


def _without(rig: Installation) -> None:
    """Call the same functions, one after the other."""
    configuration = rig.configuration
    settings = configuration.mandators["nord"]
    run_id = f"naive {time.monotonic()}"
    with run_span(run_id), opened(configuration) as resources:
        state, frames = resources.state, resources.files
        replacer = resources.replacer(run_id)
        with asset_span(run_id, AssetName("nord", AssetKind.SUPPRESSION_STATE), 1):
            fetching = FeedbackFetcher("nord", settings, resources.vendor, state, frames, run_id)
            for reader in settings.feedback.readers:
                list(fetching.fetch(reader, lambda _: None))
            pending = read_pending(state, frames, "nord", settings)
            FeedbackWriteBack("nord", resources.crm, state, frames, resources.vendor, settings.feedback).run(pending)
            with resources.crm.snapshot() as crm:
                suppressed = current_suppression(crm, state, "nord")
        for name in settings.lists:
            listed = list_settings(configuration, "nord", name)
            with asset_span(run_id, AssetName("nord", AssetKind.RECIPIENT_LIST, name), 1):
                columns = sorted(set(listed.schema.attributes.values()) - set(SELECTION_COLUMNS))
                with resources.crm.snapshot([listed.schema.opt_in_id]) as crm:
                    picked = pd.concat(crm.select(listed.pick, listed.schema.opt_in_id, columns), ignore_index=True)
                    selected = split_by_consent(picked, Suppressed.of(suppressed, listed.schema.opt_in_id, NO_ERASURES))
                    state.rejections.record("nord", name, selected.rejections, run_id)
                    frozen = build_snapshot(selected.rows, listed.schema, list_opt_in(crm, listed))
                    around = check_context(listed, resources.vendor(), crm, state, run_id)
                assert all(outcome.passed for outcome in check_snapshot(frozen.rows, listed.schema, around))
                now = replacer.now()
                file = frames.write_frame(f"snapshots/nord/{name}", now, frozen.rows)
                state.rejections.record("nord", name, frozen.rejections, run_id)
                state.snapshots.add("nord", name, len(frozen.rows), file, run_id, now)
                assert replacer.replace(listed).proof.holds


def _seconds_of(spans: Iterable[ReadableSpan]) -> float:
    """Return the seconds in which at least one span was open."""
    total, covered = 0, 0
    for begin, end in sorted((span.start_time or 0, span.end_time or 0) for span in spans):
        total += max(0, end - max(begin, covered))
        covered = max(covered, end)
    return total / 1e9


def _measured(rig: Installation, *, dagster: bool) -> Measured:
    exporter, tracers = InMemorySpanExporter(), TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    with using(Instruments(tracers, NoOpMeterProvider())):
        before, begun = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
        (_with_dagster if dagster else _without)(rig)
        wall, after = time.monotonic() - begun, resource.getrusage(resource.RUSAGE_SELF)
    spans = exporter.get_finished_spans()
    bodies = [span for span in spans if "dagster.asset_key" in (span.attributes or {})]
    calls = [span for span in spans if "rpc.method" in (span.attributes or {})]
    waiting = _seconds_of(calls)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Measured(wall, cpu, waiting, _seconds_of([*bodies, *calls]) - waiting)


def main() -> None:
    """Measure and print."""
    lists, rows = parse_numbers(__doc__, lists=50, rows=100)
    names = ("wall, s", "waiting, s", "work, s", "orchestration, s", "CPU, s", "per list, s", "ratio")
    table = Table(Column("the day", no_wrap=True), *(Column(name, justify="right") for name in names))
    use_instance(Path(tempfile.mkdtemp(prefix="campaign-sync-dagster-")))
    with many_lists(lists, rows) as rig:
        _measured(rig, dagster=True)  # the first day, with empty lists and nothing imported
        naive = _measured(rig, dagster=False)
        run = _measured(rig, dagster=True)
    for name, measured in (("naive loop", naive), ("with Dagster", run)):
        seconds = (measured.wall, measured.waiting, measured.work, measured.orchestration, measured.cpu)
        ratio = f"{measured.wall / naive.wall:.2f}"
        table.add_row(name, *(f"{value:.1f}" for value in seconds), f"{measured.wall / lists:.3f}", ratio)
    table.title = f"{lists} lists of {rows:,} recipients in one run"
    verdict = "met" if run.orchestration < GOAL_SECONDS else "missed"
    table.caption = f"Orchestration, goal of {GOAL_SECONDS:.0f} s for 50 lists: {verdict}"
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
