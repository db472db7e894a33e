"""The consents that unsubscribes are about, with regard to what was found when they were read before."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from campaign_sync.domain.feedback import Attribution, RawRow, Unsubscribe
from campaign_sync.feedback.attribution import attribute_to_consents
from campaign_sync.storage.crm_write_backs import WrittenConsent
from campaign_sync.storage.files import FileStorage
from campaign_sync.storage.state import State

_BY_ROW = frozenset({Attribution.RECORD, Attribution.OPT_IN})
"""Of rows that name an opt-in."""


class EarlierAttributions:
    """The withdrawals that were written for some unsubscribes.

    What another row of the same reader and time names says nothing about a row that names nothing: where times are
    dates, a recipient can unsubscribe twice in one.

    Args:
        unsubscribes: rows that were read now.
        state: the state database.
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
        """Return whether the unsubscribe was written before."""
        return bool(self._of(unsubscribe))

    def attributed(self, unsubscribe: Unsubscribe) -> Unsubscribe | None:
        """Return an unsubscribe that names no opt-in with the consents found before; None if it wasn't written."""
        before = self._of(unsubscribe)
        if not before:
            return None
        consents = frozenset(withdrawal.consent for withdrawal in before)
        return replace(unsubscribe, consents=consents, attribution=before[0].attribution or unsubscribe.attribution)

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


def attribute_unsubscribes(
    unsubscribes: Sequence[Unsubscribe],
    written_before: EarlierAttributions,
    state: State,
    frames: FileStorage,
    lists_of: Callable[[RawRow | None], Collection[int] | None] = lambda _: None,
) -> list[Unsubscribe]:
    """Return each unsubscribe with the consents that it is about.

    The record that its row names decides; else, where it names no opt-in, the consents found when it was written
    before; else those of the lists that were sent, by `attribute_to_consents`.

    Raises:
        FileStorageError: the storage can't be read now.
    """
    attributed: list[Unsubscribe] = []
    by_snapshots: list[Unsubscribe] = []
    for unsubscribe in unsubscribes:
        if unsubscribe.entity:
            attributed.append(unsubscribe)
        elif not unsubscribe.opt_in_id and (earlier := written_before.attributed(unsubscribe)):
            attributed.append(earlier)
        else:
            by_snapshots.append(unsubscribe)
    return [*attributed, *attribute_to_consents(by_snapshots, state, frames, lists_of)]
