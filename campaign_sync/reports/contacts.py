"""Who to ask about lists."""

from collections.abc import Sequence

from campaign_sync.reports.daily_report import Report
from campaign_sync.reports.localization import Localizer

_TEAM = "team:"


def contacts(report: Report, localizer: Localizer) -> str:
    """Return whom to ask about the lists that aren't ready; empty if all are."""
    if report.ready:
        return ""
    owners = dict.fromkeys(owner for entry in report.lists if not entry.ready for owner in entry.owners)
    if not owners:
        return localizer.gettext("Questions: ask those who operate campaign_sync.")
    return localizer.gettext("Questions: ask {names}.", names=localizer.join(contact_names(list(owners), localizer)))


def contact_names(owners: Sequence[str], localizer: Localizer) -> list[str]:
    """Return owners as they are read: an address, or the name of a team."""
    return [
        localizer.gettext("the team {name}", name=owner.removeprefix(_TEAM)) if owner.startswith(_TEAM) else owner
        for owner in owners
    ]
