"""The cards of a report's page: one list each, with its status, its size and how it changed."""

from datetime import timedelta
from typing import Final

from campaign_sync.domain.readiness import Readiness
from campaign_sync.reports import charts
from campaign_sync.reports.charts import ChartFrame, Point
from campaign_sync.reports.check_findings import list_findings
from campaign_sync.reports.contacts import contact_names
from campaign_sync.reports.daily_report import ListDay, ListReport, Report
from campaign_sync.reports.localization import UNKNOWN, Localizer, gettext_noop
from campaign_sync.reports.view_models import Figure, ListCard, Table

STATUS_TEXTS: Final = {
    Readiness.READY: gettext_noop("ready"),
    Readiness.OLD: gettext_noop("not from today"),
    Readiness.RENEWING: gettext_noop("being renewed"),
    Readiness.INCOMPLETE: gettext_noop("incomplete"),
    Readiness.NEVER: gettext_noop("never filled"),
    Readiness.SUSPECTED_PARTIAL_FILL: gettext_noop("looks half full"),
    Readiness.DRIFTED: gettext_noop("changed"),
    Readiness.FAILED: gettext_noop("not renewed"),
    Readiness.FEEDBACK_OLD: gettext_noop("opt-outs outdated"),
    Readiness.CHECK_FAILED: gettext_noop("check failed"),
    Readiness.CHECK_MISSING: gettext_noop("check missing"),
    Readiness.UNKNOWN: gettext_noop("not known"),
}


def list_card(number: int, entry: ListReport, report: Report, localizer: Localizer) -> ListCard:
    """Return the card of a list. `number` distinguishes the lists of the page."""
    movement = entry.movement
    return ListCard(
        display_name=entry.display_name,
        page=entry.page,
        status=entry.status.value,
        status_text=localizer.gettext(STATUS_TEXTS[entry.status]),
        people=localizer.number(entry.people),
        people_caption=_people_caption(entry, localizer),
        change=_change_text(entry, report, localizer),
        facts=_facts(entry, localizer),
        findings=list_findings(entry, report, localizer),
        sizes=_sizes(number, entry, localizer),
        joined=localizer.number(movement.joined if movement else None),
        left=localizer.number(sum(movement.left.values()) if movement else None),
        movement_text=_movement_text(entry, localizer),
    )


def _people_caption(entry: ListReport, localizer: Localizer) -> str:
    people = 0 if entry.people is None else entry.people
    if entry.status.complete:
        return localizer.ngettext("person in the list", "people in the list", people)
    return localizer.ngettext("person at the last proof", "people at the last proof", people)


def _change_text(entry: ListReport, report: Report, localizer: Localizer) -> str:
    if entry.people is None or entry.before is None or entry.before_at is None:
        return localizer.gettext("no earlier day to compare with yet")
    day = entry.before_at.astimezone(report.zone).date()
    is_yesterday = report.day - day == timedelta(days=1)
    return localizer.gettext(
        "{change} since {day}",
        change=localizer.signed_number(entry.people - entry.before),
        day=localizer.gettext("yesterday") if is_yesterday else localizer.long_date(day),
    )


def _movement_text(entry: ListReport, localizer: Localizer) -> str:
    movement = entry.movement
    if movement is None:
        unreadable = localizer.gettext("Who joined and left can’t be compared: a snapshot can’t be read any more.")
        return unreadable if entry.before_at else ""
    text = localizer.gettext("Since the proof of {moment}", moment=localizer.date_time(movement.since))
    if not movement.uncertain:
        return text
    uncertain = localizer.ngettext(
        "Of {count} person it is open whether they were in the list then.",
        "Of up to {count} people it is open whether they were in the list then.",
        movement.uncertain,
    )
    return f"{text}. {uncertain}"


def _facts(entry: ListReport, localizer: Localizer) -> list[tuple[str, str]]:
    ask = [(localizer.gettext("Who to ask"), localizer.join(contact_names(entry.owners, localizer)))]
    return [
        *_status_facts(entry, localizer),
        *_proof_facts(entry, localizer),
        *_drift_facts(entry, localizer),
        *(ask if entry.owners else []),
    ]


def _status_facts(entry: ListReport, localizer: Localizer) -> list[tuple[str, str]]:
    if entry.since is None or entry.status not in (Readiness.INCOMPLETE, Readiness.RENEWING):
        return []
    return [(localizer.gettext("Incomplete since"), localizer.date_time(entry.since))]


def _proof_facts(entry: ListReport, localizer: Localizer) -> list[tuple[str, str]]:
    proof = entry.proof
    if proof is None:
        return [(localizer.gettext("Proven"), localizer.gettext("none yet"))]
    equal = localizer.gettext("{count} of {count}", count=localizer.number(proof.equal))
    facts = [
        (localizer.gettext("Proven"), localizer.date_time(proof.proven_at)),
        (localizer.gettext("Equal rows"), equal),
    ]
    if proof.data_of is not None:
        facts.append((localizer.gettext("Data of the CRM"), localizer.date_time(proof.data_of)))
    if proof.incomplete_for is not None:
        facts.append((localizer.gettext("Incomplete while filled"), localizer.duration(proof.incomplete_for)))
    return facts


def _drift_facts(entry: ListReport, localizer: Localizer) -> list[tuple[str, str]]:
    """Return what was counted and read since the proof; nothing if the list wasn't checked since."""
    drift = entry.drift
    if drift is None:
        return []
    facts = []
    if drift.checked_at and drift.in_list is not None:
        count, moment = localizer.number(drift.in_list), localizer.date_time(drift.checked_at)
        facts.append((localizer.gettext("Counted since"), f"{count} ({moment})"))
    if drift.read_back:
        counts = {
            localizer.gettext("Gone without a reason"): drift.read_back.missing,
            localizer.gettext("With other values"): drift.read_back.changed,
            localizer.gettext("Opted out or blocked since"): drift.read_back.departed,
            localizer.gettext("Added at Optimizely"): drift.read_back.unexpected,
        }
        facts += [(name, localizer.number(people)) for name, people in counts.items() if people]
    if drift.not_checked_since:
        facts.append((localizer.gettext("Can’t be checked since"), localizer.date_time(drift.not_checked_since)))
    return facts


def _sizes(number: int, entry: ListReport, localizer: Localizer) -> Figure:
    days = len(entry.days)
    title = localizer.gettext("Size of {name} in the last {days} days", name=entry.display_name, days=days)
    table = _size_table(entry, localizer)
    sizes = [day.people for day in entry.days if day.people is not None]
    if not sizes:
        nothing = localizer.gettext("Nothing was proven on these days.")
        return Figure(title, nothing, table=table if table.rows else None)
    description = localizer.gettext(
        "Between {least} and {most}, proven on {proven} of {days} days.",
        least=localizer.number(min(sizes)),
        most=localizer.number(max(sizes)),
        proven=len(sizes),
        days=days,
    )
    ticks = charts.axis(min(sizes), max(sizes), localizer.number)
    if ticks[0].value:
        description += " " + localizer.gettext("The axis doesn’t begin at zero.")
    points = [Point(localizer.short_date(day.day), day.people, day.interrupted) for day in entry.days]
    chart = charts.line(ChartFrame(f"sizes-{number}", title, description), points, ticks)
    interrupted = [("cross", _interrupted(localizer))] if any(day.interrupted for day in entry.days) else []
    return Figure(title, description, chart, table, interrupted)


def _size_table(entry: ListReport, localizer: Localizer) -> Table:
    header = [
        localizer.gettext("Day"),
        localizer.gettext("People"),
        localizer.gettext("removed just before filling"),
        localizer.gettext("refused"),
        localizer.gettext("removed afterwards"),
        localizer.gettext("incomplete"),
    ]
    shown = [day for day in reversed(entry.days) if day.people is not None or day.interrupted]
    return Table(header, [_size_row(day, localizer) for day in shown])


def _size_row(day: ListDay, localizer: Localizer) -> list[str]:
    counts = (day.people, day.dropped, day.refused, day.swept)
    incomplete_for = UNKNOWN if day.incomplete_for is None else localizer.duration(day.incomplete_for)
    return [
        localizer.medium_date(day.day),
        *(localizer.number(count) for count in counts),
        _interrupted(localizer) if day.interrupted else incomplete_for,
    ]


def _interrupted(localizer: Localizer) -> str:
    return localizer.gettext("interrupted, list incomplete")
