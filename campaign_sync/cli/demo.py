"""`campaign-sync demo`: real daily replacements between a pretend CRM and a pretend vendor. Each run is a day."""

import os
import subprocess
import sys
import webbrowser
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path

from rich.console import Console
from rich.text import Text

from campaign_sync.cli.dagster_instance import use_instance
from campaign_sync.cli.dev import dagster_services
from campaign_sync.cli.error_handling import SOMETHING_FAILED, CommandError
from campaign_sync.cli.next_steps import NextSteps
from campaign_sync.cli.run import run_daily_replacement
from campaign_sync.config import Configuration, SqlSettings, load_configuration
from campaign_sync.replacement.list_settings import list_settings
from campaign_sync.sandbox.demo_crm import advance_demo_crm, create_demo_crm, demo_addresses
from campaign_sync.sandbox.vendor_state import VendorState
from campaign_sync.storage.database import upgrade_database
from campaign_sync.storage.private_files import folder_lock, write_atomically

FOLDER = Path(".campaign_sync/demo")

_CREDENTIALS = {"DEMO_USERNAME": "demo", "DEMO_PASSWORD": "demo"}
_NEXT_STEPS = NextSteps(
    again="campaign-sync demo",
    ui="`campaign-sync demo --ui`",
    if_dead="remove .campaign_sync/demo to start the demonstration again",
)
_PUBLISHED_LATE = 4
"""How many of a day's unsubscribes the vendor's export job hasn't written yet, so that only a live query shows them."""


def run_demo(console: Console, ui_port: int | None) -> bool:
    """Simulate one day of both mandators; with a port, leave sandbox and UI running. Returns whether all is proven.

    A second command that is started meanwhile waits, and simulates the next day.
    """
    with ExitStack() as simulation:
        with console.status(f"Waiting for another `campaign-sync demo` in {FOLDER}"):
            simulation.enter_context(folder_lock(FOLDER))
        use_instance(FOLDER / "dagster")
        with _sandbox() as base_url:
            proven = _simulate_day(console, base_url)
            simulation.close()
            if ui_port is None:
                _print_next_steps(console)
            else:
                _leave_running(console, ui_port)
    return proven


def _simulate_day(console: Console, base_url: str) -> bool:
    """Simulate the next day. Returns whether all lists are proven."""
    configuration_file, day = FOLDER / "campaign_sync.yaml", _next_day()
    configuration_file.write_text((files("campaign_sync.sandbox") / "demo.yaml").read_text())
    os.environ |= _environment(base_url, configuration_file)
    configuration = load_configuration()
    upgrade_database(configuration.storage.state_url.get_secret_value())  # the demonstration's own
    console.rule(f"Day {day}")
    with console.status("A night in the CRM and at the vendor" if day > 1 else "Making a CRM of 50,000 people"):
        _change_crm_and_vendor(day, configuration)
    write_atomically(FOLDER / "day", str(day).encode())
    proven = [
        run_daily_replacement(configuration, mandator, None, console, _NEXT_STEPS, in_process=True)
        for mandator in configuration.mandators
    ]
    return all(proven)


def _next_day() -> int:
    file = FOLDER / "day"
    return int(file.read_text()) + 1 if file.exists() else 1


def _previous_day() -> datetime:
    """Return the moment at which the day before was simulated."""
    file = FOLDER / "day"
    return datetime.fromtimestamp(file.stat().st_mtime if file.exists() else 0, UTC)


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


@contextmanager
def _sandbox() -> Iterator[str]:
    """Run the sandbox in a process of its own, and yield its base URL."""
    command = [sys.executable, "-m", "campaign_sync.sandbox", "--data", str(FOLDER / "sandbox.db")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - a fixed command
        try:
            base_url = process.stdout.readline().strip() if process.stdout else ""
            if not base_url:
                raise CommandError("the sandbox didn't start; its message is above", SOMETHING_FAILED)
            yield base_url
        finally:
            process.terminate()


def _change_crm_and_vendor(day: int, configuration: Configuration) -> None:
    """Create the CRM and the vendor's lists on the first day, and change the CRM on every other; publish feedback."""
    crm_url = _crm_url(configuration)
    if day == 1:
        create_demo_crm(crm_url)
    else:
        advance_demo_crm(crm_url, day)
    with closing(VendorState(FOLDER / "sandbox.db")) as vendor:
        if day == 1:
            _create_lists(vendor, configuration)
        for mandator in configuration.mandators:
            _publish_feedback(vendor, configuration, mandator, day)


def _crm_url(configuration: Configuration) -> str:
    if not isinstance(configuration.crm, SqlSettings):
        raise CommandError("the demonstration's CRM is a SQL database; start it without a configuration of yours")
    return configuration.crm.url.get_secret_value()


def _create_lists(vendor: VendorState, configuration: Configuration) -> None:
    for mandator, settings in configuration.mandators.items():
        vendor.add_mandator(settings.mandator_id, _CREDENTIALS["DEMO_USERNAME"], _CREDENTIALS["DEMO_PASSWORD"])
        if settings.canary_address:
            vendor.unsubscribe(settings.mandator_id, settings.canary_address)
        for name, recipient_list in settings.lists.items():
            chosen = list_settings(configuration, mandator, name)
            attributes = chosen.schema.list_attributes
            vendor.add_list(settings.mandator_id, recipient_list.recipient_list_id, chosen.pick.name, attributes)


def _publish_feedback(vendor: VendorState, configuration: Configuration, mandator: str, day: int) -> None:
    """Let people unsubscribe, bounce and be blocked at the vendor, and publish most of it as feedback."""
    mandator_id = configuration.mandators[mandator].mandator_id
    people = demo_addresses(_crm_url(configuration), day, mandator)
    now = datetime.now(UTC)
    happened = str(int(max(now - timedelta(hours=3), _previous_day() + timedelta(seconds=1)).timestamp() * 1000))
    for address in people.unsubscribed:
        vendor.unsubscribe(mandator_id, address)
    for address in people.bounced:
        vendor.bounce(mandator_id, address)
    for pattern in people.blocked_patterns:
        vendor.block(mandator_id, pattern)
    published, late = people.unsubscribed[:-_PUBLISHED_LATE], people.unsubscribed[-_PUBLISHED_LATE:]
    vendor.publish(mandator_id, "getUnsubscribes", [[address, happened] for address in published])
    vendor.publish(mandator_id, "getUnsubscribes", [[address, happened] for address in late], now + timedelta(hours=6))
    vendor.publish(mandator_id, "getOutBounces", [[address, happened] for address in people.bounced])


def _leave_running(console: Console, port: int) -> None:
    url = f"http://127.0.0.1:{port}"
    with dagster_services(port) as services:
        address = f"{url}/asset-groups"
        console.print(
            f"\nDagster's UI is at {address} in a few seconds. Ctrl-C ends it and the sandbox.", soft_wrap=True
        )
        webbrowser.open(address)
        services.wait()


def _print_next_steps(console: Console) -> None:
    console.print(
        Text.from_markup(
            "\n[bold]What next[/bold]\n"
            "  uv run --no-dev campaign-sync demo        the next day: people left, bounced and joined, numbers move\n"
            "  uv run --no-dev campaign-sync demo --ui   one more day, then assets, checks and plots in Dagster's UI\n"
            "  docs/configuration.md                     your own mandators and lists\n"
            f"  rm -r {FOLDER!s:<36}forget the demonstration"
        ),
        highlight=False,
        soft_wrap=True,
    )
