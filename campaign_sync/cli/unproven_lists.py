"""The lists that `campaign-sync run --failed` replaces."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from campaign_sync.config import Configuration, MandatorSettings
from campaign_sync.orchestration.cron import last_tick
from campaign_sync.storage.state import State


def unproven_lists(configuration: Configuration, mandator: str, names: Sequence[str], began: datetime) -> list[str]:
    """Return those of a mandator's lists that are incomplete, or of which no replacement since `began` is proven."""
    with State(configuration.storage.state_url.get_secret_value()) as state:
        view = state.view()
    states = {name: view.of_list(mandator, name) for name in names}
    return [
        name
        for name, state in states.items()
        if state.incomplete or state.proven is None or state.proven.started_at < began
    ]


def day_began(settings: MandatorSettings, now: datetime) -> datetime:
    """Return when the mandator's newest day began: at the last planned time, and without a schedule at midnight."""
    if settings.schedule is None:
        return now.astimezone(settings.zone).replace(hour=0, minute=0, second=0, microsecond=0)
    early = settings.crm_export.earliest if settings.crm_export else timedelta(0)
    return last_tick(settings.schedule, settings.zone, now) - early
