"""What unsubscribes were found to be about when they were read before."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from campaign_sync.domain.feedback import Attribution, Unsubscribe
from campaign_sync.storage.crm_write_backs import WrittenConsent
from campaign_sync.storage.state import State

_BY_ROW = frozenset({Attribution.RECORD, Attribution.OPT_IN})
"""Of rows that name an opt-in."""


class WrittenBefore:
    """The withdrawals that were written for some unsubscribes.

    What another row of the same reader and moment names says nothing of a row that names nothing: where times are
    dates, somebody can have left twice in one.

    Args:
        unsubscribes: rows that were read now.
        state: what was written.
        readers: by import id, the reader of the rows that were read now.
    """

    def __init__(self, unsubscribes: Collection[Unsubscribe], state: State, readers: Mapping[str, str]) -> None:
        self._written = state.write_backs.consents(unsubscribes)
        named = (one for group in self._written.values() for one in group if one.attribution in _BY_ROW)
        self._readers = {**state.feedback_imports.readers({one.import_id for one in named if one.import_id}), **readers}

    def has(self, unsubscribe: Unsubscribe) -> bool:
        """Whether it was written before."""
        return bool(self._of(unsubscribe))

    def attributed(self, unsubscribe: Unsubscribe) -> Unsubscribe | None:
        """An unsubscribe that names no opt-in, with what it was found to be about; None where it wasn't written."""
        before = self._of(unsubscribe)
        if not before:
            return None
        through = frozenset(one.consent for one in before)
        return replace(unsubscribe, through=through, attribution=before[0].attribution or unsubscribe.attribution)

    def _of(self, unsubscribe: Unsubscribe) -> Sequence[WrittenConsent]:
        written = self._written.get((unsubscribe.address, unsubscribe.occurred_at), [])
        if unsubscribe.opt_in_id:
            return [one for one in written if one.consent.opt_in_id == unsubscribe.opt_in_id]
        reader = self._reader(unsubscribe.raw.import_id) if unsubscribe.raw else None
        return [one for one in written if one.attribution not in _BY_ROW or self._reader(one.import_id) != reader]

    def _reader(self, import_id: str | None) -> str | None:
        return self._readers.get(import_id) if import_id else None
