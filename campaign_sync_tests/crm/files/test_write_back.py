"""Withdrawals and bounces as files: complete or not there, with unique names, and nothing lost."""

import csv
import io
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from uuid import uuid4

import asyncssh
import pytest
from upath import UPath

from campaign_sync.crm.files import write_back
from campaign_sync.crm.files.source import FilesSource
from campaign_sync.crm.files.write_back import BOUNCE_COLUMNS, WITHDRAWAL_COLUMNS
from campaign_sync.crm.mirror.source import BounceMark, Withdrawal
from campaign_sync.crm.port import CrmError
from campaign_sync.domain.entity import Entity, EntityType
from campaign_sync.domain.feedback import BounceKind
from campaign_sync_tests.crm.files.deliveries import settings, sftp_settings
from campaign_sync_tests.delivered_files.sftp_server import SftpServer, serve_sftp

NAME = re.compile(r"(withdrawals|bounces)_\d{8}T\d{6}Z_[0-9a-f]{32}\.csv")
BERLIN = timezone(timedelta(hours=1))


def withdrawal(number: int = 1) -> Withdrawal:
    return Withdrawal(
        event_id=f"00000000-0000-4000-8000-{number:012}",
        entity=Entity(EntityType.CONTACT, f"K{number}"),
        email=f'"{number} ; ä"@Example.org',
        opt_in_id="newsletter",
        mandator="nord",
        occurred_at=datetime(2026, 3, 1, 12, 0, 0, 500, tzinfo=BERLIN),
        source="optimizely:unsubscribe",
        evidence="line 1\r\nline 2 💌",
    )


def bounce(*holders: tuple[Entity, str]) -> BounceMark:
    moment = datetime(2026, 3, 1, 11, tzinfo=UTC)
    return BounceMark("B1", "a@example.org", holders, BounceKind.HARD, moment, "nord", "optimizely:getOutBounces")


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    (tmp_path / "crm" / "outbox" / "in").mkdir(parents=True)
    return tmp_path / "crm" / "outbox" / "in"


@pytest.fixture
def source(inbox: Path, tmp_path: Path) -> FilesSource:
    return FilesSource(settings(inbox.parent), tmp_path / "copies")


def rows(content: bytes, delimiter: str = ",") -> list[dict[str, str]]:
    assert content.startswith(b'"id"')
    return list(csv.DictReader(io.StringIO(content.decode(), newline=""), delimiter=delimiter, strict=True))


def test_withdrawals_are_events_of_the_contract_with_address_and_mandator(source: FilesSource, inbox: Path) -> None:
    assert [list(part) for part in source.write_withdrawals([withdrawal()])] == [[withdrawal()]]
    [file] = inbox.iterdir()
    assert NAME.fullmatch(file.name)
    [row] = rows(file.read_bytes())
    assert tuple(row) == WITHDRAWAL_COLUMNS
    assert row == {
        "id": "00000000-0000-4000-8000-000000000001",
        "entity_type": "contact",
        "entity_id": "K1",
        "email": '"1 ; ä"@Example.org',
        "opt_in_id": "newsletter",
        "mandator": "nord",
        "kind": "withdrawn",
        "occurred_at": "2026-03-01T11:00:00.000500+00:00",
        "source": "optimizely:unsubscribe",
        "evidence": "line 1\r\nline 2 💌",
    }


def test_a_bounced_address_has_a_row_for_every_record_all_with_the_same_id(source: FilesSource, inbox: Path) -> None:
    contact, lead = Entity(EntityType.CONTACT, "K1"), Entity(EntityType.LEAD, "L1")
    marks = [bounce((contact, "A@example.org"), (lead, "a@Example.org")), bounce()]
    assert [list(part) for part in source.write_bounces(marks)] == [marks]
    [file] = inbox.iterdir()
    assert NAME.fullmatch(file.name)
    written = rows(file.read_bytes())
    assert tuple(written[0]) == BOUNCE_COLUMNS
    assert [(row["entity_type"], row["entity_id"], row["email"]) for row in written] == [
        ("contact", "K1", "A@example.org"),
        ("lead", "L1", "a@Example.org"),
        ("", "", ""),
    ]
    assert {(row["id"], row["address"], row["bounce_kind"]) for row in written} == {("B1", "a@example.org", "hard")}
    assert {row["bounced_at"] for row in written} == {"2026-03-01T11:00:00+00:00"}


def test_the_delimiter_is_the_one_of_the_deliveries(inbox: Path, tmp_path: Path) -> None:
    source = FilesSource(settings(inbox.parent, format={"delimiter": ";", "encoding": "cp1252"}), tmp_path / "copies")
    list(source.write_withdrawals([withdrawal()]))
    [file] = inbox.iterdir()
    assert rows(file.read_bytes(), ";")[0]["evidence"] == "line 1\r\nline 2 💌"


def test_many_withdrawals_are_written_in_files_and_yielded_file_by_file(
    source: FilesSource, inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write_back, "ROWS_PER_FILE", 2)
    withdrawals = [withdrawal(number) for number in range(5)]
    seen: list[Withdrawal] = []
    for number, part in enumerate(source.write_withdrawals(withdrawals), start=1):
        seen += part
        assert len(list(inbox.iterdir())) == number
    assert seen == withdrawals
    assert sorted(row["entity_id"] for file in inbox.iterdir() for row in rows(file.read_bytes())) == [
        f"K{number}" for number in range(5)
    ]


def test_the_same_withdrawal_again_is_another_file_with_the_same_id(source: FilesSource, inbox: Path) -> None:
    for _ in range(2):
        list(source.write_withdrawals([withdrawal()]))
    files = list(inbox.iterdir())
    assert len(files) == 2
    assert len({row["id"] for file in files for row in rows(file.read_bytes())}) == 1


def test_nothing_to_write_makes_no_file(source: FilesSource, inbox: Path) -> None:
    assert list(source.write_withdrawals([])) == []
    assert list(source.write_bounces([])) == []
    assert list(inbox.iterdir()) == []


def test_a_folder_that_is_missing_is_named_and_nothing_yielded(source: FilesSource, inbox: Path) -> None:
    inbox.rmdir()
    with pytest.raises(CrmError, match=r"there is no such folder; create it, or correct crm\.write_back"):
        list(source.write_withdrawals([withdrawal()]))


def test_an_object_store_takes_files_as_well(tmp_path: Path) -> None:
    outbox = UPath(f"memory://{uuid4().hex}/outbox")
    list(FilesSource(settings(outbox), tmp_path / "copies").write_withdrawals([withdrawal()]))
    [file] = (outbox / "in").iterdir()
    assert rows(file.read_bytes())[0]["entity_id"] == "K1"


class TestOverSftp:
    @pytest.fixture
    def server(self, inbox: Path) -> Iterator[SftpServer]:
        with serve_sftp(inbox.parents[1]) as running:
            yield running

    @pytest.fixture
    def source(self, server: SftpServer, tmp_path: Path) -> FilesSource:
        return FilesSource(sftp_settings(server, tmp_path), tmp_path / "copies")

    def test_withdrawals_are_written(self, source: FilesSource, inbox: Path) -> None:
        list(source.write_withdrawals([withdrawal()]))
        [file] = inbox.iterdir()
        assert rows(file.read_bytes())[0]["entity_id"] == "K1"

    def test_a_cut_upload_is_repeated_and_half_a_file_never_has_a_name_of_its_own(
        self, source: FilesSource, inbox: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        whole = asyncssh.SFTPServer.write
        cuts: list[int] = []

        def write_or_cut(self: asyncssh.SFTPServer, file: object, offset: int, data: bytes) -> object:
            if offset >= 100_000 and len(cuts) < 2:
                cuts.append(offset)
                self._chan.get_connection().abort()
            assert not [path for path in inbox.iterdir() if NAME.fullmatch(path.name)]
            return whole(self, file, offset, data)

        monkeypatch.setattr(asyncssh.SFTPServer, "write", write_or_cut)
        withdrawals = [withdrawal(number) for number in range(2_000)]
        assert [list(part) for part in source.write_withdrawals(withdrawals)] == [withdrawals]
        assert len(cuts) == 2
        [file] = [path for path in inbox.iterdir() if NAME.fullmatch(path.name)]
        assert len(rows(file.read_bytes())) == 2_000
        assert all(path.name[0] == "." and path.suffix == ".part" for path in inbox.iterdir() if path != file)

    def test_an_upload_that_is_always_cut_is_given_up_and_nothing_yielded(
        self, source: FilesSource, inbox: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def cut(self: asyncssh.SFTPServer, *_: object) -> int:
            self._chan.get_connection().abort()
            return 0

        monkeypatch.setattr(asyncssh.SFTPServer, "write", cut)
        with pytest.raises(CrmError, match="can't be reached"):
            list(source.write_withdrawals([withdrawal()]))
        assert not [path for path in inbox.iterdir() if NAME.fullmatch(path.name)]
