"""The snapshots that were sent to the lists, and which of their rows were rejected afterwards."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pandas as pd

from campaign_sync.config import Configuration
from campaign_sync.domain.consent import ConsentEvent, ConsentKind
from campaign_sync.domain.entity import Entity
from campaign_sync.domain.membership import Members, list_members
from campaign_sync.domain.recipient import ADDRESS, RECIPIENT_ID
from campaign_sync.domain.snapshot import EVIDENCE_COLUMNS
from campaign_sync.domain.suppression import entity_keys
from campaign_sync.storage.files import FileStorage
from campaign_sync.storage.open import open_state
from campaign_sync.storage.replacement_history import ProvenList
from campaign_sync.storage.state import State


@dataclass(frozen=True)
class SentRow:
    """One person's row in the snapshot of a list, the consent that allowed it, and whether it is in the list."""

    address: str
    consent: ConsentEvent
    in_list: bool
    doubtful: bool = False
    """Whether it may be in the list although `in_list` is False: the rejections leave it open."""
    has_evidence: bool = True
    """Whether the snapshot has `EVIDENCE_COLUMNS`; earlier versions didn't keep them."""


@dataclass(frozen=True)
class ListArchive:
    """The snapshots of all lists, with what our own state says of their rows."""

    state: State
    files: FileStorage

    def snapshot(self, proven: ProvenList) -> pd.DataFrame:
        """Return the rows that the proven replacement sent, or was to send.

        Raises:
            FileStorageError: the snapshot can't be read.
        """
        return self.files.read_frame(proven.file, proven.digest)

    def list_members(self, snapshot: pd.DataFrame, proven: ProvenList) -> Members:
        """Return the rows of a snapshot that are in the list it was sent to."""
        return list_members(snapshot, proven, self.state.replacement_history.rejected_rows(proven))

    def rows_of(self, proven: ProvenList, address: str | None, people: Collection[Entity]) -> dict[str, SentRow]:
        """Return the rows about these people or with this recipient id, by `entity_type:entity_id`.

        Raises:
            FileStorageError: the snapshot can't be read.
        """
        snapshot = self.snapshot(proven)
        keys = entity_keys(snapshot)
        wanted = keys.isin([str(entity) for entity in people]) | (snapshot[RECIPIENT_ID] == (address or ""))
        if not wanted.any():
            return {}
        in_list = self.list_members(snapshot, proven)
        return {
            str(key): SentRow(
                address=row[ADDRESS],
                consent=_consent(row),
                in_list=position in in_list.rows.index,
                doubtful=key in in_list.uncertain_keys,
                has_evidence=set(EVIDENCE_COLUMNS) <= set(snapshot),
            )
            for (position, row), key in zip(snapshot[wanted].iterrows(), keys[wanted], strict=True)
        }


@contextmanager
def open_archive(configuration: Configuration) -> Iterator[ListArchive]:
    """Open our own state and the storage of the snapshots. No erased people are removed meanwhile.

    Raises:
        StateError: the state database can't be used.
        ListLockedError: erased people are being removed, for too long.
    """
    with open_state(configuration) as state, state.heartbeats.keep_alive(f"inquiry {uuid4()}"):
        yield ListArchive(state, FileStorage(configuration.storage.frames))


def _consent(row: "pd.Series[Any]") -> ConsentEvent:
    return ConsentEvent(
        row["consent_event_id"],
        ConsentKind(row["consent_kind"]),
        row["consent_at"].to_pydatetime(),
        *(_text(row.get(column)) for column in EVIDENCE_COLUMNS),
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
