"""Where answers about people come from: the CRM at one moment, the snapshots of the lists, and our own state."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import pandas as pd

from campaign_sync.config import Configuration
from campaign_sync.crm.port import CrmSnapshot
from campaign_sync.crm.sql.adapter import open_crm
from campaign_sync.domain.consent import ConsentEvent, ConsentKind
from campaign_sync.domain.entity import Entity
from campaign_sync.domain.membership import Members, list_members
from campaign_sync.domain.recipient import ADDRESS, RECIPIENT_ID
from campaign_sync.domain.snapshot import EVIDENCE_COLUMNS
from campaign_sync.domain.suppression import entity_keys
from campaign_sync.feedback.current_suppression import current_suppression
from campaign_sync.feedback.withdrawal_history import add_vanished
from campaign_sync.replacement.list_settings import ListSettings, list_settings
from campaign_sync.storage.files import FileStorage
from campaign_sync.storage.replacement_history import ProvenList
from campaign_sync.storage.state import State


@dataclass(frozen=True)
class SentRow:
    """One person's row in the snapshot of a list, the consent that allowed it, and whether it is in the list."""

    address: str
    consent: ConsentEvent
    in_list: bool
    doubtful: bool = False
    """Whether it may be in the list although `in_list` says no: the rejections don't say."""
    has_evidence: bool = True
    """Whether the snapshot has `EVIDENCE_COLUMNS`; earlier versions didn't keep them."""


@dataclass(frozen=True)
class ListArchive:
    """The snapshots of the lists, and which of their rows were rejected afterwards."""

    state: State
    frames: FileStorage

    def snapshot(self, proven: ProvenList) -> pd.DataFrame:
        """Return the rows that the proven replacement sent, or was to send.

        Raises:
            FileStorageError: the snapshot can't be read.
        """
        return self.frames.read_frame(proven.file, proven.digest)

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
        of_list = self.list_members(snapshot, proven)
        return {
            str(key): SentRow(
                address=row[ADDRESS],
                consent=_consent(row),
                in_list=position in of_list.rows.index,
                doubtful=key in of_list.uncertain_keys,
                has_evidence=set(EVIDENCE_COLUMNS) <= set(snapshot),
            )
            for (position, row), key in zip(snapshot[wanted].iterrows(), keys[wanted], strict=True)
        }


@dataclass(frozen=True)
class Sources:
    """The CRM at one moment, the lists' snapshots, and our own state."""

    configuration: Configuration
    archive: ListArchive
    crm: CrmSnapshot

    @property
    def state(self) -> State:
        """Our own state."""
        return self.archive.state

    @cached_property
    def all_list_settings(self) -> list[ListSettings]:
        """All lists of all mandators."""
        mandators = self.configuration.mandators
        return [
            list_settings(self.configuration, key, name)
            for key, settings in mandators.items()
            for name in settings.lists
        ]

    @cached_property
    def suppressions(self) -> dict[str, pd.DataFrame]:
        """Who may not be written to now, by mandator, exactly as a run would determine it."""
        now = datetime.now(UTC)
        return {
            key: add_vanished(
                self.crm,
                self.state,
                key,
                {recipient_list.opt_in_id for recipient_list in mandator.lists.values()},
                current_suppression(self.crm, self.state, key),
                now,
                remember=False,
            )
            for key, mandator in self.configuration.mandators.items()
        }


@contextmanager
def open_archive(configuration: Configuration) -> Iterator[ListArchive]:
    """Open our own state and the snapshots.

    Raises:
        StateError: the state database can't be used.
    """
    with State(configuration.storage.state_url.get_secret_value()) as state:
        yield ListArchive(state, FileStorage(configuration.storage.frames))


@contextmanager
def open_sources(configuration: Configuration) -> Iterator[Sources]:
    """Open CRM, snapshots and state for one question, which is answered within the context.

    Raises:
        CrmError: the CRM can't be reached, or doesn't fulfil the contract.
        StateError: the state database can't be used.
    """
    crm = open_crm(configuration.crm)
    crm.check()
    with open_archive(configuration) as archive, crm.snapshot() as snapshot:
        yield Sources(configuration, archive, snapshot)


def _consent(row: "pd.Series[Any]") -> ConsentEvent:
    return ConsentEvent(
        row["consent_event_id"],
        ConsentKind(row["consent_kind"]),
        row["consent_at"].to_pydatetime(),
        *(_text(row.get(column)) for column in EVIDENCE_COLUMNS),
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
