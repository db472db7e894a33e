"""Whether the next mailings may be sent: the planned ones, with the readiness of the lists that they use."""

from campaign_sync.replacement.scheduled_mailings import ScheduledMailing
from campaign_sync.reports.daily_report import ListReport, Report
from campaign_sync.reports.localization import Localizer
from campaign_sync.reports.view_models import Table


def next_mailing(report: Report, localizer: Localizer) -> str:
    """Return a sentence on the next mailing of the report's day, and whether it may be sent."""
    if report.mailings is None:
        return localizer.gettext(
            "Which mailings are planned wasn’t read for this page: see in Campaign which of them use a list that isn’t "
            "ready."
        )
    mailing = next((mailing for mailing in report.mailings if _is_of_day(mailing, report)), None)
    if mailing is None:
        return localizer.gettext(
            "No mailing to these lists is planned for today. Mailings that are started by hand, and Smart Campaigns, "
            "aren’t known here."
        )
    return localizer.gettext(
        "Next mailing: {mailing} ({moment}) to {lists}: {verdict}.",
        mailing=_title(mailing, localizer),
        moment=_moment(mailing, report, localizer),
        lists=_lists(_used(mailing, report), localizer),
        verdict=_verdict(mailing, report, localizer),
    )


def mailing_table(report: Report, localizer: Localizer) -> Table | None:
    """Return the mailings of the next days; None without any."""
    if not report.mailings:
        return None
    header = [
        localizer.gettext("Mailing"),
        localizer.gettext("Start"),
        localizer.gettext("Lists"),
        localizer.gettext("Safe to send?"),
    ]
    rows = [
        [
            _title(mailing, localizer),
            _moment(mailing, report, localizer),
            _lists(_used(mailing, report), localizer),
            _verdict(mailing, report, localizer),
        ]
        for mailing in report.mailings
    ]
    return Table(header, rows)


def _verdict(mailing: ScheduledMailing, report: Report, localizer: Localizer) -> str:
    if not _is_of_day(mailing, report):
        return localizer.gettext("the report of that day says so")
    lists = _used(mailing, report)
    incomplete = [entry for entry in lists if not entry.status.complete]
    if incomplete:
        return localizer.gettext("no, stop it: {lists}", lists=_lists(incomplete, localizer))
    not_ready = [entry for entry in lists if not entry.ready]
    if not_ready:
        return localizer.gettext("please ask first: {lists}", lists=_lists(not_ready, localizer))
    return localizer.gettext("yes, safe as of this page")


def _is_of_day(mailing: ScheduledMailing, report: Report) -> bool:
    return mailing.starts_at is None or mailing.starts_at.astimezone(report.zone).date() <= report.day


def _used(mailing: ScheduledMailing, report: Report) -> list[ListReport]:
    return [entry for entry in report.lists if entry.name in mailing.lists]


def _lists(entries: list[ListReport], localizer: Localizer) -> str:
    return localizer.join([entry.display_name for entry in entries])


def _title(mailing: ScheduledMailing, localizer: Localizer) -> str:
    if mailing.name:
        return localizer.gettext("“{name}”", name=mailing.name)
    return localizer.gettext("mailing {number}", number=mailing.mailing_id)


def _moment(mailing: ScheduledMailing, report: Report, localizer: Localizer) -> str:
    if mailing.starts_at is None:
        return localizer.gettext("being sent")
    return localizer.time_or_date_time(mailing.starts_at, report.day)
