"""Plans that are stored, with the rows that they would send, so that a person can approve or apply them."""

import json
from dataclasses import dataclass
from datetime import datetime
from uuid import uuid4

import pandas as pd

from campaign_sync.crm.port import CopyTimes
from campaign_sync.domain.checks import entity_counts
from campaign_sync.replacement.list_settings import ListSettings
from campaign_sync.storage.expired_files import SNAPSHOTS
from campaign_sync.storage.files import FileStorage
from campaign_sync.storage.list_plans import StoredPlan
from campaign_sync.storage.state import State


@dataclass(frozen=True)
class PlannedRows:
    """The rows of a plan, and what the list was when it was made."""

    frozen: pd.DataFrame
    """The snapshot; the preflight drops some of it."""
    rejected: pd.DataFrame
    """Those who were rejected before the snapshot."""
    not_utf8: int
    sent: dict[str, int]
    """How many rows would be sent, by entity type."""
    in_list: int
    contents_digest: str | None
    """The fingerprint of what was read back of the list, if it was."""
    proof_id: str | None
    """The replacement that the list was last proven by."""
    copy_times: CopyTimes | None


@dataclass(frozen=True)
class PlanStore:
    """Stores plans. Their files are kept and removed like snapshots, and no run takes them for its own."""

    state: State
    files: FileStorage

    def save(self, settings: ListSettings, planned: PlannedRows, now: datetime) -> str:
        """Store a plan of a list, and return its id.

        Rejections stay in a file: in the state database they would be those of the last run.

        Raises:
            StateError, FileStorageError: it can't be stored.
        """
        plan_id, folder, times = str(uuid4()), f"{SNAPSHOTS}/{settings.mandator}/{settings.name}", planned.copy_times
        snapshot = self.state.snapshots.add(
            settings.mandator,
            settings.name,
            len(planned.frozen),
            self.files.write_frame(folder, now, planned.frozen),
            f"plan:{plan_id}",
            now,
            people_of=times.people if times else None,
            consents_of=times.consents if times else None,
            plan_id=plan_id,
        )
        rejections_file, rejections_digest = self.files.write_frame(folder, now, planned.rejected)
        self.state.list_plans.add(
            StoredPlan(
                id=plan_id,
                mandator=settings.mandator,
                list=settings.name,
                recipient_list_id=settings.recipient_list_id,
                settings_digest=settings.digest,
                proof_id=planned.proof_id,
                planned_at=now,
                in_list=planned.in_list,
                contents_digest=planned.contents_digest and self.state.digests.of(planned.contents_digest),
                entity_types=json.dumps(planned.sent),
                frozen_entity_types=json.dumps(entity_counts(planned.frozen)),
                not_utf8=planned.not_utf8,
                snapshot_id=snapshot.id,
                rejections_file=rejections_file,
                rejections_digest=rejections_digest,
            )
        )
        return plan_id
