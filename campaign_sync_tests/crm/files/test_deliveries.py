"""A delivery is complete, or it isn't used: every refusal, before anything is read from it."""

import json
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from campaign_sync.crm.files.source import FilesSource
from campaign_sync.crm.mirror.source import SourceReader
from campaign_sync.crm.port import CrmError, CrmNeeds
from campaign_sync.domain.entity import EntityType
from campaign_sync_tests.crm.files.deliveries import (
    DELIVERED,
    NOW,
    TABLES,
    Delivery,
    deliver,
    settings,
)


@pytest.fixture
def outbox(tmp_path: Path) -> Path:
    return tmp_path / "outbox"


@pytest.fixture
def copies(tmp_path: Path) -> Path:
    return tmp_path / "copies"


def ids(reader: SourceReader) -> list[object]:
    rows = reader.people(EntityType.CONTACT)
    return [row[0] for chunk in rows.chunks for row in chunk]


def read(outbox: Path, copies: Path, **changes: Any) -> list[object]:
    with FilesSource(settings(outbox, **changes), copies, lambda: NOW).read(CrmNeeds()) as reader:
        return ids(reader)


def read_while(source: FilesSource, change: Callable[[], object]) -> None:
    """Read a delivery in which something happens before the people are read."""
    with source.read(CrmNeeds()) as reader:
        change()
        ids(reader)


def refused(outbox: Path, copies: Path, **changes: Any) -> str:
    with pytest.raises(CrmError) as error:
        read(outbox, copies, **changes)
    assert "example.org" not in str(error.value)
    assert not [path for path in copies.glob("*") if path.name[0] != "."]
    return str(error.value)


def test_a_complete_delivery_is_read_and_nothing_of_it_stays_on_this_machine(outbox: Path, copies: Path) -> None:
    deliver(outbox)
    with FilesSource(settings(outbox), copies, lambda: NOW).read(CrmNeeds()) as reader:
        assert reader.as_of == DELIVERED
        assert ids(reader) == ["K1", " K2 ", "K3"]
        [folder] = copies.iterdir()
        stored = [folder, *folder.iterdir()]
        assert {path.stat().st_mode & 0o077 for path in stored} == {0}
        assert folder / "contact.csv" in stored
    assert list(copies.iterdir()) == []


def test_the_copies_of_a_process_that_died_are_removed_and_those_of_others_stay(outbox: Path, copies: Path) -> None:
    deliver(outbox)
    (copies / "download-dead").mkdir(parents=True)
    (copies / "download-dead" / "contact.csv").write_bytes(b"x")
    source = FilesSource(settings(outbox), copies, lambda: NOW)
    with source.read(CrmNeeds()) as first, source.read(CrmNeeds()) as second:
        assert ids(first) == ids(second)
        assert len(list(copies.iterdir())) == 2
    assert list(copies.iterdir()) == []


def test_the_same_delivery_is_read_again_and_verified_once(
    outbox: Path, copies: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver(outbox)
    source = FilesSource(settings(outbox), copies, lambda: NOW)
    with source.read(CrmNeeds()) as reader:
        assert len(ids(reader)) == 3
    with source.read(CrmNeeds()):
        [folder] = copies.iterdir()
        assert [path.name for path in folder.iterdir()] == [".lock"]  # each file is downloaded when it is needed


def test_without_a_manifest_nothing_is_used(outbox: Path, copies: Path) -> None:
    deliver(outbox)
    (outbox / "manifest.json").unlink()
    assert "no complete delivery: there is no manifest manifest.json" in refused(outbox, copies)


def test_a_missing_folder_is_named(outbox: Path, copies: Path) -> None:
    assert "there is no such folder; create it, or correct crm.url" in refused(outbox, copies)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda content: content[:-1], "sha256 differs"),
        (lambda content: content[: len(content) // 2], "sha256 differs"),
        (lambda content: content + content, "sha256 differs"),
        (lambda content: content.replace(b"K1", b"K9"), "sha256 differs"),
    ],
)
@pytest.mark.parametrize("name", ["contact.csv", "marketing_list_member.csv", "report_north.csv"])
def test_a_file_that_differs_from_the_manifest_stops_all_lists(
    outbox: Path, copies: Path, change: Callable[[bytes], bytes], says: str, name: str
) -> None:
    deliver(outbox)
    (outbox / name).write_bytes(change((outbox / name).read_bytes()))
    message = refused(outbox, copies)
    assert name in message
    assert says in message


@pytest.mark.parametrize("rows", [0, 2, 4])
def test_a_wrong_number_of_rows_is_refused(outbox: Path, copies: Path, rows: int) -> None:
    delivery = Delivery(outbox).add(TABLES)
    delivery.files["contact.csv"] = (delivery.files["contact.csv"][0], rows)
    delivery.write()
    assert f"contact.csv has 3 rows, and {rows} by the manifest" in refused(outbox, copies)


def test_a_missing_file_is_named_with_all_other_flaws(outbox: Path, copies: Path) -> None:
    deliver(outbox, {name: table for name, table in TABLES.items() if name not in ("lead", "address_state")})
    (outbox / "contact.csv").unlink()
    message = refused(outbox, copies)
    assert "contact.csv is in the manifest and not in the folder" in message
    assert "there is no lead.csv, as crm.tables.lead says" in message
    assert "there is no address_state.csv" in message


def test_a_table_that_would_be_ignored_is_refused(outbox: Path, copies: Path) -> None:
    events = [["id", "entity_type", "entity_id", "opt_in_id", "kind", "occurred_at"]]
    deliver(outbox, {**TABLES, "consent_event": events})
    assert "it has consent_event.csv, which would be ignored; add consent_event: {} to crm.tables" in refused(
        outbox, copies
    )


def test_other_files_in_the_folder_are_left_alone(outbox: Path, copies: Path) -> None:
    deliver(outbox)
    (outbox / "readme.txt").write_text("for people")
    (outbox / "notes.csv").write_bytes(b"\xff\x00")
    assert len(read(outbox, copies)) == 3


def test_a_delivery_is_refused_from_the_moment_on_that_it_is_too_old(outbox: Path, copies: Path) -> None:
    deliver(outbox, delivered_at=NOW - timedelta(hours=26))
    assert len(read(outbox, copies)) == 3
    deliver(outbox, delivered_at=NOW - timedelta(hours=26, seconds=1))
    assert "is of 2026-02-28 01:59 UTC and older than crm.max_age (26 h)" in refused(outbox, copies)
    assert len(read(outbox, copies, max_age="2d")) == 3


def test_a_delivery_of_the_future_is_refused(outbox: Path, copies: Path) -> None:
    deliver(outbox, delivered_at=NOW + timedelta(minutes=14))
    assert len(read(outbox, copies)) == 3
    deliver(outbox, delivered_at=NOW + timedelta(hours=1))
    assert "which is in the future; correct the clock or the time zone of the export" in refused(outbox, copies)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "isn't JSON"),
        (b'{"delivered_at": "2026-03-01T03:00:00Z", "files": {"contact.csv": {"ro', "isn't JSON"),
        (b"[" * 100_000, "isn't JSON"),
        (b"[]", "isn't JSON"),
        (b'{"delivered_at": "2026-03-01T03:00:00Z", "files": {}}', "isn't JSON"),
        (b'{"files": {"contact.csv": {"rows": 3, "sha256": "%s"}}}' % (b"0" * 64), "delivered_at must be a time"),
        (
            b'{"delivered_at": "2026-03-01T03:00:00", "files": {"contact.csv": {"rows": 3, "sha256": "%s"}}}'
            % (b"0" * 64),
            "delivered_at must be a time with its zone",
        ),
        (
            b'{"delivered_at": "0001-01-01T00:00:00+01:00", "files": {"contact.csv": {"rows": 3, "sha256": "%s"}}}'
            % (b"0" * 64),
            "delivered_at must be a time with its zone",
        ),
        (b'{"delivered_at": "2026-03-01T03:00:00Z", "files": {"contact.csv": 3}}', "rows of contact.csv must be"),
        (b'{"delivered_at": "2026-03-01T03:00:00Z", "files": {"contact.csv": {"rows": true}}}', "rows of contact.csv"),
        (b'{"delivered_at": "2026-03-01T03:00:00Z", "files": {"contact.csv": {"rows": 3}}}', "sha256 of contact.csv"),
        (b'{"delivered_at": "2026-03-01T03:00:00Z", "files": {"../contact.csv": {"rows": 3}}}', "another folder"),
    ],
)
def test_a_manifest_that_isnt_as_described_is_refused(outbox: Path, copies: Path, content: bytes, says: str) -> None:
    deliver(outbox)
    (outbox / "manifest.json").write_bytes(content)
    assert says in refused(outbox, copies)


def test_further_keys_of_a_manifest_a_byte_order_mark_and_upper_case_digests_are_accepted(
    outbox: Path, copies: Path
) -> None:
    deliver(outbox)
    document = json.loads((outbox / "manifest.json").read_bytes()) | {"system": "P01"}
    for entry in document["files"].values():
        entry |= {"sha256": entry["sha256"].upper(), "bytes": 1}
    (outbox / "manifest.json").write_text(json.dumps(document), encoding="utf-8-sig")
    assert len(read(outbox, copies)) == 3


def test_a_delivery_that_is_replaced_while_it_is_read_is_refused_at_the_end(outbox: Path, copies: Path) -> None:
    deliver(outbox)
    source = FilesSource(settings(outbox), copies, lambda: NOW)
    with pytest.raises(CrmError, match="was replaced while it was read; the next attempt reads the new one"):
        read_while(source, lambda: deliver(outbox, delivered_at=NOW))
    with source.read(CrmNeeds()) as reader:
        assert reader.as_of == NOW


def test_a_file_that_is_replaced_before_it_is_needed_is_noticed(outbox: Path, copies: Path) -> None:
    deliver(outbox)
    source = FilesSource(settings(outbox), copies, lambda: NOW)
    with source.read(CrmNeeds()):
        pass  # verified
    with pytest.raises(CrmError, match="changed while it was read; the next attempt reads the new delivery"):
        read_while(source, lambda: (outbox / "contact.csv").write_bytes(b"id,email\r\nK1,other@example.org\r\n"))


def test_an_error_of_the_reader_is_raised_even_if_the_delivery_was_replaced(outbox: Path, copies: Path) -> None:
    deliver(outbox)

    def fail() -> None:
        (outbox / "manifest.json").unlink()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        read_while(FilesSource(settings(outbox), copies, lambda: NOW), fail)


class TestSubfolders:
    """One subfolder per delivery."""

    COMPLETE = "*/manifest.json"

    def test_the_newest_complete_delivery_counts_and_not_the_last_name(self, outbox: Path, copies: Path) -> None:
        newer = {**TABLES, "contact": [["id", "email"], ["new", "x@example.org"]]}
        deliver(outbox / "b-older", delivered_at=DELIVERED - timedelta(hours=24))
        deliver(outbox / "a-newer", newer)
        assert read(outbox, copies, complete=self.COMPLETE) == ["new"]

    def test_a_subfolder_that_is_still_being_written_is_left_alone(self, outbox: Path, copies: Path) -> None:
        deliver(outbox / "20260301", delivered_at=DELIVERED)
        deliver(outbox / "20260302", {**TABLES, "contact": [["id", "email"]]}, delivered_at=NOW)
        (outbox / "20260302" / "manifest.json").unlink()
        assert len(read(outbox, copies, complete=self.COMPLETE)) == 3

    def test_a_damaged_newest_delivery_isnt_replaced_by_an_older_one(self, outbox: Path, copies: Path) -> None:
        deliver(outbox / "20260301", delivered_at=DELIVERED)
        deliver(outbox / "20260302", delivered_at=NOW)
        (outbox / "20260302" / "contact.csv").write_bytes(b"id,email\r\n")
        assert "sha256 differs" in refused(outbox, copies, complete=self.COMPLETE)

    def test_a_newer_delivery_that_arrives_meanwhile_doesnt_disturb(self, outbox: Path, copies: Path) -> None:
        deliver(outbox / "20260301", delivered_at=DELIVERED)
        source = FilesSource(settings(outbox, complete=self.COMPLETE), copies, lambda: NOW)
        with source.read(CrmNeeds()) as reader:
            deliver(outbox / "20260302", delivered_at=NOW)
            assert len(ids(reader)) == 3
        with source.read(CrmNeeds()) as reader:
            assert reader.as_of == NOW

    def test_only_the_subfolders_that_are_configured_count(self, outbox: Path, copies: Path) -> None:
        deliver(outbox / "archive", delivered_at=NOW)
        deliver(outbox / "day-1", {**TABLES, "contact": [["id", "email"]]})
        assert read(outbox, copies, complete="day-*/manifest.json") == []

    def test_a_manifest_beside_the_subfolders_is_no_delivery(self, outbox: Path, copies: Path) -> None:
        deliver(outbox)
        assert "there is no manifest */manifest.json" in refused(outbox, copies, complete=self.COMPLETE)


class TestTrigger:
    """A trigger file proves less than a manifest: docs/crm-files.md."""

    def prepare(self, outbox: Path) -> None:
        delivery = deliver(outbox)
        (outbox / "manifest.json").unlink()
        (outbox / "export.done").touch()
        for number, name in enumerate([*delivery.files, "export.done"]):
            moment = DELIVERED.timestamp() - 60 + number
            os.utime(outbox / name, (moment, moment))
        os.utime(outbox / "export.done", (DELIVERED.timestamp(), DELIVERED.timestamp()))

    def test_a_delivery_with_a_trigger_is_read(self, outbox: Path, copies: Path) -> None:
        self.prepare(outbox)
        with FilesSource(settings(outbox, trigger="*.done"), copies, lambda: NOW).read(CrmNeeds()) as reader:
            assert reader.as_of == DELIVERED
            assert len(ids(reader)) == 3

    def test_without_the_trigger_nothing_is_used(self, outbox: Path, copies: Path) -> None:
        self.prepare(outbox)
        (outbox / "export.done").unlink()
        assert "there is no trigger *.done" in refused(outbox, copies, trigger="*.done")

    def test_the_age_is_that_of_the_trigger(self, outbox: Path, copies: Path) -> None:
        self.prepare(outbox)
        assert "older than crm.max_age (0.5 h)" in refused(outbox, copies, trigger="*.done", max_age="30m")

    def test_a_file_newer_than_the_trigger_belongs_to_the_next_delivery(self, outbox: Path, copies: Path) -> None:
        self.prepare(outbox)
        (outbox / "contact.csv").touch()
        assert "contact.csv is newer than export.done: the next delivery is being written" in refused(
            outbox, copies, trigger="*.done"
        )

    def test_a_file_that_changes_meanwhile_is_noticed_at_the_end(self, outbox: Path, copies: Path) -> None:
        self.prepare(outbox)
        source = FilesSource(settings(outbox, trigger="*.done"), copies, lambda: NOW)
        with pytest.raises(CrmError, match="was replaced while it was read"):
            read_while(source, lambda: (outbox / "consent_state.csv").write_bytes(b"x"))

    def test_triggers_in_subfolders_count_as_well(self, outbox: Path, copies: Path) -> None:
        self.prepare(outbox / "20260301")
        assert len(read(outbox, copies, trigger="*/*.done")) == 3


def test_a_check_names_the_flaws_of_both_places_at_once(outbox: Path, copies: Path) -> None:
    deliver(outbox)
    source = FilesSource(settings(outbox), copies, lambda: NOW)
    with pytest.raises(CrmError, match=r"in: there is no such folder; create it, or correct crm\.write_back"):
        source.check(exports=False)
    (outbox / "contact.csv").unlink()
    with pytest.raises(CrmError, match=r"contact\.csv is in the manifest .*crm\.write_back"):
        source.check(exports=True)
    deliver(outbox)
    (outbox / "in").mkdir()
    source.check(exports=True)


def test_the_newest_delivery_is_the_last_export(outbox: Path, copies: Path) -> None:
    outbox.mkdir()
    source = FilesSource(settings(outbox), copies, lambda: NOW)
    assert source.last_export("nightly") is None
    deliver(outbox)
    assert source.last_export("nightly") == DELIVERED
    deliver(outbox, delivered_at=NOW + timedelta(days=1))
    assert source.last_export("nightly") is None


def test_an_empty_table_needs_its_header_line(outbox: Path, copies: Path) -> None:
    delivery = Delivery(outbox).add(TABLES)
    delivery.files["lead.csv"] = (b"", 0)
    delivery.write()
    assert "lead.csv is empty; its first line must have the names of its columns" in refused(outbox, copies)
