"""Deliveries over SFTP and in an object store: the same as in a folder, also if the connection is cut."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import asyncssh
import pytest
from upath import UPath

from campaign_sync.config.crm_files import FilesSettings
from campaign_sync.crm.files.source import FilesSource
from campaign_sync.crm.port import CrmError, CrmNeeds, CrmSetupError
from campaign_sync.domain.entity import EntityType
from campaign_sync_tests.crm.files.deliveries import DELIVERED, NOW, TABLES, deliver, settings, sftp_settings
from campaign_sync_tests.delivered_files.sftp_server import SftpServer, serve_sftp

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
"""The driver's thread that asks for data in advance ends with an exception when the connection is cut."""

PEOPLE = [[f"K{number}", f"k{number}@example.org", "x" * 200] for number in range(40_000)]
MANY = {**TABLES, "contact": [["id", "email", "note"], *PEOPLE]}
"""Contacts of some nine megabytes: more than is asked for in advance."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SftpServer]:
    (tmp_path / "crm" / "outbox" / "in").mkdir(parents=True)
    with serve_sftp(tmp_path / "crm") as running:
        yield running


@pytest.fixture
def over_sftp(server: SftpServer, tmp_path: Path) -> FilesSettings:
    return sftp_settings(server, tmp_path)


def read(form: FilesSettings, copies: Path) -> list[object]:
    with FilesSource(form, copies, lambda: NOW).read(CrmNeeds()) as reader:
        assert reader.as_of == DELIVERED
        return [row[0] for chunk in reader.people(EntityType.CONTACT).chunks for row in chunk]


@contextmanager
def cut_connections(monkeypatch: pytest.MonkeyPatch, times: int, after: int) -> Iterator[list[int]]:
    """Cut the first connections at their reads beyond a byte; yield where later ones read."""
    cut: list[object] = []
    offsets: list[int] = []
    whole = asyncssh.SFTPServer.read

    def read_or_cut(self: asyncssh.SFTPServer, file: object, offset: int, size: int) -> object:
        connection = self._chan.get_connection()
        if connection not in cut and offset >= after and len(cut) < times:
            cut.append(connection)
            connection.abort()
        elif connection not in cut and cut:
            offsets.append(offset)
        return whole(self, file, offset, size)

    with monkeypatch.context() as patch:
        patch.setattr(asyncssh.SFTPServer, "read", read_or_cut)
        yield offsets
    assert len(cut) == times


def test_a_delivery_over_sftp_is_read_as_in_a_folder(
    over_sftp: FilesSettings, server: SftpServer, tmp_path: Path
) -> None:
    deliver(server.folder / "outbox")
    assert read(over_sftp, tmp_path / "copies") == ["K1", " K2 ", "K3"]
    FilesSource(over_sftp, tmp_path / "copies", lambda: NOW).check(exports=True)


def test_a_download_goes_on_where_the_connection_was_cut(
    over_sftp: FilesSettings, server: SftpServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver(server.folder / "outbox", MANY)
    with cut_connections(monkeypatch, 2, 6_000_000) as offsets:
        assert len(read(over_sftp, tmp_path / "copies")) == 40_000
    assert min(offset for offset in offsets if offset > 100_000) >= 4_000_000
    assert list((tmp_path / "copies").iterdir()) == []


def test_after_a_few_cuts_the_read_is_given_up_by_one_sentence(
    over_sftp: FilesSettings, server: SftpServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver(server.folder / "outbox", MANY)
    with (
        cut_connections(monkeypatch, 4, 6_000_000),
        pytest.raises(CrmError, match=r"contact\.csv can't be reached .*; try again later") as error,
    ):
        read(over_sftp, tmp_path / "copies")
    assert error.value.retryable
    assert list((tmp_path / "copies").iterdir()) == []


def test_a_file_that_changes_between_two_connections_isnt_joined_from_both(
    over_sftp: FilesSettings, server: SftpServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver(server.folder / "outbox", MANY)
    contact = server.folder / "outbox" / "contact.csv"
    whole = asyncssh.SFTPServer.read
    changed: list[int] = []

    def cut_and_change(self: asyncssh.SFTPServer, file: object, offset: int, size: int) -> object:
        if offset >= 6_000_000 and not changed:
            changed.append(contact.write_bytes(contact.read_bytes().replace(b"K39999", b"K99999")))
            os.utime(contact, (1, 1))
            self._chan.get_connection().abort()
        return whole(self, file, offset, size)

    monkeypatch.setattr(asyncssh.SFTPServer, "read", cut_and_change)
    with pytest.raises(CrmError, match="changed while it was read"):
        read(over_sftp, tmp_path / "copies")


def test_a_rejected_login_is_an_error_of_the_configuration(server: SftpServer, tmp_path: Path) -> None:
    deliver(server.folder / "outbox")
    with pytest.raises(CrmSetupError, match="Check username, password and key file in crm, and") as error:
        read(sftp_settings(server, tmp_path, "falsch-0815"), tmp_path / "copies")
    assert "falsch" not in str(error.value)


def test_an_unknown_host_key_is_refused(over_sftp: FilesSettings, server: SftpServer, tmp_path: Path) -> None:
    deliver(server.folder / "outbox")
    server.known_hosts(tmp_path / "known_hosts", asyncssh.generate_private_key("ssh-ed25519"))
    with pytest.raises(CrmError, match=r"isn't the one in .*ssh-keyscan -p"):
        read(over_sftp, tmp_path / "copies")


def test_a_delivery_in_an_object_store_is_read_as_in_a_folder(tmp_path: Path) -> None:
    outbox = UPath(f"memory://{uuid4().hex}/outbox")
    form = settings(outbox, complete="*/manifest.json")
    with pytest.raises(CrmError, match=r"there is no such folder; create it, or correct crm\.url"):
        read(form, tmp_path / "copies")
    deliver(outbox / "20260228", delivered_at=DELIVERED.replace(day=1, month=2))
    deliver(outbox / "20260301")
    assert read(form, tmp_path / "copies") == ["K1", " K2 ", "K3"]
    FilesSource(form, tmp_path / "copies", lambda: NOW).check(exports=False)
    (outbox / "20260301" / "contact.csv").write_bytes(b"id,email\r\n")
    with pytest.raises(CrmError, match=r"contact\.csv isn't the file that the manifest describes"):
        read(form, tmp_path / "copies")
