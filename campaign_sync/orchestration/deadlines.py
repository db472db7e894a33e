"""Deadlines of recipient lists, their freshness policy in Dagster, and the incident of a late list."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import dagster as dg

from campaign_sync.alerts.detection import named
from campaign_sync.config import Configuration, MandatorSettings
from campaign_sync.domain.asset_names import recipient_list_page
from campaign_sync.domain.deadline import Deadline, missed_deadline
from campaign_sync.domain.incident import Incident, IncidentKind, Subject
from campaign_sync.domain.message import Message, join_messages
from campaign_sync.domain.moment import moment
from campaign_sync.orchestration.cron import last_tick, longest_gap, longest_lead, shortest_gap, ticks_between
from campaign_sync.replacement.list_readiness import Expected
from campaign_sync.storage.state_view import StateView

SLACK = timedelta(hours=2)
"""How much longer than the longest gap of the schedule a list may take; later ticks are skipped."""

_CLOCK_CHANGE = timedelta(hours=1)
"""How much longer the time from the schedule to the deadline is in the night of the clock change."""


def deadline(settings: MandatorSettings, since: datetime, now: datetime) -> Deadline | None:
    """Return the deadline of the mandator's lists; None without a configured deadline and schedule.

    Args:
        settings: of the mandator.
        since: the set times after this moment are wanted, for example after the last proof.
        now: the set times up to this moment are wanted.
    """
    early = settings.crm_export.earliest if settings.crm_export else timedelta(0)
    if settings.deadline is None:
        if settings.schedule is None:
            return None
        return Deadline(longest_gap(settings.schedule, settings.zone, now) + early + SLACK)
    reach = _reach(settings.deadline, settings.schedule, settings.zone, now, early)
    times = ticks_between(settings.deadline, settings.zone, since, now)
    if settings.schedule is None:
        return Deadline(reach, times)
    begins = tuple(last_tick(settings.schedule, settings.zone, time) - early for time in times)
    return Deadline(reach, times, begins)


@lru_cache(maxsize=8)  # slow, and the same for every list of a mandator
def _reach(set_times: str, schedule: str | None, zone: ZoneInfo, now: datetime, early: timedelta) -> timedelta:
    reach = shortest_gap(set_times)  # a proof before the previous deadline doesn't count for this one
    if schedule is None:
        return reach
    return min(reach, longest_lead(schedule, set_times, zone, now) + early + _CLOCK_CHANGE)


def late_since(settings: MandatorSettings, proven_at: datetime | None, now: datetime) -> datetime | None:
    """Return since when a list that was last proven at `proven_at` (UTC) is late; None if it isn't."""
    rule = deadline(settings, proven_at or now, now)
    return missed_deadline(rule, proven_at, now) if rule else None


def planned_expectations(settings: MandatorSettings, now: datetime) -> Expected:
    """Return what a mandator may expect of its lists by its schedule and deadline."""
    return Expected(lambda proven_at: late_since(settings, proven_at, now) is None, planned_pause(settings, now))


def freshness_policy(settings: MandatorSettings, now: datetime) -> dg.FreshnessPolicy | None:
    """Return the same rule as far as Dagster knows it; None where none applies.

    For several deadlines after one tick of the schedule Dagster demands as many replacements. A policy can't follow a
    schedule whose gaps change with the season: it has the longest gap of the 60 days from `now`.
    """
    rule = deadline(settings, now, now)
    if rule is None:
        return None
    if settings.deadline is None:
        return dg.FreshnessPolicy.time_window(fail_window=rule.max_age)
    return dg.FreshnessPolicy.cron(settings.deadline, rule.max_age, settings.timezone)


def planned_pause(settings: MandatorSettings, now: datetime) -> timedelta:
    """Return how old a mandator's feedback becomes as planned; zero if no import is planned."""
    planned = [cron for cron in (settings.schedule, settings.feedback.schedule) if cron]
    if not planned:
        return timedelta(0)
    early = settings.crm_export.earliest if settings.crm_export else timedelta(0)
    return min(longest_gap(cron, settings.zone, now) for cron in planned) + early + SLACK


def late_lists(
    configuration: Configuration,
    mandator: str,
    view: StateView,
    now: datetime,
    waiting: Callable[[str], str | None],
) -> Iterator[Incident]:
    """Yield an incident for each late list of the mandator, whatever the reason.

    `waiting` returns what the run waits for that is to replace a list, in sentences; None if none is known.
    """
    settings = configuration.mandators[mandator]
    for name, list_id in settings.recipient_list_ids.items():
        proven_at = view.of_list(mandator, name, list_id).proven_at
        since = late_since(settings, proven_at, now)
        if since is None or proven_at is None:
            continue
        yield Incident(
            mandator,
            Subject.of_list(name),
            IncidentKind.LATE,
            since,
            Message(
                "The list {list} is late since {moment}: it was proven last at {proven}.",
                list=named(settings, mandator, name),
                moment=moment(since, settings.zone),
                proven=moment(proven_at, settings.zone),
            ),
            join_messages(
                " ",
                [
                    Message(
                        "It still holds the people of that day, so people who withdrew a consent in the CRM since then "
                        "would still be mailed."
                    ),
                    waiting(name)
                    or Message(
                        "Check that its schedule and Dagster's daemon are on, or run {command}.",
                        command=f"`campaign-sync run {mandator} --list {name}`",
                    ),
                ],
            ),
            recipient_list_page(mandator, name, prefix=configuration.prefix),
        )
