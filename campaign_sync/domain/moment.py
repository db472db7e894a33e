"""Moments as people read them."""

from datetime import datetime, tzinfo
from typing import Final

from campaign_sync.domain.message import Message

_ZONES: Final = {"CET": Message("CET"), "CEST": Message("CEST")}


def moment(when: datetime, zone: tzinfo) -> Message:
    """Return a moment as text, with the name of its time zone."""
    local = when.astimezone(zone)
    shown = _ZONES.get(f"{local:%Z}", f"{local:%Z}")
    day, month, year = f"{local:%d}", f"{local:%m}", f"{local:%Y}"
    return Message(
        "{year}-{month}-{day} {time} {zone}", year=year, month=month, day=day, time=f"{local:%H:%M}", zone=shown
    )
