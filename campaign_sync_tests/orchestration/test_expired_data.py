"""What is left of a year and more of invented days, and that what is said of them stays true."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pandas as pd
import pytest
import yaml
from sqlalchemy import Connection, create_engine, func, insert, select

from campaign_sync.config import load_configuration
from campaign_sync.domain.entity import Entity, EntityType
from campaign_sync.domain.feedback import Attribution, ConsentRef, CrmEntry, RawRow, Unsubscribe
from campaign_sync.domain.windows import Window
from campaign_sync.feedback.attribution import attribute_to_consents
from campaign_sync.inquiry.list_archive import ListArchive
from campaign_sync.orchestration.expired_data import ExpiredData
from campaign_sync.sandbox.vendor_state import VendorState
from campaign_sync.storage.expired_rows import REMOVED_NAME
from campaign_sync.storage.feedback_imports import FeedbackImport, RowCounts, new_import
from campaign_sync.storage.files import FileStorage
from campaign_sync.storage.recipient_lists import SizeAcceptance
from campaign_sync.storage.replacements import Replacement, ReplacementState
from campaign_sync.storage.state import State
from campaign_sync.storage.tables import (
    known_withdrawal,
    rejection,
    replace,
    size_acceptance,
    snapshot,
    unmatched_feedback,
    write_back,
)
from campaign_sync.storage.unmatched_feedback import UnmatchedFeedback
from campaign_sync_tests.installation import NEWSLETTER, Installation

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
FIRST = datetime(2025, 1, 1, 5, tzinfo=UTC)
DAYS = 400
END = FIRST + DAYS * DAY
LIMITS = {"frames": 120, "feedback": 60, "responses": 90, "write_backs": 90, "acceptances": 100, "plans": 30}
READER = "getUnsubscribes"
ANNA, NEWS = "anna@example.org", ConsentRef(Entity(EntityType.CONTACT, "anna"), "newsletter-nord")
NOTHING_KNOWN = UnmatchedFeedback([], [])


class Days:
    """Days of the mandators nord and west, of which west and one list of nord aren't configured."""

    def __init__(self, state: State, frames: FileStorage, url: str) -> None:
        self.state, self.frames, self._engine = state, frames, create_engine(url)

    @contextmanager
    def tables(self) -> Iterator[Connection]:
        with self._engine.begin() as connection:
            yield connection

    def pass_day(self, number: int, mandator: str, name: str) -> None:
        """Import an unsubscribe, then send a list of three, one of whom the vendor refuses."""
        at = FIRST + number * DAY
        if name == "newsletter":
            self.imported(mandator, Window(at - DAY, at), number)
        refused = f"refused{number}"
        people = ["anna", "ben", refused]
        rows = pd.DataFrame(
            [
                {"recipient_id": f"{who}@example.org", "entity_type": "contact", "entity_id": who,
                 "opt_in_id": NEWS.opt_in_id}
                for who in people
            ]
        )  # fmt: skip
        run_id = f"{mandator}-{name}-{number}"
        file = self.frames.write_frame(f"snapshots/{mandator}/{name}", at, rows)
        stored = self.state.snapshots.add(mandator, name, len(rows), file, run_id, at)
        list_id = NEWSLETTER if (mandator, name) == ("nord", "newsletter") else hash((mandator, name)) % 10**9
        entry = Replacement(
            mandator, name, list_id, run_id, stored.id, ReplacementState.PROVEN, at + HOUR, str(uuid4()),
            cleared_at=at + HOUR, finished_at=at + 2 * HOUR, in_list=2, entity_types='{"contact": 2}',
        )  # fmt: skip
        self.state.replacements.start(entry)
        with self.tables() as tables:
            tables.execute(
                insert(rejection).values(
                    mandator=mandator, list=name, entity_type="contact", entity_id=refused, stage="vendor",
                    reason="refused", vendor_code=4, first_seen=at + HOUR, last_seen=at + HOUR, run_id=run_id,
                )
            )  # fmt: skip
        self.frames.add_to_partition(
            f"responses/{mandator}/opens/day={at:%Y-%m-%d}", Window(at, at), pd.DataFrame({"recipient_id": [ANNA]})
        )
        if number % 50 == 0:
            self.state.recipient_lists.accept_size(SizeAcceptance(run_id, mandator, name, "kim", "a trade fair", at))
            plan = self.frames.write_frame(f"snapshots/{mandator}/{name}", at, rows)
            self.state.snapshots.add(mandator, name, 3, plan, "plan", at, plan_id=str(uuid4()))

    def imported(self, mandator: str, window: Window, number: int, misfits: int = 0) -> FeedbackImport:
        """Import a row of that day, by which anna withdrew a consent."""
        row = [f"{ANNA} {number}"]
        file = self.frames.write_rows(f"feedback/{mandator}/{READER}", window, [row], {})
        entry = self.state.feedback_imports.add(new_import(mandator, READER, window, 1, file, "run", window.until))
        unsubscribe = unsubscribed(window.until, entry.id, mandator)
        written = CrmEntry(unsubscribe, True, NEWS.entity, NEWS.opt_in_id, event_id=str(uuid4()))
        self.state.write_backs.record([written], window.until)
        read = {entry.id: RowCounts(1, misfits, window.until)}
        self.state.feedback_imports.commit(mandator, read, NOTHING_KNOWN, NOTHING_KNOWN, window.until)
        return entry

    def count(self, table: Any, *conditions: Any) -> int:
        with self.tables() as tables:
            return tables.execute(select(func.count()).select_from(table).where(*conditions)).scalar_one()


def unsubscribed(at: datetime, import_id: str = "import", mandator: str = "nord") -> Unsubscribe:
    raw = RawRow(import_id, 0)
    return Unsubscribe(ANNA, at, mandator, "optimizely:unsubscribes", raw=raw, attribution=Attribution.SNAPSHOTS)


@pytest.mark.thorough
def test_after_a_year_what_is_older_than_its_limit_is_gone_and_all_that_is_said_of_the_rest_is_the_same(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path / 'state.db'}"
    installation = Installation(
        tmp_path, VendorState(tmp_path / "vendor.db"), "http://localhost:1", f"sqlite:///{tmp_path / 'crm.db'}", url
    )
    installation.settings["retention"] = {kind: f"{days}d" for kind, days in LIMITS.items()}
    configuration = installation.configuration
    frames = FileStorage(configuration.storage.frames)
    with State(url) as state:
        days = Days(state, frames, url)
        unread = days.imported("nord", Window(FIRST - DAY, FIRST - HOUR), -1, misfits=1)
        delivered = days.imported("nord", Window(FIRST + HOUR, FIRST + HOUR), -2)
        with days.tables() as tables:
            remembered = {"mandator": "nord", "recipient_id": ANNA, "occurred_at": FIRST, "kind": "unsubscribes"}
            tables.execute(insert(unmatched_feedback).values(remembered))
            withdrawn = {"mandator": "nord", "opt_in_id": "newsletter-nord", "entity": "p_1", "withdrawn_at": FIRST}
            tables.execute(insert(known_withdrawal).values(withdrawn))
        for name in ("nord/newsletter_selection", "nord/former_selection", "west/suppression_state"):
            path = Path(configuration.storage.frames) / "assets" / f"{name}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            os.utime(path, (FIRST.timestamp(), FIRST.timestamp()))

        for number in range(0, DAYS, 2):
            days.pass_day(number, "nord", "newsletter")
            if number < 200:
                days.pass_day(number, "nord", "former")
                days.pass_day(number, "west", "newsletter")
            if number < 50:
                days.pass_day(number, "nord", "products")  # isn't replaced any more, and is configured
            if number % 14 == 0 or number == DAYS - 2:
                purge = ExpiredData(configuration, state, frames, FIRST + number * DAY + 18 * HOUR)
                for mandator in (*configuration.mandators, *purge.gone):
                    purge.remove_files(mandator)
                    purge.remove_rows(mandator)
                purge.remove_unfinished()
                purge.remove_names()

        base = Path(configuration.storage.frames)
        files = {path.relative_to(base) for path in base.rglob("*.*") if path.is_file() and path.suffix != ".json"}
        left = {str(folder): sum(folder in file.parents for file in files) for folder in map(Path, FOLDERS)}
        assert left == FOLDERS
        assert days.count(write_back) == LIMITS["write_backs"] // 2 + 2
        assert days.count(snapshot) == days.count(replace) + 17, "the journal"
        assert days.count(size_acceptance, size_acceptance.c.accepted_by == REMOVED_NAME) == 15
        assert state.replacements.proven_sizes("nord", "newsletter", 1000, NEWSLETTER) == [{"contact": 2}] * 25
        assert days.count(unmatched_feedback) == days.count(known_withdrawal) == 1

        archive = ListArchive(state, frames)
        for name, kept in (("newsletter", LIMITS["frames"] // 2), ("products", 2)):
            for proven in state.replacement_history.proven("nord", name)[:kept]:
                members = archive.list_members(archive.snapshot(proven), proven)
                assert list(members.rows["entity_id"]) == ["anna", "ben"], "as it was proven"
                assert not members.uncertain
        for age in (1, 28):
            (attributed,) = attribute_to_consents([unsubscribed(END - age * DAY)], state, frames)
            assert attributed.consents == {NEWS}
        for entry in (unread, delivered):
            again = unsubscribed(entry.until, entry.id)
            (known,) = state.write_backs.consents([again])[again.address, again.occurred_at]
            assert known.consent == NEWS, "read again, it is about the same"


def test_a_mandator_is_gone_only_if_nothing_of_it_has_run_for_a_week_and_a_half_written_file_if_its_writer_is(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path / 'state.db'}"
    installation = Installation(
        tmp_path, VendorState(tmp_path / "vendor.db"), "http://localhost:1", f"sqlite:///{tmp_path / 'crm.db'}", url
    )
    installation.settings["mandators"]["sued"]["schedule"] = "never"
    path = tmp_path / "campaign_sync.yaml"
    path.write_text(yaml.safe_dump(installation.settings), encoding="utf-8")
    configuration = load_configuration(path, installation.environment, whole=False)
    assert set(configuration.broken_mandators) == {"sued"}
    with State(url) as state:
        frames = FileStorage(configuration.storage.frames)
        days = Days(state, frames, url)
        for mandator, number in (("nord", 0), ("sued", 0), ("west", 0), ("elsewhere", 0), ("elsewhere", 4)):
            days.imported(mandator, Window(FIRST + number * DAY, FIRST + number * DAY + HOUR), number)
        assert ExpiredData(configuration, state, frames, FIRST + 8 * DAY).gone == ["west"]

        begun = Path(configuration.storage.frames) / "feedback" / ".a.csv.0123.part"
        begun.touch()
        now = datetime.now(UTC)
        assert not ExpiredData(configuration, state, frames, now).remove_unfinished().total()
        assert ExpiredData(configuration, state, frames, now + 2 * DAY).remove_unfinished().total() == 1
        assert not begun.exists()


FOLDERS = {
    "snapshots/nord/newsletter": 60,
    "snapshots/nord/products": 2,
    "snapshots/nord/former": 0,
    "snapshots/west": 0,
    "feedback/nord": 30 + 1,
    "feedback/west": 0,
    "responses/nord/opens": 46,
    "responses/west": 0,
    "assets/nord": 1,
    "assets/west": 0,
}
"""How many files are left in each folder."""
