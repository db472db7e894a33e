"""Figures on why people aren't in the lists: who left, who was kept out, and what the vendor refused."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final, TypeVar

from campaign_sync.domain.rejection import VENDOR_REASONS, Reason
from campaign_sync.reports import charts
from campaign_sync.reports.charts import COLOURS, Bar, ChartFrame, Column
from campaign_sync.reports.daily_report import NOT_PICKED, Report
from campaign_sync.reports.localization import Localizer, gettext_noop
from campaign_sync.reports.view_models import Figure, Table

REASON_TITLES: Final[dict[str, str]] = {
    Reason.NO_CONSENT: gettext_noop("No consent"),
    Reason.CONSENT_WITHDRAWN: gettext_noop("Consent withdrawn"),
    Reason.CONSENT_UNCLEAR: gettext_noop("Consent not understood"),
    Reason.CONSENT_IN_FUTURE: gettext_noop("Consent in the future"),
    Reason.BOUNCED: gettext_noop("Address bounced"),
    Reason.UNSUBSCRIBED: gettext_noop("Unsubscribed from mailings"),
    Reason.BLOCKLISTED: gettext_noop("On the blocklist"),
    Reason.EXCLUDED: gettext_noop("Excluded from the list"),
    Reason.UNKNOWN_ENTITY_TYPE: gettext_noop("Unknown kind of record"),
    Reason.NO_ADDRESS: gettext_noop("No e-mail address in the CRM"),
    Reason.INVALID_ADDRESS: gettext_noop("Invalid e-mail address"),
    Reason.FORBIDDEN_CHARACTERS: gettext_noop("Characters that can’t be sent"),
    Reason.NOT_UTF8: gettext_noop("Text in the CRM isn’t UTF-8"),
    Reason.MISSING_TECHNICAL_FIELD: gettext_noop("Mandatory field empty"),
    Reason.DUPLICATE_ADDRESS: gettext_noop("Address is in the CRM twice"),
    Reason.ALREADY_IN_LIST: gettext_noop("Already in the list"),
    Reason.FILTERED: gettext_noop("Refused by a filter"),
    Reason.VENDOR_ERROR: gettext_noop("Error at Optimizely"),
    Reason.SWEPT: gettext_noop("Taken out by Optimizely after filling"),
    Reason.SUPPRESSED_MEANWHILE: gettext_noop("Opted out or bounced just before filling"),
    Reason.ON_UNSUBSCRIBE_LIST: gettext_noop("On Optimizely’s unsubscribe list"),
    Reason.ERASED: gettext_noop("Erased on request"),
    Reason.WITHDRAWAL_VANISHED: gettext_noop("Withdrawal that has vanished from the CRM"),
    Reason.UNDATED_REGRANT: gettext_noop("Withdrawn, and granted again without a newer date"),
    Reason.GONE_FROM_CRM: gettext_noop("No longer in the CRM"),
    Reason.ADDRESS_CHANGED: gettext_noop("Address changed in the CRM"),
    NOT_PICKED: gettext_noop("No longer picked in the CRM"),
}
"""Why a person isn't in a list, in a few words."""


@dataclass(frozen=True)
class ReasonGroup:
    """Reasons that share a colour: a chart with a colour for each reason couldn't be read."""

    title: str
    reasons: tuple[Reason, ...]


REASON_GROUPS: Final = (
    ReasonGroup(
        gettext_noop("opted out"),
        (
            Reason.UNSUBSCRIBED,
            Reason.CONSENT_WITHDRAWN,
            Reason.ON_UNSUBSCRIBE_LIST,
            Reason.WITHDRAWAL_VANISHED,
            Reason.UNDATED_REGRANT,
            Reason.ERASED,
        ),
    ),
    ReasonGroup(gettext_noop("bounced or blocked"), (Reason.BOUNCED, Reason.BLOCKLISTED)),
    ReasonGroup(
        gettext_noop("at the last minute"),
        (Reason.SUPPRESSED_MEANWHILE, Reason.SWEPT, Reason.GONE_FROM_CRM, Reason.ADDRESS_CHANGED),
    ),
    ReasonGroup(
        gettext_noop("no consent, or excluded"),
        (Reason.NO_CONSENT, Reason.CONSENT_UNCLEAR, Reason.CONSENT_IN_FUTURE, Reason.EXCLUDED),
    ),
    ReasonGroup(
        gettext_noop("data and technology"),
        (
            Reason.UNKNOWN_ENTITY_TYPE,
            Reason.NO_ADDRESS,
            Reason.INVALID_ADDRESS,
            Reason.FORBIDDEN_CHARACTERS,
            Reason.NOT_UTF8,
            Reason.MISSING_TECHNICAL_FIELD,
            Reason.DUPLICATE_ADDRESS,
            Reason.ALREADY_IN_LIST,
            Reason.FILTERED,
            Reason.VENDOR_ERROR,
        ),
    ),
)
"""The last one also takes reasons that only a newer version knows."""

_LAST_GROUP = len(REASON_GROUPS) - 1
_GROUP_OF: Final[dict[str, int]] = {
    reason: position for position, group in enumerate(REASON_GROUPS) for reason in group.reasons
}

Key = TypeVar("Key", str, int)


def reason_figures(report: Report, localizer: Localizer) -> list[Figure]:
    """Return the figures, in the order in which they are shown."""
    return [
        _left(report, localizer),
        _kept_out(report, localizer),
        _newly_kept_out_by_day(report, localizer),
        _newly_kept_out_by_reason(report, localizer),
        _refused(report, localizer),
    ]


def reason_title(reason: str, localizer: Localizer) -> str:
    """Return a reason in a few words; its name for one that only a newer version knows."""
    title = REASON_TITLES.get(reason)
    return localizer.gettext(title) if title else reason.replace("_", " ")


def _left(report: Report, localizer: Localizer) -> Figure:
    title = localizer.gettext("Why people have left most recently")
    by_list = [(entry.display_name, entry.movement.left) for entry in report.lists if entry.movement]
    if not by_list:
        return Figure(title, localizer.gettext("There are no two days to compare yet."))
    if not any(left.values() for _, left in by_list):
        return Figure(title, localizer.gettext("No recipient has left."))
    description = localizer.gettext(
        "Who was in a list at the last proof of an earlier day and isn’t at the newest one. "
        "Who has left two lists counts twice."
    )
    return _bars_by_reason("left", title, description, by_list, localizer)


def _kept_out(report: Report, localizer: Localizer) -> Figure:
    title = localizer.gettext("Picked, but not in the list")
    by_list = [(entry.display_name, entry.kept_out) for entry in report.lists if entry.kept_out is not None]
    unknown = [entry.display_name for entry in report.lists if entry.kept_out is None]
    texts = []
    if any(kept_out.values() for _, kept_out in by_list):
        texts.append(
            localizer.gettext(
                "Everybody whom the CRM has picked and who wasn’t let in at the last proof, also since long ago."
            )
        )
    elif by_list:
        texts.append(localizer.gettext("Everybody who was picked is in the lists."))
    if unknown:
        texts.append(
            localizer.gettext(
                "Not counted: {names}. There was another run after the last proof.", names=localizer.join(unknown)
            )
        )
    return _bars_by_reason("kept-out", title, " ".join(texts), by_list, localizer)


def _newly_kept_out_by_reason(report: Report, localizer: Localizer) -> Figure:
    title = localizer.gettext("Newly kept out in {days} days, by reason", days=report.period)
    by_list = [(entry.display_name, _total(entry.newly_kept_out.values())) for entry in report.lists]
    description = "" if any(counts.total() for _, counts in by_list) else _none_newly_kept_out(report, localizer)
    return _bars_by_reason("newly-by-reason", title, description, by_list, localizer)


def _newly_kept_out_by_day(report: Report, localizer: Localizer) -> Figure:
    title = localizer.gettext("Newly kept out, day by day")
    columns = [(day.day, _by_group(report, day.day)) for day in report.lists[0].days]
    totals = [sum(counts[position] for _, counts in columns) for position in range(len(REASON_GROUPS))]
    used = [position for position, total in enumerate(totals) if total]
    if not used:
        return Figure(title, _none_newly_kept_out(report, localizer))
    names = [localizer.gettext(group.title) for group in REASON_GROUPS]
    chart = charts.stacked(
        ChartFrame(
            "newly-by-day",
            title,
            "; ".join(f"{names[position]}: {localizer.number(totals[position])}" for position in used),
        ),
        [Column(localizer.short_date(day), counts) for day, counts in columns],
        charts.axis(0, max(sum(counts) for _, counts in columns), localizer.number),
    )
    description = localizer.gettext(
        "Who wasn’t let into a list for the first time for some reason, counted over all lists, without their "
        "first day. Who comes back and leaves again for the same reason counts the first time only."
    )
    table = Table(
        [localizer.gettext("Day"), *(names[position] for position in used), localizer.gettext("Total")],
        [
            [
                localizer.medium_date(day),
                *(localizer.number(counts[position]) for position in used),
                localizer.number(sum(counts)),
            ]
            for day, counts in reversed(columns)
            if sum(counts)
        ],
    )
    return Figure(title, description, chart, table, [(COLOURS[position], names[position]) for position in used])


def _none_newly_kept_out(report: Report, localizer: Localizer) -> str:
    return localizer.gettext("In the last {days} days no recipient was newly kept out.", days=report.period)


def _refused(report: Report, localizer: Localizer) -> Figure:
    title = localizer.gettext("Refused by Optimizely")
    now = _total(entry.refused_now for entry in report.lists)
    lately = _total(entry.refused_lately for entry in report.lists)
    if not lately:
        accepted = localizer.gettext("Optimizely has taken every row in the last {days} days.", days=report.period)
        return Figure(title, accepted)
    names = {
        code: reason_title(VENDOR_REASONS.get(code, Reason.VENDOR_ERROR), localizer)
        for code in sorted(lately, key=lambda code: (-lately[code], code))
    }
    bars = [Bar(name, lately[code], localizer.number(lately[code])) for code, name in names.items()]
    header = [
        localizer.gettext("Reason"),
        localizer.gettext("Last proof"),
        localizer.gettext("{days} days", days=report.period),
    ]
    rows = [
        [f"{name} ({code})", localizer.number(now[code]), localizer.number(lately[code])]
        for code, name in names.items()
    ]
    description = localizer.gettext(
        "Rows that Optimizely didn’t take while lists were filled, by its reason, in {days} days.", days=report.period
    )
    chart = charts.bars(ChartFrame("refused", title, charts.describe(bars)), bars)
    return Figure(title, description, chart, Table(header, rows))


def _bars_by_reason(
    name: str, title: str, description: str, by_list: Sequence[tuple[str, Mapping[str, int]]], localizer: Localizer
) -> Figure:
    """Return bars for the reasons of all lists together, the most frequent first, and a table by list."""
    total = _total(counts for _, counts in by_list)
    if not total:
        return Figure(title, description)
    reasons = sorted(total, key=lambda reason: (-total[reason], reason))
    bars = [
        Bar(reason_title(reason, localizer), total[reason], localizer.number(total[reason]), _group_of(reason))
        for reason in reasons
    ]
    columns = [*by_list, *([(localizer.gettext("All lists"), total)] if len(by_list) > 1 else [])]
    rows = [
        [reason_title(reason, localizer), *(localizer.number(counts.get(reason, 0)) for _, counts in columns)]
        for reason in reasons
    ]
    table = Table([localizer.gettext("Reason"), *(title for title, _ in columns)], rows)
    return Figure(title, description, charts.bars(ChartFrame(name, title, charts.describe(bars)), bars), table)


def _by_group(report: Report, day: date) -> list[int]:
    counts = [0] * len(REASON_GROUPS)
    for reason, people in _total(entry.newly_kept_out.get(day, {}) for entry in report.lists).items():
        counts[_group_of(reason)] += people
    return counts


def _group_of(reason: str) -> int:
    return _GROUP_OF.get(reason, _LAST_GROUP)


def _total(counts: Iterable[Mapping[Key, int]]) -> Counter[Key]:
    total: Counter[Key] = Counter()
    for of_list in counts:
        total.update(of_list)
    return total
