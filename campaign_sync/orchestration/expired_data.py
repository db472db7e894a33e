"""What the section `retention` limits of the product's own files and tables."""

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Final

from campaign_sync.config import Configuration
from campaign_sync.reports.publication import remove_pages_before
from campaign_sync.storage.expired_files import (
    remove_last_frames,
    remove_plan_files,
    remove_raw_rows,
    remove_responses,
    remove_snapshots,
    remove_unfinished,
)
from campaign_sync.storage.files import FileStorage
from campaign_sync.storage.state import State

_SERVED_ELSEWHERE: Final = timedelta(days=7)
"""A mandator that isn't configured here and had a run within this time may be served by another installation."""

_MAY_BE_IN_USE: Final = timedelta(days=1)
"""What a run has left within this time may be of a list that was just added, by a newer configuration."""


@dataclass(frozen=True)
class ExpiredData:
    """The removal of files and rows that are older than their limits.

    Args:
        configuration: of everything.
        state: what the product remembers.
        frames: the file storage.
        now: the moment by which ages are counted, in UTC.
    """

    configuration: Configuration
    state: State
    frames: FileStorage
    now: datetime

    @cached_property
    def gone(self) -> list[str]:
        """The mandators that were removed from the configuration, and that no other installation serves."""
        known = {*self.configuration.mandators, *self.configuration.broken_mandators}
        activity = self.state.expired_rows.last_activity()
        return sorted(
            mandator for mandator, at in activity.items() if mandator not in known and at < self.now - _SERVED_ELSEWHERE
        )

    def remove_files(self, mandator: str) -> Counter[str]:
        """Remove the files of a mandator that are older than their limits. Return how many, by kind.

        One that was removed from the configuration keeps nothing beyond them, not even its newest snapshots.

        Raises:
            FileStorageError, StateError: something can't be removed.
        """
        limits, frames, state = self.configuration.retention, self.frames, self.state
        settings = self.configuration.mandators.get(mandator)
        lists, zone = (settings.lists, settings.zone) if settings else ({}, UTC)
        longest = max((chosen.max_snapshot_age for chosen in lists.values()), default=timedelta(0))
        before = self.now - limits.feedback
        imports = remove_raw_rows(frames, state.feedback_imports, mandator, before, self.now)
        imports += remove_raw_rows(frames, state.response_imports, mandator, before, self.now)
        first_page, first_day = (self.now - limits.reports).astimezone(zone), self.now - limits.responses
        return Counter(
            {
                "plans": remove_plan_files(frames, state, mandator, self.now - max(limits.plans, longest)),
                "snapshots": remove_snapshots(frames, state, mandator, lists, self.now - limits.frames),
                "imports": imports,
                "days of responses": remove_responses(frames, mandator, first_day.astimezone(UTC).date()),
                "report pages": remove_pages_before(frames, mandator, first_page.date()),
                "selections of removed lists": remove_last_frames(
                    frames,
                    mandator,
                    lists if settings else None,
                    self.now - _MAY_BE_IN_USE,
                    prefix=self.configuration.prefix,
                ),
            }
        )

    def remove_rows(self, mandator: str) -> Counter[str]:
        """Remove the rows of a mandator in the state database that are older than their limits. Return how many.

        Raises:
            StateError: it can't be used.
        """
        limits, rows = self.configuration.retention, self.state.expired_rows
        settings = self.configuration.mandators.get(mandator)
        lists = settings.lists if settings else {}
        return Counter(
            {
                "rejections": rows.remove_rejections(mandator, lists, self.now - limits.frames),
                "write-backs": rows.remove_write_backs(mandator, self.now - limits.write_backs),
            }
        )

    def remove_unfinished(self) -> Counter[str]:
        """Remove what dead processes have left half written. Return how many files.

        Raises:
            FileStorageError: a file can't be removed.
        """
        return Counter({"unfinished files": remove_unfinished(self.frames, self.now - _MAY_BE_IN_USE)})

    def remove_names(self) -> Counter[str]:
        """Remove who accepted something, and who asked, before their limits. Return in how many places.

        Raises:
            StateError: it can't be used.
        """
        limits, rows = self.configuration.retention, self.state.expired_rows
        return Counter(
            {
                "names": rows.remove_names(self.now - limits.acceptances),
                "inquiries": rows.remove_inquiries(self.now - limits.inquiries),
            }
        )
