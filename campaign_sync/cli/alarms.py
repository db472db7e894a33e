"""What is wrong now, and whether alarms reach people."""

import logging
from datetime import UTC, datetime

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from campaign_sync.alarms.channel import ChannelError
from campaign_sync.alarms.telling import channels
from campaign_sync.alarms.wording import moment
from campaign_sync.configuration import Configuration
from campaign_sync.domain.trouble import Notice, Stage, Trouble, TroubleKind, place
from campaign_sync.state.store import State


def show_troubles(configuration: Configuration, console: Console) -> bool:
    """Tell what the alarm sensors have found and isn't over. Returns whether nothing is wrong."""
    with State(configuration.storage.state_url.get_secret_value()) as state:
        troubles = [one for name in configuration.mandators for one in state.troubles.open(name).values()]
    if not troubles:
        console.print("Nothing is wrong, as far as the alarm sensors have looked.")
        return True
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("where", "since", "what"):
        table.add_column(title, overflow="fold")
    for one in troubles:
        zone = configuration.mandators[one.mandator].zone
        table.add_row(Text(place(one)), moment(one.since, zone), Text(f"{one.what} {one.remedy}"))
    console.print(table)
    return False


def try_channels(configuration: Configuration, console: Console) -> bool:
    """Send a test to everybody whom alarms of each mandator go to. Returns whether every channel took it."""
    taken = True
    for mandator in configuration.mandators:
        for channel in channels(configuration, mandator, lambda: logging.getLogger("campaign_sync.alarms")):
            if channel.name == "log":
                continue
            try:
                channel.tell(Notice(Stage.TEST, _nothing(mandator)))
            except ChannelError as error:
                taken = False
                console.print(f"✗ {mandator}: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
            else:
                console.print(f"✓ {mandator}: {channel.name} took a test", style="green", highlight=False)
    if configuration.alarms.email is None and not configuration.alarms.webhooks:
        console.print("✗ alarms go to the log only; name people in alarms.email or alarms.webhooks", style="yellow")
    return taken


def _nothing(mandator: str) -> Trouble:
    return Trouble(
        mandator,
        "alarms",
        TroubleKind.CHECK,
        datetime.now(UTC),
        "Nothing is wrong: somebody tries whether alarms of campaign_sync reach you.",
        "They do. Alarms come when a list is incomplete or late, when a run fails, and when feedback grows old.",
        "/overview",
    )
