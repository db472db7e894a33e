"""Turns a report into a page: everything in one HTML file, without scripts and without anything to be loaded."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.resources import files
from typing import TypeVar

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from campaign_sync.config import Language
from campaign_sync.domain.printable_text import printable
from campaign_sync.domain.propagation import GOAL
from campaign_sync.domain.readiness import Readiness
from campaign_sync.domain.rejection import VENDOR_REASONS, Reason
from campaign_sync.reports import charts
from campaign_sync.reports.charts import COLOURS, Bar, Column, Mark, Picture, Point
from campaign_sync.reports.daily_report import ListReport, OptOuts, Report
from campaign_sync.reports.translations import GROUPS, Words

_UNKNOWN = "–"

_MOMENTS = {
    Readiness.INCOMPLETE: "since",
    Readiness.RENEWING: "since",
    Readiness.DOUBTFUL: "since",
    Readiness.DRIFTED: "since",
    Readiness.FAILED: "as_of",
    Readiness.OLD: "as_of",
    Readiness.FEEDBACK_OLD: "feedback_as_of",
}
"""How the moment is told that a verdict names."""

Key = TypeVar("Key", str, int)


@dataclass(frozen=True)
class Table:
    """A table of numbers; the first column names the rows."""

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Figure:
    """A picture with its numbers, or a sentence where there is nothing to be drawn."""

    title: str
    told: str
    picture: Markup | None = None
    table: Table | None = None
    legend: Sequence[tuple[str, str]] = ()
    """Colour and name of what is drawn."""


@dataclass(frozen=True)
class Card:
    """One list."""

    called: str
    status: str
    status_told: str
    people: str
    people_told: str
    change: str
    facts: Sequence[tuple[str, str]]
    sizes: Figure
    joined: str
    left: str
    movement_told: str


@dataclass(frozen=True)
class Page:
    """All that the template puts in its places."""

    language: Language
    title: str
    day: str
    made_at: str
    headline: str
    verdict: str
    """good, fair or bad: how loudly it has to be said."""
    cards: Sequence[Card]
    why: Sequence[Figure]
    opt_outs: Sequence[Figure]
    proof: Table


def render(report: Report, language: Language) -> str:
    """The report as an HTML page."""
    words = Words(language, report.zone)
    template = (files("campaign_sync.reports") / "page.html.j2").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    # Jinja escapes markup; a name must not turn the text beside it round, either.
    return printable(environment.from_string(template).render(page=_page(report, words), words=words))


def headline(report: Report, words: Words) -> str:
    """One sentence: whether all lists are ready, and if not, which aren't, since when, and what that means."""
    if report.ready:
        if len(report.lists) == 1:
            return words("one_ready", names=report.lists[0].called)
        if len(report.lists) == 2:
            return words("both_ready")
        return words("all_ready", count=words.number(len(report.lists)))
    parts = []
    for status in Readiness:
        of_status = [one for one in report.lists if one.status is status and not one.ready]
        if of_status:
            names = words.names([_with_moment(one, report, words) for one in of_status])
            parts.append(words(f"{status.value}_{_one_or_many(of_status)}", names=names))
    ready = [one.called for one in report.lists if one.ready]
    if ready:
        parts.append(words(f"others_ready_{_one_or_many(ready)}", names=words.names(ready)))
    return f"{'; '.join(parts)}."


def _verdict(report: Report) -> str:
    if report.ready:
        return "good"
    return "fair" if all(one.status.complete for one in report.lists) else "bad"


def _with_moment(one: ListReport, report: Report, words: Words) -> str:
    key = _MOMENTS.get(one.status)
    if one.since is None or key is None:
        return one.called
    return words(key, name=one.called, moment=words.since(one.since, report.day))


def _one_or_many(things: Sequence[object]) -> str:
    return "one" if len(things) == 1 else "many"


def _page(report: Report, words: Words) -> Page:
    return Page(
        language=words.language,
        title=words("title", mandator=report.called),
        day=words.long_day(report.day),
        made_at=words("made_at", moment=words.moment(report.made_at), zone=report.zone.key),
        headline=headline(report, words),
        verdict=_verdict(report),
        cards=[_card(number, one, report, words) for number, one in enumerate(report.lists, start=1)],
        why=[
            _left(report, words),
            _kept_out(report, words),
            _newly_by_day(report, words),
            _newly_by_reason(report, words),
            _refused(report, words),
        ],
        opt_outs=[_age(report, words), _absence(report.opt_outs, _days(report), words)],
        proof=_proof(report, words),
    )


def _card(number: int, one: ListReport, report: Report, words: Words) -> Card:
    movement = one.movement
    if movement is None:
        told = words("movement_unknown") if one.before_at else ""
    else:
        told = words("movement_since", moment=words.moment(movement.since))
        if movement.uncertain:
            told += f". {words('movement_uncertain', count=words.number(movement.uncertain))}"
    return Card(
        called=one.called,
        status=one.status.value,
        status_told=words(f"status_{one.status.value}"),
        people=_count(one.people, words),
        people_told=words("people_in_it" if one.status.complete else "people_then"),
        change=_change(one, report, words),
        facts=_facts(one, words),
        sizes=_sizes(number, one, words),
        joined=_count(movement.joined if movement else None, words),
        left=_count(sum(movement.left.values()) if movement else None, words),
        movement_told=told,
    )


def _change(one: ListReport, report: Report, words: Words) -> str:
    if one.people is None or one.before is None or one.before_at is None:
        return words("no_comparison")
    day = one.before_at.astimezone(report.zone).date()
    was = words("yesterday") if report.day - day == timedelta(days=1) else words.day(day)
    return words("against", change=words.change(one.people - one.before), day=was)


def _facts(one: ListReport, words: Words) -> list[tuple[str, str]]:
    proof = one.proof
    facts = []
    if one.status in (Readiness.INCOMPLETE, Readiness.RENEWING) and one.since:
        facts.append((words("incomplete_since"), words.moment(one.since)))
    facts.append((words("proven_at"), words.moment(proof.proven_at) if proof else words("no_proof")))
    if proof:
        facts.append((words("equal"), words("rows_equal", count=words.number(proof.equal))))
        if proof.incomplete_for is not None:
            facts.append((words("incomplete_for"), words.lasting(proof.incomplete_for)))
    return [*facts, *_since_the_proof(one, words)]


def _since_the_proof(one: ListReport, words: Words) -> list[tuple[str, str]]:
    """What was found of the list since its proof; nothing where nobody has looked."""
    drift = one.drift
    if drift is None:
        return []
    facts = []
    if drift.checked_at and drift.in_list is not None:
        told = words("people_at", count=words.number(drift.in_list), moment=words.moment(drift.checked_at))
        facts.append((words("looked_at"), told))
    if drift.read_back:
        counts = {
            "drift_missing": drift.read_back.missing,
            "drift_changed": drift.read_back.changed,
            "drift_departed": drift.read_back.departed,
            "drift_strange": drift.read_back.strange,
        }
        facts += [(words(key), words.number(people)) for key, people in counts.items() if people]
    if drift.not_checked_since:
        facts.append((words("not_looked_at"), words.moment(drift.not_checked_since)))
    return facts


def _sizes(number: int, one: ListReport, words: Words) -> Figure:
    title = words("sizes", name=one.called, days=len(one.days))
    known = [day.people for day in one.days if day.people is not None]
    table = Table(
        [words(key) for key in ("day", "people", "dropped", "refused_column", "swept", "incomplete_column")],
        [
            [
                words.brief_day(day.day),
                _count(day.people, words),
                _count(day.dropped, words),
                _count(day.refused, words),
                _count(day.swept, words),
                words("broke_off") if day.broke_off else _lasting(day.incomplete_for, words),
            ]
            for day in reversed(one.days)
            if day.people is not None or day.broke_off
        ],
    )
    if not known:
        return Figure(title, words("sizes_none"), table=table if table.rows else None)
    told = words(
        "sizes_told",
        least=words.number(min(known)),
        most=words.number(max(known)),
        proven=len(known),
        days=len(one.days),
    )
    labels = _across(charts.steps(min(known), max(known)), words)
    if labels[0][0]:
        told += f" {words('sizes_axis')}"
    points = [Point(words.short_day(day.day), day.people, day.broke_off) for day in one.days]
    picture = charts.line(Picture(f"sizes-{number}", title, told), points, labels)
    legend = [("cross", words("broke_off"))] if any(day.broke_off for day in one.days) else []
    return Figure(title, told, picture, table, legend)


def _left(report: Report, words: Words) -> Figure:
    title = words("left_now")
    by_list = [(one.called, one.movement.left) for one in report.lists if one.movement]
    if not by_list:
        return Figure(title, words("left_unknown"))
    return _by_reason("left", title, words("left_now_told"), words("left_nobody"), by_list, words)


def _kept_out(report: Report, words: Words) -> Figure:
    by_list = [(one.called, one.kept_out) for one in report.lists if one.kept_out is not None]
    unknown = [one.called for one in report.lists if one.kept_out is None]
    left_out = f" {words('kept_out_unknown', names=words.names(unknown))}" if unknown else ""
    told, nobody = words("kept_out_told") + left_out, words("kept_out_nobody") + left_out
    return _by_reason("kept-out", words("kept_out"), told, nobody if by_list else left_out, by_list, words)


def _newly_by_reason(report: Report, words: Words) -> Figure:
    days = _days(report)
    by_list = [(one.called, _total(one.newly_kept_out.values())) for one in report.lists]
    return _by_reason(
        "newly-by-reason",
        words("newly_total", days=days),
        "",
        words("newly_nobody", days=days),
        by_list,
        words,
    )


def _newly_by_day(report: Report, words: Words) -> Figure:
    title = words("newly")
    days = [day.day for day in report.lists[0].days]
    per_day = {day: _total(one.newly_kept_out.get(day, {}) for one in report.lists) for day in days}
    columns = [[_in_group(per_day[day], reasons) for reasons in GROUPS.values()] for day in days]
    used = [position for position in range(len(GROUPS)) if any(column[position] for column in columns)]
    if not used:
        return Figure(title, words("newly_nobody", days=len(days)))
    names = [words(group) for group in GROUPS]
    most = max(sum(column) for column in columns)
    described = "; ".join(f"{names[each]}: {words.number(sum(one[each] for one in columns))}" for each in used)
    picture = charts.stacked(
        Picture("newly-by-day", title, described),
        [Column(words.short_day(day), column) for day, column in zip(days, columns, strict=True)],
        _across(charts.steps(0, most), words),
    )
    rows = [
        [words.brief_day(day), *(words.number(column[each]) for each in used), words.number(sum(column))]
        for day, column in zip(reversed(days), reversed(columns), strict=True)
        if sum(column)
    ]
    table = Table([words("day"), *(names[each] for each in used), words("total")], rows)
    return Figure(title, words("newly_told"), picture, table, [(COLOURS[each], names[each]) for each in used])


def _refused(report: Report, words: Words) -> Figure:
    title, days = words("refused"), _days(report)
    now, lately = _total(one.refused_now for one in report.lists), _total(one.refused_lately for one in report.lists)
    if not lately:
        return Figure(title, words("refused_nobody", days=days))
    ordered = sorted(lately, key=lambda code: (-lately[code], code))
    names = {code: words.reason(VENDOR_REASONS.get(code, Reason.VENDOR_ERROR)) for code in ordered}
    rows = [[f"{names[code]} ({code})", words.number(now[code]), words.number(lately[code])] for code in ordered]
    entries = [Bar(names[code], lately[code], words.number(lately[code])) for code in ordered]
    told = words("refused_told", days=days)
    table = Table([words("reason"), words("today"), words("lately", days=days)], rows)
    return Figure(title, told, charts.bars(Picture("refused", title, _described(entries)), entries), table)


def _by_reason(
    name: str, title: str, told: str, nobody: str, by_list: Sequence[tuple[str, Mapping[str, int]]], words: Words
) -> Figure:
    """Bars for the reasons of all lists together, the most frequent first, and a table of each list."""
    total = _total(counts for _, counts in by_list)
    if not total:
        return Figure(title, nobody)
    ordered = sorted(total, key=lambda reason: (-total[reason], reason))
    entries = [
        Bar(words.reason(reason), total[reason], words.number(total[reason]), _colour(reason)) for reason in ordered
    ]
    rows = [
        [
            words.reason(reason),
            *(words.number(of_list.get(reason, 0)) for _, of_list in by_list),
            *([words.number(total[reason])] if len(by_list) > 1 else []),
        ]
        for reason in ordered
    ]
    heads = [words("reason"), *(called for called, _ in by_list), *([words("all_lists")] if len(by_list) > 1 else [])]
    return Figure(title, told, charts.bars(Picture(name, title, _described(entries)), entries), Table(heads, rows))


def _age(report: Report, words: Words) -> Figure:
    title, limits = words("age"), report.limits
    spans = {"warns": limits.warns, "stops": limits.stops, "alarms": limits.alarms}
    told = words("age_told", **{key: words.span(span) for key, span in spans.items()})
    rows = [
        [words.reader(one.reader), words("age_never") if one.age is None else words.lasting(one.age)]
        for one in report.readers
    ]
    entries = [
        Bar(
            words.reader(one.reader),
            _hours(one.age) if one.age is not None else 0,
            words("age_never") if one.age is None else words("age_ago", span=words.span(one.age)),
            2 if one.age is not None and one.age <= limits.warns else 1,
        )
        for one in report.readers
    ]
    # The last limit lies far beyond the others, so it is drawn only once that is where things are heading.
    oldest = max((one.age for one in report.readers if one.age is not None), default=timedelta())
    shown = ["warns", "stops", *(["alarms"] if oldest > limits.stops else [])]
    marks = [Mark(_hours(spans[key]), f"{words(f'limit_{key}')} {_hours(spans[key]):g}\u00a0h") for key in shown]
    picture = charts.scale(
        Picture("age", title, _described(entries)), entries, sorted(marks, key=lambda mark: mark.value)
    )
    return Figure(title, told, picture, Table([words("source"), words("age_column")], rows))


def _absence(opt_outs: OptOuts | None, days: int, words: Words) -> Figure:
    title = words("absence")
    if opt_outs is None:
        return Figure(title, words("absence_nobody", days=days))
    spread = opt_outs.to_absence
    told = words(
        "absence_told",
        count=words.number(spread.count),
        days=days,
        median=words.span(spread.median),
        p95=words.span(spread.p95),
        longest=words.span(spread.longest),
    )
    told += f" {words('absence_crm', median=words.span(opt_outs.to_crm.median))}"
    longest = max(step for step in opt_outs.waits if step is not None)
    entries = [
        Bar(
            words("later", span=words.span(longest)) if step is None else words("within", span=words.span(step)),
            people,
            words.number(people),
            1 if step is None or step > GOAL else 2,
        )
        for step, people in opt_outs.waits.items()
    ]
    table = Table([words("wait"), words("opt_outs")], [[entry.label, entry.told] for entry in entries])
    return Figure(title, told, charts.bars(Picture("absence", title, _described(entries)), entries), table)


def _proof(report: Report, words: Words) -> Table:
    def moment(value: datetime | None) -> str:
        return words.moment(value) if value else _UNKNOWN

    rows = [
        [
            one.called,
            moment(one.proof.proven_at if one.proof else None),
            _count(one.proof.equal if one.proof else None, words),
            moment(one.proof.frozen_at if one.proof else None),
            one.proof.snapshot_id if one.proof else _UNKNOWN,
            one.proof.digest if one.proof else _UNKNOWN,
        ]
        for one in report.lists
    ]
    return Table([words(key) for key in ("list", "proven_at", "equal", "frozen_at", "snapshot", "digest")], rows)


def _across(values: Sequence[float], words: Words) -> list[tuple[float, str]]:
    return [(value, words.number(value)) for value in values]


def _described(entries: Sequence[Bar]) -> str:
    return "; ".join(f"{entry.label}: {entry.told}" for entry in entries)


def _colour(reason: str) -> int:
    """Reasons of one group have the colour of that group in the picture by day."""
    return next((position for position, reasons in enumerate(GROUPS.values()) if reason in reasons), len(GROUPS) - 1)


def _in_group(counts: Mapping[str, int], reasons: Sequence[Reason]) -> int:
    """Reasons that only a newer version knows belong to the last group."""
    known = {reason for group in GROUPS.values() for reason in group}
    others = sum(count for reason, count in counts.items() if reason not in known)
    mine = sum(counts.get(reason, 0) for reason in reasons)
    return mine + others if reasons == list(GROUPS.values())[-1] else mine


def _total(counts: Iterable[Mapping[Key, int]]) -> Counter[Key]:
    total: Counter[Key] = Counter()
    for one in counts:
        total.update(one)
    return total


def _days(report: Report) -> int:
    return len(report.lists[0].days)


def _hours(span: timedelta) -> float:
    return span.total_seconds() / 3600


def _count(value: int | None, words: Words) -> str:
    return _UNKNOWN if value is None else words.number(value)


def _lasting(value: timedelta | None, words: Words) -> str:
    return _UNKNOWN if value is None else words.lasting(value)
