"""Where answers about people come from: the CRM at one moment, the snapshots of the lists, and the ledger."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

import pandas as pd
from rich.console import Console

from campaign_sync.config import Configuration
from campaign_sync.crm.port import CrmSnapshot
from campaign_sync.crm.sql.adapter import open_crm
from campaign_sync.domain.consent import ConsentEvent, ConsentKind
from campaign_sync.domain.entity import Entity
from campaign_sync.domain.membership import members
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
class Sent:
    """One person's row in the snapshot of a list, the consent it stands on, and whether it is in the list."""

    address: str
    consent: ConsentEvent
    in_list: bool
    doubtful: bool = False
    """Whether it may be in the list although `in_list` says no: the ledger doesn't tell."""
    evidence_kept: bool = True
    """Whether the snapshot holds `EVIDENCE_COLUMNS`; those frozen earlier don't."""


@dataclass(frozen=True)
class Sources:
    """Everything that is remembered, with the CRM as it is at one moment."""

    configuration: Configuration
    state: State
    frames: FileStorage
    crm: CrmSnapshot

    @cached_property
    def targets(self) -> list[ListSettings]:
        """All lists of all mandators."""
        mandators = self.configuration.mandators
        return [
            list_settings(self.configuration, key, name)
            for key, settings in mandators.items()
            for name in settings.lists
        ]

    @cached_property
    def suppressions(self) -> dict[str, pd.DataFrame]:
        """Who may not be written to now, by mandator: exactly what a run would find."""
        now = datetime.now(UTC)
        return {
            key: add_vanished(
                self.crm,
                self.state,
                key,
                {each.opt_in_id for each in mandator.lists.values()},
                current_suppression(self.crm, self.state, key),
                now,
                remember=False,
            )
            for key, mandator in self.configuration.mandators.items()
        }

    def sent(self, proven: ProvenList, address: str | None, people: Collection[Entity]) -> dict[str, Sent]:
        """The rows of a proof's snapshot that are about these people or this address, by `entity_type:entity_id`.

        Raises:
            FileStorageError: the snapshot can't be read.
        """
        snapshot = self.frames.read_frame(proven.file, proven.digest)
        keys = entity_keys(snapshot)
        wanted = keys.isin([str(entity) for entity in people]) | (snapshot[RECIPIENT_ID] == (address or ""))
        if not wanted.any():
            return {}
        of_list = members(snapshot, proven, self.state.replacement_history.rejected_rows(proven))
        in_list = of_list.rows.index
        return {
            str(key): Sent(
                address=row[ADDRESS],
                consent=ConsentEvent(
                    row["consent_event_id"],
                    ConsentKind(row["consent_kind"]),
                    row["consent_at"].to_pydatetime(),
                    *(_text(row.get(column)) for column in EVIDENCE_COLUMNS),
                ),
                in_list=position in in_list,
                doubtful=key in of_list.doubtful,
                evidence_kept=set(EVIDENCE_COLUMNS) <= set(snapshot),
            )
            for (position, row), key in zip(snapshot[wanted].iterrows(), keys[wanted], strict=True)
        }


@contextmanager
def open_sources(configuration: Configuration, console: Console) -> Iterator[Sources]:
    """Open CRM, snapshots and ledger for one question, which is answered within the context.

    Raises:
        CrmError: the CRM can't be reached, or doesn't fulfil the contract.
    """
    crm = open_crm(configuration.crm)
    crm.check()
    with (
        State(configuration.storage.state_url.get_secret_value()) as state,
        crm.snapshot() as snapshot,
        console.status("Looking through CRM, snapshots and ledger"),
    ):
        yield Sources(configuration, state, FileStorage(configuration.storage.frames), snapshot)


def united(people: Collection[Entity], *sent: Collection[str]) -> list[Entity]:
    """These people, and those whom rows are about, by their keys."""
    named = [Entity.parse(key) for keys in sent for key in keys]
    return list(dict.fromkeys([*people, *(entity for entity in named if entity)]))


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
