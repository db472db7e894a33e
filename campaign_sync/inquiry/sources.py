"""The sources of answers about people: the CRM at one moment, the snapshots of the lists, and our own state."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

import pandas as pd

from campaign_sync.config import Configuration
from campaign_sync.crm.open import open_crm
from campaign_sync.crm.port import CrmSnapshot
from campaign_sync.feedback.current_suppression import current_suppression
from campaign_sync.feedback.withdrawal_history import add_vanished
from campaign_sync.inquiry.list_archive import ListArchive, open_archive
from campaign_sync.replacement.list_settings import ListSettings, list_settings
from campaign_sync.storage.state import State


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
        """The settings of all lists of all mandators."""
        mandators = self.configuration.mandators
        return [
            list_settings(self.configuration, key, name)
            for key, settings in mandators.items()
            for name in settings.lists
        ]

    @cached_property
    def suppressions(self) -> dict[str, pd.DataFrame]:
        """By mandator, who may not be written to now, exactly as a run would determine it."""
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
def open_sources(configuration: Configuration) -> Iterator[Sources]:
    """Open CRM, snapshots and state for one question, which is answered within the context.

    Raises:
        CrmError: the CRM can't be reached, or doesn't fulfil the contract.
        StateError: the state database can't be used.
    """
    with open_archive(configuration) as archive:
        crm = open_crm(configuration, archive.state.consent_memory(read_only=True))
        crm.check()
        with crm.snapshot() as snapshot:
            yield Sources(configuration, archive, snapshot)
