"""What unsubscribes were found to be about when they were read before."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from campaign_sync.domain.feedback import Attribution, Unsubscribe
from campaign_sync.storage.crm_write_backs import WrittenConsent
from campaign_sync.storage.state import State

_BY_ROW = frozenset({Attribution.RECORD, Attribution.OPT_IN})
"""Of rows that name an opt-in."""


class EarlierAttributions:
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
        named = (
            withdrawal for group in self._written.values() for withdrawal in group if withdrawal.attribution in _BY_ROW
        )
        self._readers = {
            **state.feedback_imports.readers({withdrawal.import_id for withdrawal in named if withdrawal.import_id}),
            **readers,
        }

    def has(self, unsubscribe: Unsubscribe) -> bool:
        """Return whether it was written before."""
        return bool(self._of(unsubscribe))

    def attributed(self, unsubscribe: Unsubscribe) -> Unsubscribe | None:
        """Return an unsubscribe without opt-in with the consents found before; None if it wasn't written."""
        before = self._of(unsubscribe)
        if not before:
            return None
        through = frozenset(withdrawal.consent for withdrawal in before)
        return replace(unsubscribe, through=through, attribution=before[0].attribution or unsubscribe.attribution)

    def _of(self, unsubscribe: Unsubscribe) -> Sequence[WrittenConsent]:
        written = self._written.get((unsubscribe.address, unsubscribe.occurred_at), [])
        if unsubscribe.opt_in_id:
            return [withdrawal for withdrawal in written if withdrawal.consent.opt_in_id == unsubscribe.opt_in_id]
        reader = self._reader(unsubscribe.raw.import_id) if unsubscribe.raw else None
        return [
            withdrawal
            for withdrawal in written
            if withdrawal.attribution not in _BY_ROW or self._reader(withdrawal.import_id) != reader
        ]

    def _reader(self, import_id: str | None) -> str | None:
        return self._readers.get(import_id) if import_id else None
