"""The texts of notices."""

from datetime import datetime, tzinfo

from campaign_sync.domain.feedback_age import format_duration
from campaign_sync.domain.incident import Notice, NoticeKind, headline, incident_location
from campaign_sync.domain.printable_text import printable, printable_line


def text_of(notice: Notice, zone: tzinfo) -> str:
    """Return what is wrong since when, what it means and what to do; or that it is over."""
    incident = notice.incident
    if notice.kind is NoticeKind.ALL_CLEAR and notice.until is not None:
        lasted = format_duration(notice.until - incident.since)
        where, over_since = incident_location(incident), moment(notice.until, zone)
        return f"What was wrong with {where} is over since {over_since}, after {lasted}."
    if notice.kind is NoticeKind.UNWATCHED:
        return (
            f"{incident.what} Since then it was taken out of the configuration, or its name there has another "
            "recipient_list_id, so nothing repairs it, and this alarm gets no all-clear: send nothing to it, and clear "
            "it at the vendor."
        )
    return f"{incident.what} {incident.remedy}"


def fields_of(notice: Notice, zone: tzinfo, ui_url: str | None) -> dict[str, str]:
    """Return the fields of a notice by name.

    `headline`, `text`, `stage`, `kind`, `mandator`, `subject`, `since`, `until` and `link`. Times are ISO 8601 in the
    mandator's zone; what isn't known is empty.
    """
    incident = notice.incident
    return {
        "headline": printable_line(headline(notice)),
        "text": printable(text_of(notice, zone)),
        "stage": notice.kind.value,
        "kind": incident.kind.value,
        "mandator": incident.mandator,
        "subject": str(incident.subject),
        "since": incident.since.astimezone(zone).isoformat(timespec="seconds"),
        "until": notice.until.astimezone(zone).isoformat(timespec="seconds") if notice.until else "",
        "link": f"{ui_url.rstrip('/')}{incident.page}" if ui_url else "",
    }


def moment(when: datetime, zone: tzinfo) -> str:
    """Return a moment as text, with the name of its time zone."""
    return f"{when.astimezone(zone):%Y-%m-%d %H:%M %Z}"


def as_sentence(text: str) -> str:
    """Return the text of an error or a check as a sentence."""
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."
