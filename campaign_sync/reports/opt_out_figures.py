"""Figures on opt-outs: how recent the vendor's feedback is, and how soon an opt-out holds in every list."""

from datetime import timedelta
from typing import Final

from campaign_sync.domain.propagation import GOAL
from campaign_sync.reports import charts
from campaign_sync.reports.charts import Bar, ChartFrame, Limit
from campaign_sync.reports.daily_report import OptOuts, ReaderAge, Report
from campaign_sync.reports.localization import Localizer, gettext_noop
from campaign_sync.reports.view_models import Figure, Table

READER_TITLES: Final = {
    "getOutBounces": gettext_noop("Bounces"),
    "getResponses": gettext_noop("Replies of mail servers"),
    "getUnsubscribes": gettext_noop("Unsubscribes"),
    "getMailingUnsubscribes": gettext_noop("Unsubscribes by mailing"),
}
"""What each feedback reader reads."""

_WARNING_COLOUR, _GOOD_COLOUR = 1, 2


def opt_out_figures(report: Report, localizer: Localizer) -> list[Figure]:
    """Return the figures, in the order in which they are shown."""
    return [_feedback_age(report, localizer), _delays(report, localizer)]


def _feedback_age(report: Report, localizer: Localizer) -> Figure:
    title, limits = localizer.gettext("How recent the feedback is"), report.limits
    description = localizer.gettext(
        "Up to when the CRM knows who has opted out or couldn’t be reached. Older than {warns}: a warning; "
        "older than {stops}: no list is replaced; older than {alarms}: opt-outs are about to be lost.",
        warns=localizer.duration(limits.warns),
        stops=localizer.duration(limits.stops),
        alarms=localizer.duration(limits.alarms),
    )
    bars = [
        Bar(
            _reader_title(reader, localizer),
            _hours(reader.age or timedelta()),
            _old_text(reader, localizer),
            _GOOD_COLOUR if reader.age is not None and reader.age <= limits.warns else _WARNING_COLOUR,
        )
        for reader in report.readers
    ]
    chart = charts.scale(ChartFrame("age", title, charts.describe(bars)), bars, _limits(report, localizer))
    header = [localizer.gettext("Source"), localizer.gettext("Age")]
    rows = [[_reader_title(reader, localizer), _age_text(reader, localizer)] for reader in report.readers]
    return Figure(title, description, chart, Table(header, rows))


def _limits(report: Report, localizer: Localizer) -> list[Limit]:
    limits = [
        (report.limits.warns, localizer.gettext("warning")),
        (report.limits.stops, localizer.gettext("stop")),
    ]
    # The last limit lies far beyond the others, so it is drawn only when an age approaches it.
    if any(reader.age > report.limits.stops for reader in report.readers if reader.age is not None):
        limits.append((report.limits.alarms, localizer.gettext("alarm")))
    return [Limit(_hours(span), f"{name} {localizer.short_hours(span)}") for span, name in sorted(limits)]


def _delays(report: Report, localizer: Localizer) -> Figure:
    title = localizer.gettext("How soon an opt-out holds in every list")
    opt_outs = report.opt_outs
    if opt_outs is None:
        return Figure(title, localizer.gettext("No opt-outs in the last {days} days.", days=report.period))
    longest = max(step for step in opt_outs.waits if step is not None)
    bars = [
        Bar(
            localizer.gettext("after more than {span}", span=localizer.duration(longest))
            if step is None
            else localizer.gettext("within {span}", span=localizer.duration(step)),
            people,
            localizer.number(people),
            _WARNING_COLOUR if step is None or step > GOAL else _GOOD_COLOUR,
        )
        for step, people in opt_outs.waits.items()
    ]
    table = Table(
        [localizer.gettext("Time taken"), localizer.gettext("Opt-outs")], [[bar.label, bar.value_text] for bar in bars]
    )
    chart = charts.bars(ChartFrame("absence", title, charts.describe(bars)), bars)
    return Figure(title, _delays_text(opt_outs, report.period, localizer), chart, table)


def _delays_text(opt_outs: OptOuts, days: int, localizer: Localizer) -> str:
    to_absence = opt_outs.to_absence
    absence = localizer.ngettext(
        "The only opt-out of the last {days} days was out of every list after {longest}. "
        "What is still going on counts up to now. The goal: {goal}.",
        "Of {count} opt-outs of the last {days} days half were out of every list within {median}, "
        "95% within {p95}, the last one after {longest}. What is still going on counts up to now. The goal: {goal}.",
        to_absence.count,
        days=days,
        median=localizer.duration(to_absence.median),
        p95=localizer.duration(to_absence.p95),
        longest=localizer.duration(to_absence.longest),
        goal=localizer.duration(GOAL),
    )
    crm = localizer.ngettext(
        "It was in the CRM within {median}.",
        "Half were in the CRM within {median}.",
        opt_outs.to_crm.count,
        median=localizer.duration(opt_outs.to_crm.median),
    )
    return f"{absence} {crm}"


def _reader_title(reader: ReaderAge, localizer: Localizer) -> str:
    title = READER_TITLES.get(reader.reader)
    return localizer.gettext(title) if title else reader.reader


def _age_text(reader: ReaderAge, localizer: Localizer) -> str:
    return localizer.gettext("never fetched yet") if reader.age is None else localizer.duration(reader.age)


def _old_text(reader: ReaderAge, localizer: Localizer) -> str:
    age = _age_text(reader, localizer)
    return age if reader.age is None else localizer.gettext("{age} old", age=age)


def _hours(span: timedelta) -> float:
    return span.total_seconds() / 3600
