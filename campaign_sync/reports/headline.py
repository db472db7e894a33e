"""The headline of a report: which lists may be mailed to today, and what is wrong with the others."""

from collections.abc import Sequence
from typing import Final, Literal

from campaign_sync.domain.readiness import Readiness
from campaign_sync.reports.check_findings import refusal_reason
from campaign_sync.reports.daily_report import ListReport, Report
from campaign_sync.reports.localization import Localizer, PluralMessage, gettext_noop

STATUS_MESSAGES: Final = {
    Readiness.INCOMPLETE: PluralMessage(
        "{names} is incomplete – please send nothing to it, some recipients are missing",
        "{names} are incomplete – please send nothing to them, some recipients are missing",
    ),
    Readiness.RENEWING: PluralMessage(
        "{names} is being renewed right now – please don’t send before that is done",
        "{names} are being renewed right now – please don’t send before that is done",
    ),
    Readiness.NEVER: PluralMessage(
        "{names} has never been filled completely – please send nothing to it yet",
        "{names} have never been filled completely – please send nothing to them yet",
    ),
    Readiness.SUSPECTED_PARTIAL_FILL: PluralMessage(
        "{names} looks half full – please send nothing to it",
        "{names} look half full – please send nothing to them",
    ),
    Readiness.DRIFTED: PluralMessage(
        "{names} has been changed at Optimizely since the proof – please send nothing to it",
        "{names} have been changed at Optimizely since the proof – please send nothing to them",
    ),
    Readiness.FAILED: PluralMessage(
        "{names} wasn’t renewed at the last attempt – anybody who has opted out since may still be in it",
        "{names} weren’t renewed at the last attempt – anybody who has opted out since may still be in them",
    ),
    Readiness.OLD: PluralMessage(
        "{names} hasn’t been renewed today – anybody who has opted out since may still be in it",
        "{names} haven’t been renewed today – anybody who has opted out since may still be in them",
    ),
    Readiness.FEEDBACK_OLD: PluralMessage(
        "{names} is complete, but newer opt-outs aren’t known – anybody who has opted out since may still be in it",
        "{names} are complete, but newer opt-outs aren’t known – anybody who has opted out since may still be in them",
    ),
    Readiness.CHECK_FAILED: PluralMessage(
        "{names} is complete, but a check has failed – please ask before you send",
        "{names} are complete, but a check has failed – please ask before you send",
    ),
    Readiness.CHECK_MISSING: PluralMessage(
        "{names} is complete, but the result of a check is missing – please ask before you send",
        "{names} are complete, but the result of a check is missing – please ask before you send",
    ),
    Readiness.UNKNOWN: PluralMessage(
        "{names} is complete, but it isn’t known whether a newer attempt has failed – please ask before you send",
        "{names} are complete, but it isn’t known whether a newer attempt has failed – please ask before you send",
    ),
    Readiness.READY: PluralMessage("{names} is ready", "{names} are ready"),
}

_FOLLOWED: Final = PluralMessage(
    "{names}, planned for {moment}, isn’t renewed yet and follows automatically.",
    "{names}, planned for {moment}, aren’t renewed yet and follow automatically.",
)
_LEFT: Final = PluralMessage(
    "{names}, planned for {moment}, wasn’t renewed and doesn’t follow automatically.",
    "{names}, planned for {moment}, weren’t renewed and don’t follow automatically.",
)

_SINCE, _AS_OF = gettext_noop("{name} (since {moment})"), gettext_noop("{name} (as of {moment})")

_NAMES_WITH_TIME: Final = {
    Readiness.INCOMPLETE: _SINCE,
    Readiness.RENEWING: _SINCE,
    Readiness.SUSPECTED_PARTIAL_FILL: _SINCE,
    Readiness.DRIFTED: _SINCE,
    Readiness.FAILED: _AS_OF,
    Readiness.OLD: _AS_OF,
    Readiness.FEEDBACK_OLD: gettext_noop("{name} (opt-outs up to {moment})"),
}


def headline(report: Report, localizer: Localizer) -> str:
    """Return one sentence: whether all lists are ready, and if not, which aren't, since when, and what that means."""
    if report.ready:
        return _all_ready(report.lists, localizer)
    parts = []
    for status in Readiness:
        names = [_name(entry, report, localizer) for entry in report.lists if entry.status is status]
        if names:
            parts.append(localizer.ngettext(*STATUS_MESSAGES[status], len(names), names=localizer.join(names)))
    return f"{'; '.join(parts)}."


def missing_lists(report: Report, localizer: Localizer) -> list[str]:
    """Return sentences on the lists of the newest planned day that aren't there."""
    day = report.unfinished_day
    if day is None:
        return []
    moment = localizer.time_or_date_time(day.planned_for, report.day)
    titles = {entry.name: entry.display_name for entry in report.lists}
    return [
        localizer.ngettext(*message, len(names), names=localizer.join([titles[name] for name in names]), moment=moment)
        for message, names in ((_FOLLOWED, day.followed), (_LEFT, day.left))
        if names
    ]


def severity(report: Report) -> Literal["good", "fair", "bad"]:
    """Return how serious the headline is: `bad` if a list isn't complete."""
    if report.ready:
        return "good"
    return "fair" if all(entry.status.complete for entry in report.lists) else "bad"


def _all_ready(lists: Sequence[ListReport], localizer: Localizer) -> str:
    if len(lists) == 2:
        return localizer.gettext("Both lists are ready for today’s mailings.")
    return localizer.ngettext(
        "The list {names} is ready for today’s mailings.",
        "All {count} lists are ready for today’s mailings.",
        len(lists),
        names=localizer.join([entry.display_name for entry in lists]),
    )


def _name(entry: ListReport, report: Report, localizer: Localizer) -> str:
    message = _NAMES_WITH_TIME.get(entry.status)
    if entry.since is None or message is None:
        return entry.display_name
    moment = localizer.time_or_date_time(entry.since, report.day)
    reason = refusal_reason(entry, localizer) if entry.status is Readiness.FAILED else None
    if entry.attempt and reason:
        values = {"name": entry.display_name, "moment": moment, "reason": reason}
        if entry.attempt.ended_at.astimezone(report.zone).date() == report.day:
            return localizer.gettext("{name} (as of {moment}; today’s run was refused: {reason})", **values)
        run = localizer.date_time(entry.attempt.ended_at)
        return localizer.gettext("{name} (as of {moment}; the run of {run} was refused: {reason})", run=run, **values)
    return localizer.gettext(message, name=entry.display_name, moment=moment)
