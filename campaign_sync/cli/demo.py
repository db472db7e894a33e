"""`campaign-sync demo`: daily replacements between a pretend CRM and a pretend vendor, and questions about them.

The first one has fourteen days, thirteen of which have passed: real runs, at the time of those days. Every further one
is another day.
"""

import gc
import multiprocessing
import os
import signal
import threading
import webbrowser
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime, time, timedelta
from functools import cache
from importlib.resources import files
from io import StringIO
from itertools import repeat
from pathlib import Path
from uuid import uuid4

import dagster as dg
import time_machine
from rich.console import Console
from rich.progress import Progress
from rich.text import Text

from campaign_sync.cli.dagster_instance import use_instance
from campaign_sync.cli.dev import dagster_services
from campaign_sync.cli.error_handling import SOMETHING_FAILED, CommandError
from campaign_sync.cli.in_process_run import execute_in_process
from campaign_sync.cli.next_steps import NextSteps
from campaign_sync.cli.run import run_daily_replacement
from campaign_sync.config import Configuration, SqlSettings, load_configuration
from campaign_sync.distribution import command_line, manual_page
from campaign_sync.orchestration.asset_keys import replacement_keys
from campaign_sync.sandbox.demo_crm import DAMAGED_ON
from campaign_sync.sandbox.demo_night import UNSUBSCRIBED_ON, Night, let_pass
from campaign_sync.sandbox.demo_people import LEAVER
from campaign_sync.sandbox.server import serve
from campaign_sync.sandbox.vendor_state import VendorState
from campaign_sync.storage.database import upgrade_database
from campaign_sync.storage.private_files import folder_lock, write_atomically

FOLDER = Path(".campaign_sync/demo")

DAYS = DAMAGED_ON
"""The day that is today when the demonstration begins. One of its lists is refused."""

_CREDENTIALS = {"DEMO_USERNAME": "demo", "DEMO_PASSWORD": "demo", "DEMO_ERASURE_KEY": "demonstration" * 5}
_NEXT_STEPS = NextSteps(
    again="campaign-sync demo",
    ui="`campaign-sync demo --ui`",
    if_dead="remove .campaign_sync/demo to start the demonstration again",
)
_DAY = FOLDER / "day"
_STARTS = time(4, 30)
"""When the run of a day that has passed begins, by its mandator's clocks."""


def run_demo(console: Console, ui_port: int | None, days: int = DAYS) -> bool:
    """Simulate the next day of both mandators, the first time after those that have passed.

    A second command that is started meanwhile waits, and simulates the day after it.

    Args:
        console: shows progress and outcome.
        ui_port: where to leave the UI running, with the vendor; None for neither.
        days: how many days the first demonstration has, up to 14.

    Returns:
        Whether every list is proven but the one that is refused on purpose.
    """
    with ExitStack() as simulation:
        with console.status(f"Waiting for another `campaign-sync demo` in {FOLDER}"):
            simulation.enter_context(folder_lock(FOLDER))
        with _demonstration() as (vendor, configuration):
            night, as_intended = _simulate(console, vendor, configuration, days)
            simulation.close()
            if ui_port is None:
                _print_next_steps(console, night, days)
            else:
                _leave_running(console, ui_port)
    return as_intended


@contextmanager
def use_demo() -> Iterator[None]:
    """Let commands use the configuration, the Dagster instance and the vendor of the demonstration.

    Raises:
        CommandError: there is none yet.
    """
    if not _DAY.exists():
        raise CommandError("there is no demonstration here yet; run `campaign-sync demo` first")
    with _demonstration():
        yield


@contextmanager
def _demonstration() -> Iterator[tuple[VendorState, Configuration]]:
    """Serve the vendor, and name it, the configuration and the Dagster instance in the environment."""
    use_instance(FOLDER / "dagster")
    configuration_file = FOLDER / "campaign_sync.yaml"
    configuration_file.write_text((files("campaign_sync.sandbox") / "demo.yaml").read_text("utf-8"), "utf-8")
    with closing(VendorState(FOLDER / "sandbox.db")) as vendor, serve(vendor) as base_url:
        os.environ |= _environment(base_url, configuration_file)
        configuration = load_configuration()
        upgrade_database(configuration.storage.state_url.get_secret_value())  # the demonstration's own
        yield vendor, configuration


def _environment(base_url: str, configuration_file: Path) -> dict[str, str]:
    folder = FOLDER.resolve()
    return {
        "CAMPAIGN_SYNC_CONFIG": str(configuration_file.resolve()),
        "DEMO_OPTIMIZELY_URL": base_url,
        "DEMO_CRM_URL": f"sqlite:///{folder / 'crm.db'}",
        "DEMO_STATE_URL": f"sqlite:///{folder / 'state.db'}",
        "DEMO_FRAMES": str(folder / "frames"),
        **_CREDENTIALS,
    }


def _simulate(console: Console, vendor: VendorState, configuration: Configuration, days: int) -> tuple[Night, bool]:
    """Simulate the days that have passed, if they haven't been yet, and another one.

    A day counts as simulated from its beginning: after an interrupt, the next command goes on with the day after.

    Returns:
        The last night, and whether every list is proven but the one that is refused on purpose.
    """
    last, previous = _last_day(days)
    if last < DAYS - 1:
        last, previous = DAYS - 1, _simulate_past_days(console, vendor, configuration, last + 1, previous)
    night = Night(last + 1, datetime.now(UTC), previous)
    console.rule(f"Day {night.day}: {night.moment.astimezone():%A, %d %B %Y}")
    with console.status("A night in the CRM and at the vendor"):
        _let_pass(night, vendor, configuration)
    refused = [
        mandator
        for mandator in configuration.mandators
        if not run_daily_replacement(configuration, mandator, None, console, _NEXT_STEPS, in_process=True).proven
    ]
    return night, refused == (["sued"] if _is_damaged(night) else [])


def _simulate_past_days(
    console: Console, vendor: VendorState, configuration: Configuration, first: int, previous: datetime | None
) -> datetime:
    """Simulate the days from `first` to yesterday, each at its own time. Returns when yesterday's runs began.

    The mandators' runs are processes: clocks are set for a process as a whole, and theirs take one processor each.
    """
    zone = next(iter(configuration.mandators.values())).zone
    today = datetime.now(zone).date()
    workers = ProcessPoolExecutor(
        len(configuration.mandators),
        multiprocessing.get_context("spawn"),
        _prepare_worker,
    )
    with workers, Progress(console=console, transient=True) as progress:
        with _ignored_interrupts():  # the workers inherit that, also while they import
            for _ in configuration.mandators:
                workers.submit(_open_instance)  # they start while the CRM is made
        task = progress.add_task("", total=DAYS - first)
        for day in range(first, DAYS):
            start = datetime.combine(today - timedelta(days=DAYS - day), _STARTS, zone)
            night = Night(day, start.astimezone(UTC), previous)
            progress.update(task, description=f"{start:%A, %d %B}: {'four lists' if previous else 'a new CRM'}")
            with time_machine.travel(night.moment):
                _let_pass(night, vendor, configuration)
                proven = list(workers.map(_run_in_the_past, configuration.mandators, repeat(night.moment)))
            if not all(proven):
                raise CommandError(
                    f"a list of the demonstration wasn't proven on day {day}; remove {FOLDER} to start it again",
                    SOMETHING_FAILED,
                )
            previous = night.moment
            progress.advance(task)
    return previous or datetime.now(UTC)


def _run_in_the_past(mandator: str, moment: datetime) -> bool:
    """Run the daily job of a mandator at a time that has passed. Returns whether it succeeded. Runs in a worker."""
    configuration, unseen = load_configuration(), Console(file=StringIO())
    keys = replacement_keys(mandator, list(configuration.mandators[mandator].lists), prefix=configuration.prefix)
    with time_machine.travel(moment):
        result = execute_in_process(
            _instance(), configuration, mandator, keys, unseen, _NEXT_STEPS, run_id=str(uuid4())
        )
    proven = result.success
    del result
    gc.collect()
    gc.freeze()  # what remains lives as long as the worker
    return proven


@contextmanager
def _ignored_interrupts() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _prepare_worker() -> None:
    """Let the command alone end on Ctrl-C, and search for garbage between the days only: a tenth of their time."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_command, daemon=True).start()
    gc.disable()


def _end_with_command() -> None:
    """End this worker once the command is gone, however it ended: nothing else would end it."""
    if command := multiprocessing.parent_process():
        command.join()
        os._exit(SOMETHING_FAILED)


def _open_instance() -> None:
    _instance()


@cache
def _instance() -> dg.DagsterInstance:
    """Return Dagster's instance, which a worker opens once."""
    return dg.DagsterInstance.get()


def _last_day(days: int) -> tuple[int, datetime | None]:
    """Return the newest day that was simulated, and when its runs began; before the first of `days`, None."""
    if not _DAY.exists():
        return DAYS - days, None
    day, _, moment = _DAY.read_text().partition(" ")
    try:
        return int(day), datetime.fromisoformat(moment)
    except ValueError:
        raise CommandError(f"{FOLDER} is of another version; remove it to start the demonstration again") from None


def _let_pass(night: Night, vendor: VendorState, configuration: Configuration) -> None:
    crm = configuration.crm
    if not isinstance(crm, SqlSettings):
        raise CommandError("the demonstration's CRM is a SQL database; start it without a configuration of yours")
    credentials = (_CREDENTIALS["DEMO_USERNAME"], _CREDENTIALS["DEMO_PASSWORD"])
    let_pass(night, crm.url.get_secret_value(), vendor, configuration, credentials)
    write_atomically(_DAY, f"{night.day} {night.moment.isoformat()}".encode())


def _leave_running(console: Console, port: int) -> None:
    url = f"http://127.0.0.1:{port}"
    with dagster_services(port) as services:
        address = f"{url}/locations/__repository__@campaign_sync.definitions/asset-groups/sued"
        console.print(
            f"\nDagster's UI is at {address} in a few seconds. Ctrl-C ends it and the sandbox.", soft_wrap=True
        )
        webbrowser.open(address)
        services.wait()


def _is_damaged(night: Night) -> bool:
    return night.day == DAMAGED_ON and night.previous is not None


def _print_next_steps(console: Console, night: Night, days: int) -> None:
    steps = [("diff nord newsletter", "who joined and who left since the proof before, and why")]
    if night.day >= UNSUBSCRIBED_ON:
        steps.insert(0, (f"why {LEAVER}", "a person who unsubscribed: since when she is in no list, and why"))
    if night.day == DAYS and DAYS - days + 1 < UNSUBSCRIBED_ON:
        before = (night.moment.astimezone() - timedelta(days=DAYS - UNSUBSCRIBED_ON + 1)).date()
        steps.insert(1, (f"prove {LEAVER} --at {before}", "on which consent she was in which list the day before"))
    if _is_damaged(night):
        steps.append(("plan sued --list partner", "the list that was refused: what another run would change in it"))
    steps.append(("--ui", "another day, then lists, checks and plots of all days in Dagster's UI"))
    console.print(
        Text.from_markup(
            "\n[bold]What next[/bold]\n"
            + "".join(f"  {command_line()} demo {step}\n      {purpose}\n" for step, purpose in steps)
            + f"  rm -r {FOLDER}\n      forget the demonstration\n"
            + f"\nYour own mandators and lists: {manual_page('configuration.md')}"
        ),
        highlight=False,
        soft_wrap=True,
    )
