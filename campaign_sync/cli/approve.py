"""`campaign-sync approve`: the approval of a plan, given at the terminal."""

from datetime import UTC, datetime

from rich.console import Console
from rich.text import Text

from campaign_sync.cli.user import user_and_host
from campaign_sync.config import Configuration
from campaign_sync.replacement.list_approval import approve_plan, what_follows
from campaign_sync.replacement.list_settings import list_settings
from campaign_sync.storage.state import State


def approve(
    configuration: Configuration, mandator: str, name: str, plan_id: str, reason: str, console: Console
) -> None:
    """Approve a plan of a list, and say so.

    Raises:
        ApprovalError: it can't be approved, or nothing would come of it.
        StateError: the state database can't be used.
    """
    settings = list_settings(configuration, mandator, name)
    with State(configuration.storage.state_url.get_secret_value()) as state:
        approved = approve_plan(state, settings, plan_id, f"shell: {user_and_host()}", reason, datetime.now(UTC))
    console.print(Text(f"Plan {approved.plan_id} of {mandator}/{name} is approved by {approved}"), soft_wrap=True)
    console.print(Text(what_follows(settings, approved.plan_id)), soft_wrap=True)
    console.print(Text("It holds until the list is proven, or its settings or those of the CRM change."))
