"""Which consent and which record of the CRM the technical fields of a row name."""

from collections import defaultdict
from collections.abc import Collection

from campaign_sync.crm.port import CrmSnapshot
from campaign_sync.domain.consent import cleaned_word
from campaign_sync.domain.feedback import NamedConsent
from campaign_sync.domain.text import normalize_text


def identified(named: Collection[NamedConsent], mandator: str, crm: CrmSnapshot) -> dict[NamedConsent, NamedConsent]:
    """What the CRM knows of what rows name, as the CRM spells it; each part is None where it knows nothing of it.

    Blanks don't matter, nor does the case of an opt-in, unless two opt-ins differ in nothing else. Case tells records
    apart.

    Args:
        named: as the vendor returned it.
        mandator: whose rows these are; opt-ins of other mandators aren't known.
        crm: at one moment.

    Raises:
        CrmError: it can't be reached.
    """
    opt_ins = _Spellings(crm.opt_in_ids(mandator))
    records = crm.records({each.entity for each in named if each.entity})
    return {
        each: NamedConsent(opt_ins.of(each.opt_in_id), records.get(each.entity) if each.entity else None)
        for each in named
    }


class _Spellings:
    """Ids that can be found by another spelling of theirs."""

    def __init__(self, ids: Collection[str]) -> None:
        self._exact: defaultdict[str, set[str]] = defaultdict(set)
        self._in_any_case: defaultdict[str, set[str]] = defaultdict(set)
        for one in ids:
            self._exact[normalize_text(one)].add(one)
            self._in_any_case[_folded(one)].add(one)

    def of(self, text: str | None) -> str | None:
        """The id that a text names; None for none, and where it could be several."""
        if text is None:
            return None
        found = self._exact.get(normalize_text(text)) or self._in_any_case.get(_folded(text), set())
        return next(iter(found)) if len(found) == 1 else None


def _folded(text: str) -> str:
    return cleaned_word(normalize_text(text))  # an id may come back with other line breaks
