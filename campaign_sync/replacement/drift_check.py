"""Checks after its proof whether a list still holds the people that it was proven to hold."""

import random
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime

import pandas as pd

from campaign_sync.crm.port import CrmError, CrmSnapshot
from campaign_sync.domain.checks import LIST_PREFIX
from campaign_sync.domain.list_drift import ListDrift, ReadBack, needs_full_read_back
from campaign_sync.domain.membership import Members, list_members
from campaign_sync.domain.recipient import ADDRESS
from campaign_sync.domain.row_digests import RowDigests, row_digests
from campaign_sync.domain.suppression import Suppressed, entity_keys
from campaign_sync.errors import CampaignSyncError
from campaign_sync.feedback.current_suppression import current_suppression
from campaign_sync.optimizely.client import Optimizely
from campaign_sync.optimizely.errors import OptimizelyError
from campaign_sync.replacement.list_settings import ListSettings
from campaign_sync.replacement.live_suppression import live_vendor_suppression
from campaign_sync.replacement.proof import prove
from campaign_sync.replacement.read_back import READ_BACK_ROWS, count_unexpected_rows, read_back
from campaign_sync.replacement.read_columns import ReadColumns
from campaign_sync.storage.errors import ErasureKeyError
from campaign_sync.storage.files import FileStorage, FileStorageError
from campaign_sync.storage.replacements import Replacement
from campaign_sync.storage.state import State

PAGE_ROWS = 200
"""How many rows are read of a list before any difference shows."""


class _NotComparableError(CampaignSyncError):
    """The list can't be compared with what was sent. The message says why."""


def settle_abandoned_lists(
    mandator: str, ids: Mapping[str, int], vendor: Callable[[], Optimizely], state: State
) -> None:
    """Record which of the lists that were left incomplete, and have lost their id's place, are empty or deleted.

    Nothing can be sent to part of their people by mistake any more. The vendor is asked only where there are such.

    Args:
        mandator: its key.
        ids: the vendor's ids of its lists, by their names.
        vendor: logs in at the first use.
        state: where it is recorded; nothing is while the vendor can't be asked.
    """
    for replacement in state.view().left_incomplete(mandator):
        former = replacement.recipient_list_id
        if former in ids.values() or replacement.list not in ids or state.locks.holder(former) is not None:
            continue
        with suppress(OptimizelyError):
            if former not in vendor().recipient_lists.all_ids() or vendor().recipients.count(former) == 0:
                state.replacements.mark_abandoned(replacement.id)


@dataclass(frozen=True)
class DriftCheck:
    """Compares lists with their last proof between two replacements, and records the result. Changes no list."""

    vendor: Callable[[], Optimizely]
    """Logs in at the first use."""
    crm: Callable[[Collection[str]], AbstractContextManager[CrmSnapshot]]
    """Opens a view of the CRM with the consents for these opt-ins."""
    state: State
    frames: FileStorage
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    place: Callable[[int], int] = lambda places: random.randrange(places)  # noqa: S311 - it needn't be unpredictable
    """Chooses the first row to read, from 0 to below its argument."""

    def check(self, settings: ListSettings) -> ListDrift | None:
        """Ask the vendor for the list's count and one page of it, and for all of it only if these aren't as expected.

        Returns:
            What is known now; None where nothing can be compared: the list was never proven, or is being replaced, or
            was left incomplete.
        """
        proven = self._settled(settings)
        if proven is None:
            return None
        known = self.state.list_drifts.of(settings.mandator, settings.name, proven.id)
        try:
            drift = self._compare(settings, proven, known)
        except (OptimizelyError, CrmError, FileStorageError, ErasureKeyError, _NotComparableError) as error:
            drift = known.after_failed_check(str(error), self.now())
        if self._settled(settings) != proven:  # its replacement has begun, so what was read means nothing
            return None
        self.state.list_drifts.record(drift)
        return drift

    def _settled(self, settings: ListSettings) -> Replacement | None:
        """Return the replacement that the list was last proven by; None while it is replaced, or incomplete."""
        mandator, name, list_id = settings.mandator, settings.name, settings.recipient_list_id
        if self.state.locks.holder(list_id) is not None:
            return None
        if self.state.replacements.incomplete(mandator, name, list_id) is not None:
            return None
        return self.state.replacements.last_proven(mandator, name, list_id)

    def _compare(self, settings: ListSettings, proven: Replacement, known: ListDrift) -> ListDrift:
        columns = ReadColumns(settings, proven.id_attribute, proven.address_attribute)
        vendor, list_id = self.vendor(), settings.recipient_list_id
        in_list = vendor.recipients.count(list_id)
        people, erased = self._people(settings, proven)
        digests = row_digests(people.rows, columns.snapshot_columns)
        start = self.place(max(in_list - PAGE_ROWS, 0) + 1)
        unexpected = max(count_unexpected_rows(columns, vendor, digests, start, PAGE_ROWS) - erased, 0)
        if not needs_full_read_back(len(people.rows) + erased, known.read_back, in_list, unexpected):
            return known.after_check(in_list, None, self.now())
        reading = self._read(columns, vendor, people, digests, erased)
        return known.after_check(reading.in_list, reading, self.now())

    def _people(self, settings: ListSettings, proven: Replacement) -> tuple[Members, int]:
        """Return the people who were sent and not rejected, and how many more were erased since.

        These may be in the list until it is replaced.
        """
        sent = next(
            replacement
            for replacement in self.state.replacement_history.proven(settings.mandator, settings.name)
            if replacement.run_id == proven.run_id
        )
        snapshot = self.frames.read_frame(sent.file, sent.digest)
        if {name for name in map(str, snapshot) if name.startswith(LIST_PREFIX)} != set(settings.schema.list_columns):
            raise _NotComparableError(
                "the attributes that are sent were configured otherwise when the list was proven; its next replace "
                "makes it comparable again"
            )
        return list_members(snapshot, sent, self.state.replacement_history.rejected_rows(sent)), sent.erased

    def _read(
        self, columns: ReadColumns, vendor: Optimizely, people: Members, digests: RowDigests, erased: int
    ) -> ReadBack:
        """Read all of the list; once more in one piece where people seem to be missing, for pages may overlap."""
        settings = columns.settings
        for in_one_piece in (False, True):
            count = vendor.recipients.count(settings.recipient_list_id)
            page_rows = count + 1 if in_one_piece else READ_BACK_ROWS
            contents = read_back(columns, vendor, count, digests, lambda _: None, page_rows)
            proof = prove(columns, people.rows, digests, contents)
            missing = people.rows[entity_keys(people.rows).isin(proof.missing_keys)]
            departed = self._departed(settings, vendor, missing)
            reading = ReadBack(
                proven=len(people.rows) + erased,
                in_list=len(contents),
                missing=len(missing) - departed,
                departed=departed,
                changed=proof.changed,
                unexpected=max(len(contents) - (len(people.rows) - len(missing)) - erased, 0),
            )
            if not reading.missing and not reading.changed:
                break
        return reading

    def _departed(self, settings: ListSettings, vendor: Optimizely, missing: pd.DataFrame) -> int:
        """Return how many of the missing people the vendor or the CRM gives a reason for."""
        if missing.empty:
            return 0
        reasons = live_vendor_suppression(settings, vendor, missing, lambda _: None)
        with self.crm([settings.schema.opt_in_id]) as crm:
            known = current_suppression(crm, self.state, settings.mandator)
        suppressed = Suppressed.of(known, settings.schema.opt_in_id, self.state.erasures.erased())
        return int((reasons.notna() | suppressed.reasons(missing, missing[ADDRESS]).notna()).sum())
