"""The places where data of people is kept, and what an erasure has done in each."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from campaign_sync.domain.erasure import Erasure
from campaign_sync.errors import CampaignSyncError


class PlaceState(StrEnum):
    """What is left of a person in a place."""

    DONE = "done"
    """Nothing: it was removed."""
    NOTHING = "nothing"
    """Nothing: the person wasn't in it."""
    PENDING = "pending"
    """What couldn't be removed yet. It is tried again every day, and by `erase --retry`."""
    THEIRS = "theirs"
    """What belongs to others, who must remove it, or what stays on purpose."""
    BY_AGE = "by age"
    """What goes when it is old enough."""


SNAPSHOTS: Final = "snapshots and plans"
FEEDBACK: Final = "feedback as received"
RESPONSES: Final = "responses"
LAST_RUN: Final = "frames of the last run"
SENT_PEOPLE: Final = "index of sent people"
UNFINISHED: Final = "unfinished files"
STATE: Final = "state database"
CRM_COPIES: Final = "copies of the CRM"

OLD_VERSIONS: Final = "old versions of files"
"""What an object store keeps of files that were replaced or removed."""

LIST_PREFIX: Final = "list "
"""How the place of a recipient list at the vendor begins; its mandator and key follow."""


@dataclass
class PlaceOutcome:
    """What was done in a place for some erasures."""

    place: str
    rows: Counter[Erasure] = field(default_factory=Counter)
    """What was removed, by erasure: rows, or entries."""
    problem: str | None = None
    """Why something couldn't be removed; None if all is gone."""
    limit: str | None = None
    """How what is left goes by its age; None if nothing is left."""

    def state(self, rows: int) -> PlaceState:
        """Return what is left of the person of an erasure of whom this and earlier attempts removed `rows`."""
        if self.problem is not None:
            return PlaceState.PENDING
        if self.limit is not None:
            return PlaceState.BY_AGE
        return PlaceState.DONE if rows else PlaceState.NOTHING

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Turn an error within the context into the problem; the first one stays."""
        try:
            yield
        except CampaignSyncError as error:
            self.problem = self.problem or error.message


@dataclass(frozen=True)
class PlaceReport:
    """What is known of one place after an attempt."""

    place: str
    state: PlaceState
    rows: int = 0
    """What was removed there by all attempts: rows, or files of the kinds that have none."""
    note: str | None = None
    """What has to be known or done; None where nothing has."""


_STANDING = (
    PlaceReport(
        "CRM",
        PlaceState.THEIRS,
        note="erase the person there as well: as long as the record exists, every run reads it, and leaves it out",
    ),
    PlaceReport(
        "unsubscribe list and blocklist at the vendor",
        PlaceState.THEIRS,
        note="an entry there stays on purpose: it keeps the person from being written to",
    ),
    PlaceReport(
        "Dagster's history and logs",
        PlaceState.BY_AGE,
        note="they have counts, and pseudonyms that go after retention.events; no addresses and no ids of records, but "
        "what people typed as a reason",
    ),
    PlaceReport(
        "backups and write-ahead archives",
        PlaceState.BY_AGE,
        note="they go by their own age; what is restored is cleared again by the next retention job",
    ),
)
_DELIVERIES = PlaceReport(
    "files of the CRM",
    PlaceState.THEIRS,
    note="deliveries, and feedback that was left for the CRM, are the CRM's; remove the person from them there",
)


_UNKNOWN_VERSIONS = PlaceReport(
    OLD_VERSIONS,
    PlaceState.THEIRS,
    note="gs:// and abfs:// aren't asked whether they keep replaced and removed files (versions, soft delete); make "
    "sure that their settings end that",
)


def standing_places(*, crm_delivers_files: bool, keeps_unknown_versions: bool) -> list[PlaceReport]:
    """Return the places that no command of ours can clear.

    Args:
        crm_delivers_files: whether the CRM delivers files, and gets files of feedback.
        keeps_unknown_versions: whether the file storage may keep what was removed from it, and isn't asked.
    """
    further = [*([_DELIVERIES] if crm_delivers_files else ()), *([_UNKNOWN_VERSIONS] if keeps_unknown_versions else ())]
    return [*_STANDING[:1], *further, *_STANDING[1:]]
