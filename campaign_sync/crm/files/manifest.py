"""The manifest of a delivery: written last, it names all files with their rows and digests, and when they were made."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from campaign_sync.crm.port import CrmError
from campaign_sync.domain.instant import CLOCK_TOLERANCE

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class ExpectedFile:
    """What a manifest says about a file."""

    rows: int
    """Without the header line."""
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """The content of a manifest."""

    delivered_at: datetime
    """UTC."""
    files: Mapping[str, ExpectedFile]
    sha256: str
    """The digest of the manifest itself."""


def parse_manifest(content: bytes, place: str) -> Manifest:
    """Return the content of a manifest.

    Args:
        content: JSON in UTF-8: `{"delivered_at": "2026-03-01T03:00:00Z", "files": {"contact.csv": {"rows": 2,
            "sha256": "…"}}}`. Further keys are allowed.
        place: the location of the manifest, for messages.

    Raises:
        CrmError: it isn't as described.
    """
    try:
        document = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict) or not isinstance(document.get("files"), dict) or not document["files"]:
        raise CrmError(
            f'{place} isn\'t JSON with "delivered_at" and "files"; correct the export, and write the manifest at once '
            "and last"
        )
    files = {str(name): _expected_file(name, entry, place) for name, entry in document["files"].items()}
    return Manifest(_moment(document.get("delivered_at"), place), files, hashlib.sha256(content).hexdigest())


def _moment(value: object, place: str) -> datetime:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
        if moment is not None and moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):  # such as the year 1, an empty date of some systems
        pass
    raise CrmError(f"{place}: delivered_at must be a time with its zone, like 2026-03-01T03:00:00Z")


def _expected_file(name: str, entry: object, place: str) -> ExpectedFile:
    if "/" in name or "\\" in name:
        raise CrmError(f"{place} names a file in another folder; a delivery is in one folder")
    rows, sha256 = (entry.get("rows"), entry.get("sha256")) if isinstance(entry, dict) else (None, None)
    if not isinstance(rows, int) or isinstance(rows, bool) or rows < 0:
        raise CrmError(f"{place}: rows of {name} must be the number of its rows without the header line")
    if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256.strip().lower()):
        raise CrmError(f"{place}: sha256 of {name} must be the digest of the file's bytes, 64 hexadecimal digits")
    return ExpectedFile(rows, sha256.strip().lower())


def require_current(delivered_at: datetime, max_age: timedelta, now: datetime, place: str) -> None:
    """Raise CrmError if a delivery is older than allowed, or of the future.

    Args:
        delivered_at: when it was delivered.
        max_age: `crm.max_age`.
        now: the time now.
        place: the location of the delivery, for messages.
    """
    if delivered_at > now + CLOCK_TOLERANCE:
        raise CrmError(
            f"{place} was delivered at {delivered_at:%Y-%m-%d %H:%M} UTC, which is in the future; correct the clock or "
            "the time zone of the export"
        )
    if now - delivered_at > max_age:
        raise CrmError(
            f"the newest complete delivery, {place}, is of {delivered_at:%Y-%m-%d %H:%M} UTC and older than "
            f"crm.max_age ({format_hours(max_age)}); find out why the CRM exported nothing since, or why nothing since "
            "is complete"
        )


def format_hours(duration: timedelta) -> str:
    """Return a duration in hours, as `26 h` or `0.5 h`."""
    return f"{duration / timedelta(hours=1):g} h"
