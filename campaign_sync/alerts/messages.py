"""The texts of notices."""

from dataclasses import dataclass
from datetime import tzinfo

from campaign_sync.domain.feedback_age import format_duration
from campaign_sync.domain.incident import Notice, NoticeKind, headline, incident_location
from campaign_sync.domain.message import SOURCE_LANGUAGE, Language, Message, join_messages
from campaign_sync.domain.moment import moment
from campaign_sync.domain.printable_text import printable, printable_line
from campaign_sync.localization.catalogs import translate


def text_of(notice: Notice, zone: tzinfo) -> Message:
    """Return what is wrong since when, what it means and what to do; or that it is over."""
    incident = notice.incident
    if notice.kind is NoticeKind.ALL_CLEAR and notice.until is not None:
        lasted = format_duration(notice.until - incident.since)
        where, over_since = incident_location(incident), moment(notice.until, zone)
        return Message(
            "What was wrong with {where} is over since {moment}, after {duration}.",
            where=where,
            moment=over_since,
            duration=lasted,
        )
    if notice.kind is NoticeKind.UNWATCHED:
        unwatched = Message(
            "Since then it was taken out of the configuration, or its name there has another recipient_list_id, so "
            "nothing repairs it, and this alarm gets no all-clear: send nothing to it, and clear it at the vendor."
        )
        return join_messages(" ", [incident.what, unwatched])
    return join_messages(" ", [incident.what, incident.remedy])


@dataclass(frozen=True)
class Wording:
    """How alarms are worded for those who get them: the language, and the zone of times."""

    zone: tzinfo
    language: Language = SOURCE_LANGUAGE


def fields_of(notice: Notice, wording: Wording, ui_url: str | None) -> dict[str, str]:
    """Return the fields of a notice by name.

    `headline`, `text`, `stage`, `kind`, `mandator`, `subject`, `since`, `until` and `link`. Only headline and text
    depend on the language. Times are ISO 8601 in the mandator's zone; what isn't known is empty.
    """
    zone, language = wording.zone, wording.language
    incident = notice.incident
    return {
        "headline": printable_line(translate(headline(notice), language)),
        "text": printable(translate(text_of(notice, zone), language)),
        "stage": notice.kind.value,
        "kind": incident.kind.value,
        "mandator": incident.mandator,
        "subject": str(incident.subject),
        "since": incident.since.astimezone(zone).isoformat(timespec="seconds"),
        "until": notice.until.astimezone(zone).isoformat(timespec="seconds") if notice.until else "",
        "link": f"{ui_url.rstrip('/')}{incident.page}" if ui_url else "",
    }
