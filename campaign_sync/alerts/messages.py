"""A notice in words."""

from datetime import datetime, tzinfo

from campaign_sync.domain.feedback_age import in_words
from campaign_sync.domain.incident import Notice, Stage, headline, place
from campaign_sync.domain.printable_text import printable, printable_line


def text_of(notice: Notice, zone: tzinfo) -> str:
    """Two sentences: what is wrong since when, what it means and what helps; or that it is over."""
    trouble = notice.trouble
    if notice.stage is Stage.ALL_CLEAR and notice.until is not None:
        lasted = in_words(notice.until - trouble.since)
        return f"What was wrong with {place(trouble)} is over since {moment(notice.until, zone)}, after {lasted}."
    if notice.stage is Stage.UNWATCHED:
        return (
            f"{trouble.what} Since then it was taken out of the configuration, so nothing repairs it and no all-clear "
            "will come: send nothing to it, and clear it at the vendor."
        )
    return f"{trouble.what} {trouble.remedy}"


def fields_of(notice: Notice, zone: tzinfo, ui_url: str | None) -> dict[str, str]:
    """Return the fields of a notice by name.

    `headline`, `text`, `stage`, `kind`, `mandator`, `subject`, `since`, `until` and `link`. Times are ISO 8601 in the
    mandator's zone; what isn't known is empty.
    """
    trouble = notice.trouble
    return {
        "headline": printable_line(headline(notice)),
        "text": printable(text_of(notice, zone)),
        "stage": notice.stage.value,
        "kind": trouble.kind.value,
        "mandator": trouble.mandator,
        "subject": str(trouble.subject),
        "since": trouble.since.astimezone(zone).isoformat(timespec="seconds"),
        "until": notice.until.astimezone(zone).isoformat(timespec="seconds") if notice.until else "",
        "link": f"{ui_url.rstrip('/')}{trouble.page}" if ui_url else "",
    }


def moment(when: datetime, zone: tzinfo) -> str:
    """As people read it."""
    return f"{when.astimezone(zone):%Y-%m-%d %H:%M %Z}"


def as_sentence(text: str) -> str:
    """Return the text of an error or a check as a sentence."""
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."
