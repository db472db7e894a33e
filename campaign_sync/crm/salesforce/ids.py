"""Ids of records: their long form, and which object they are of."""

from typing import Final

from campaign_sync.domain.entity import EntityType

_SHORT, _LONG = 15, 18

_CHECK: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"

_TYPES: Final = {"003": EntityType.CONTACT, "00Q": EntityType.LEAD, "001": EntityType.ACCOUNT}


def is_id(text: str) -> bool:
    """Return whether a text can be an id: of 15 characters, or of 18 with the check that is in the last three."""
    return _has_form(text) and long_id(text[:_SHORT]).startswith(text)


def long_id(text: str) -> str:
    """Return the form with 18 characters, whose last three say which letters are capitals. Reports have the other."""
    if len(text) != _SHORT or not _has_form(text):
        return text
    parts = (text[start : start + 5] for start in range(0, _SHORT, 5))
    return text + "".join(
        _CHECK[sum(1 << place for place, letter in enumerate(part) if letter.isupper())] for part in parts
    )


def entity_type_of_id(text: object) -> EntityType | None:
    """Return of which type the record with an id is; None for other objects, and for what is no id."""
    return _TYPES.get(text[:3]) if isinstance(text, str) and _has_form(text) else None


def _has_form(text: str) -> bool:
    return len(text) in (_SHORT, _LONG) and text.isascii() and text.isalnum() and text[:1].isdigit()
