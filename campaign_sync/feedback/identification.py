"""The consents and records of the CRM that the technical fields of rows name."""

from collections import defaultdict
from collections.abc import Collection

from campaign_sync.crm.port import CrmSnapshot
from campaign_sync.domain.consent import normalize_word
from campaign_sync.domain.feedback import ReportedConsent
from campaign_sync.domain.text import normalize_text


def identify_consents(
    named: Collection[ReportedConsent], mandator: str, crm: CrmSnapshot
) -> dict[ReportedConsent, ReportedConsent]:
    """Return the opt-in and record that rows name, as the CRM spells them; each is None if the CRM doesn't have it.

    Blanks don't matter, nor does the case of an opt-in, unless two opt-ins differ in nothing else. The case of record
    ids matters.

    Args:
        named: as the vendor returned it.
        mandator: whose rows these are; opt-ins of other mandators don't count.
        crm: the CRM.

    Raises:
        CrmError: it can't be reached.
    """
    opt_ins = _IdLookup(crm.opt_in_ids(mandator))
    records = crm.records({consent.entity for consent in named if consent.entity})
    return {
        consent: ReportedConsent(opt_ins.of(consent.opt_in_id), records.get(consent.entity) if consent.entity else None)
        for consent in named
    }


class _IdLookup:
    """Finds ids by other spellings."""

    def __init__(self, ids: Collection[str]) -> None:
        self._exact: defaultdict[str, set[str]] = defaultdict(set)
        self._in_any_case: defaultdict[str, set[str]] = defaultdict(set)
        for opt_in_id in ids:
            self._exact[normalize_text(opt_in_id)].add(opt_in_id)
            self._in_any_case[_folded(opt_in_id)].add(opt_in_id)

    def of(self, text: str | None) -> str | None:
        """Return the id that a text names; None for none, and where it could be several."""
        if text is None:
            return None
        matches = self._exact.get(normalize_text(text)) or self._in_any_case.get(_folded(text), set())
        return next(iter(matches)) if len(matches) == 1 else None


def _folded(text: str) -> str:
    return normalize_word(normalize_text(text))  # an id may come back with other line breaks
