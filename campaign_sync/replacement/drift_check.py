"""A look at a list after its proof: does it still hold whom it was proven to hold?"""

import random
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pandas as pd

from campaign_sync.crm.port import CrmError, CrmSnapshot
from campaign_sync.domain.checks import LIST_PREFIX
from campaign_sync.domain.list_drift import Drift, Reading, wants_full_reading
from campaign_sync.domain.membership import Members, members
from campaign_sync.domain.recipient import ADDRESS
from campaign_sync.domain.row_digests import RowDigests, row_digests
from campaign_sync.domain.suppression import Suppressed, entity_keys
from campaign_sync.errors import CampaignSyncError
from campaign_sync.feedback.current_suppression import suppression
from campaign_sync.optimizely.client import Optimizely
from campaign_sync.optimizely.errors import OptimizelyError
from campaign_sync.replacement.live_suppression import look
from campaign_sync.replacement.proof import prove
from campaign_sync.replacement.read_back import READ_BACK_ROWS, read_back, strange_rows
from campaign_sync.replacement.target import Target
from campaign_sync.storage.files import FileStorage, FileStorageError
from campaign_sync.storage.replacements import Replacement
from campaign_sync.storage.state import State

PAGE_ROWS = 200
"""How many rows are read of a list that may well be as it was."""


class _NotComparableError(CampaignSyncError):
    """The list can't be compared with what was sent. The message says why."""


@dataclass(frozen=True)
class DriftCheck:
    """Looks at lists between their replaces, and writes down what it finds. Changes no list."""

    vendor: Callable[[], Optimizely]
    """Logs in at the first use."""
    crm: Callable[[], AbstractContextManager[CrmSnapshot]]
    state: State
    frames: FileStorage
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    place: Callable[[int], int] = lambda rows: random.randrange(rows)  # noqa: S311 - nobody has to be outwitted
    """Chooses a place among so many."""

    def look(self, target: Target) -> Drift | None:
        """Ask the vendor for the list's count and one page of it, and for all of it only if these aren't as expected.

        Returns:
            What is known now; None where there is nothing to compare with: the list was never proven, or is being
            replaced, or was left incomplete.
        """
        proven = self._settled(target)
        if proven is None:
            return None
        known = self.state.list_drifts.of(target.mandator, target.name, proven.id)
        try:
            found = self._compared(target, proven, known)
        except (OptimizelyError, CrmError, FileStorageError, _NotComparableError) as error:
            found = known.not_seen(str(error), self.now())
        if self._settled(target) != proven:  # somebody has begun to replace it, so what was read means nothing
            return None
        self.state.list_drifts.record(found)
        return found

    def _settled(self, target: Target) -> Replacement | None:
        """The replace whose proof the list should still be like; None while it is replaced, or incomplete."""
        if self.state.locks.holder(target.recipient_list_id) is not None:
            return None
        if self.state.replacements.incomplete(target.mandator, target.name) is not None:
            return None
        proven = self.state.replacements.last_proven(target.mandator, target.name)
        return proven if proven and proven.recipient_list_id == target.recipient_list_id else None

    def _compared(self, target: Target, proven: Replacement, known: Drift) -> Drift:
        target = replace(target, id_attribute=proven.id_attribute, address_attribute=proven.address_attribute)
        vendor, list_id = self.vendor(), target.recipient_list_id
        in_list = vendor.recipients.count(list_id)
        people = self._people(target, proven)
        digests = row_digests(people.rows, target.read_columns)
        start = self.place(max(in_list - PAGE_ROWS, 0) + 1)
        strange = strange_rows(target, vendor, digests, start, PAGE_ROWS)
        if not wants_full_reading(len(people.rows), known.reading, in_list, strange):
            return known.seen(in_list, None, self.now())
        reading = self._read(target, vendor, people, digests)
        return known.seen(reading.in_list, reading, self.now())

    def _people(self, target: Target, proven: Replacement) -> Members:
        """Whoever was sent and not turned away."""
        sent = next(
            one
            for one in self.state.replacement_history.proven(target.mandator, target.name)
            if one.run_id == proven.run_id
        )
        snapshot = self.frames.read_frame(sent.file, sent.digest)
        if {name for name in map(str, snapshot) if name.startswith(LIST_PREFIX)} != set(target.contract.list_columns):
            raise _NotComparableError(
                "the attributes that are sent were configured otherwise when the list was proven; its next replace "
                "makes it comparable again"
            )
        return members(snapshot, sent, self.state.replacement_history.rejected_rows(sent))

    def _read(self, target: Target, vendor: Optimizely, people: Members, digests: RowDigests) -> Reading:
        """All of the list; once more in one piece where somebody seems to be missing, for pages may overlap."""
        for in_one_piece in (False, True):
            count = vendor.recipients.count(target.recipient_list_id)
            page_rows = count + 1 if in_one_piece else READ_BACK_ROWS
            held = read_back(target, vendor, count, digests, lambda _: None, page_rows)
            proof = prove(target, people.rows, digests, held)
            missing = people.rows[entity_keys(people.rows).isin(proof.missing_keys)]
            departed = self._departed(target, vendor, missing)
            reading = Reading(
                proven=len(people.rows),
                in_list=len(held),
                missing=len(missing) - departed,
                departed=departed,
                changed=proof.changed,
                strange=max(len(held) - (len(people.rows) - len(missing)), 0),
            )
            if not reading.missing and not reading.changed:
                break
        return reading

    def _departed(self, target: Target, vendor: Optimizely, missing: pd.DataFrame) -> int:
        """How many of those who are gone had a reason to go, which the vendor or the CRM tells."""
        if missing.empty:
            return 0
        found = look(target, vendor, missing, lambda _: None)
        with self.crm() as crm:
            suppressed = Suppressed.of(suppression(crm, self.state, target.mandator), target.contract.opt_in_id)
        return int((found.notna() | suppressed.reasons(missing, missing[ADDRESS]).notna()).sum())
