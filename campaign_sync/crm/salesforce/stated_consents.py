"""What fields and consent records of Salesforce say about a consent: the word, and since when."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from campaign_sync.domain.consent import ConsentKind
from campaign_sync.domain.consent_state import NEITHER
from campaign_sync.domain.instant import parse_instant

CONSENT_RECORD: Final = "ContactPointTypeConsent"

CONSENT_PATHS: Final = (
    "Id",
    "PartyId",
    "DataUsePurposeId",
    "PrivacyConsentStatus",
    "CaptureDate",
    "EffectiveFrom",
    "EffectiveTo",
    "DoubleConsentCaptureDate",
    "CaptureSource",
)
"""The fields of a consent record that say whose it is, and what it means."""

BRAND: Final = "BusinessBrandId"
"""The brand of a consent record, where the org has brands. A grant for a brand is none for others."""

_NEITHER: Final = frozenset({"", "NotSeen", "Seen"})

_DATE: Final = len("2026-03-01")


@dataclass(frozen=True)
class StatedConsent:
    """A consent as Salesforce states it."""

    kind: str
    """`granted`, `confirmed`, `withdrawn`, `none`; or a word of Salesforce that isn't known."""
    at: str | None
    """ISO 8601; None if Salesforce has no date."""

    @property
    def moment(self) -> datetime | None:
        """When it was."""
        return parse_instant(self.at)

    @property
    def is_withdrawn(self) -> bool:
        """Whether it is withdrawn."""
        return self.kind == ConsentKind.WITHDRAWN

    def is_grant_since(self, moment: datetime) -> bool:
        """Return whether it is a grant that is newer than a moment."""
        at = self.moment
        return self.kind in (ConsentKind.GRANTED, ConsentKind.CONFIRMED) and at is not None and at > moment


def of_checkbox(granted: str | None, at: str | None) -> StatedConsent:
    """Return what a checkbox and its date say. An empty box without a date says neither: it was never ticked.

    A date without a time is the begin of the day for a grant, where it begins first on earth: it must not seem newer
    than a withdrawal of the same day.
    """
    if granted == "true":
        return StatedConsent(ConsentKind.GRANTED.value, f"{at}T00:00:00+14:00" if at and len(at) == _DATE else at)
    return StatedConsent(ConsentKind.WITHDRAWN.value if at else NEITHER, end_of_day(at))


def end_of_day(at: str | None) -> str | None:
    """Return a time; of a date its end, where it ends last on earth."""
    return f"{at}T23:59:59-12:00" if at and len(at) == _DATE else at


def consent_paths(has_brands: bool) -> tuple[str, ...]:
    """Return the fields of consent records in an org with or without brands."""
    return (*CONSENT_PATHS, BRAND) if has_brands else CONSENT_PATHS


def of_record(row: Mapping[str, str | None], now: datetime) -> StatedConsent:
    """Return what a consent record says now, by the fields of `CONSENT_PATHS` and, where it has one, its brand."""
    status = row["PrivacyConsentStatus"] or ""
    if status in _NEITHER:
        return StatedConsent(NEITHER, row["CaptureDate"])
    if status == "OptOut":
        return StatedConsent(ConsentKind.WITHDRAWN.value, row["CaptureDate"])
    if status != "OptIn":
        return StatedConsent(status, row["CaptureDate"])
    if row.get(BRAND):
        return StatedConsent(NEITHER, row["CaptureDate"])
    end = parse_instant(row["EffectiveTo"])
    if end is not None and end <= now:
        return StatedConsent(ConsentKind.WITHDRAWN.value, row["EffectiveTo"])
    confirmed = row["DoubleConsentCaptureDate"]
    kind = ConsentKind.CONFIRMED if confirmed else ConsentKind.GRANTED
    # Who consents again keeps the date of the first confirmation.
    return StatedConsent(kind.value, _latest(row["CaptureDate"], confirmed, row["EffectiveFrom"]))


def _latest(*texts: str | None) -> str | None:
    moments = [(moment, text) for text in texts if (moment := parse_instant(text))]
    return max(moments)[1] if moments else texts[0]
