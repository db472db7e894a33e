"""Subfolders, files read in pieces, and files that are left for others: in a folder, over SFTP, in an object store."""

import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import asyncssh
import pytest
from upath import UPath

from campaign_sync.delivered_files.errors import (
    FileAccessError,
    FileSourceError,
    UnreachableFilesError,
    UnsettledFileError,
)
from campaign_sync.delivered_files.file_source import FileSource, unfinished_name
from campaign_sync.delivered_files.object_store import ObjectStore
from campaign_sync.delivered_files.open import open_file_source
from campaign_sync_tests.delivered_files.sftp_server import PASSWORD, USERNAME, SftpServer, serve_sftp

CONTENT = os.urandom(9_000_000)


@pytest.fixture
def outbox(tmp_path: Path) -> Path:
    folder = tmp_path / "crm" / "outbox"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def server(outbox: Path) -> Iterator[SftpServer]:
    with serve_sftp(outbox.parent) as running:
        yield running


def open_source(url: str, known_hosts: str | None = None) -> FileSource:
    return open_file_source(
        url, username=USERNAME, password=PASSWORD, key_file=None, known_hosts=known_hosts, setting="crm.url"
    )


@pytest.fixture(params=["folder", "server", "store"])
def place(request: pytest.FixtureRequest, outbox: Path) -> UPath:
    """Return the folder behind a file source of each kind; in an object store a folder is there with its first file."""
    return UPath(f"memory://{uuid4().hex}/outbox") if request.param == "store" else UPath(outbox)


@pytest.fixture
def source(request: pytest.FixtureRequest, place: UPath, tmp_path: Path) -> Iterator[FileSource]:
    if request.node.callspec.params["place"] == "server":
        server: SftpServer = request.getfixturevalue("server")
        opened = open_source(server.url, server.known_hosts(tmp_path / "known_hosts"))
    else:
        opened = open_source(str(place))
    with opened:
        yield opened


def deliver(place: UPath, name: str, content: bytes = b"x") -> None:
    (place / name).parent.mkdir(parents=True, exist_ok=True)
    (place / name).write_bytes(content)


def test_subfolders_are_listed_without_hidden_ones_and_files_in_them_read(place: UPath, source: FileSource) -> None:
    for name in ("b/contact.csv", "a/contact.csv", ".old/contact.csv", "c.part/contact.csv", "contact.csv"):
        deliver(place, name, name.encode())
    assert source.folders() == ["a", "b"]
    [file] = source.folder("b").files("*.csv")
    assert source.folder("b").read(file) == b"b/contact.csv"
    assert [file.name for file in source.files("*")] == ["contact.csv"]


@pytest.mark.parametrize("start", [0, 1, 4_194_304, 8_999_999, 9_000_000])
def test_a_large_file_is_read_in_pieces_from_any_byte_on(place: UPath, source: FileSource, start: int) -> None:
    deliver(place, "contact.csv", CONTENT)
    [file] = source.files("*")
    pieces = list(source.pieces(file, start))
    assert b"".join(pieces) == CONTENT[start:]
    assert max(map(len, pieces), default=0) <= 4_194_304


@pytest.mark.parametrize("change", [CONTENT[:10], CONTENT + b"more", b""], ids=["shorter", "longer", "empty"])
def test_a_file_that_changes_while_it_is_read_is_noticed(place: UPath, source: FileSource, change: bytes) -> None:
    deliver(place, "contact.csv", CONTENT)
    [file] = source.files("*")
    pieces = source.pieces(file)
    next(pieces)
    deliver(place, "contact.csv", change)
    with pytest.raises(UnsettledFileError):
        list(pieces)


def test_a_file_that_is_removed_before_it_is_read_is_noticed(place: UPath, source: FileSource) -> None:
    deliver(place, "contact.csv")
    [file] = source.files("*")
    (place / "contact.csv").unlink()
    with pytest.raises(UnsettledFileError):
        list(source.pieces(file))


def test_a_written_file_is_complete_and_nothing_else_remains(place: UPath, source: FileSource) -> None:
    source.probe_writing()
    source.write("withdrawals_1.csv", CONTENT)
    assert (place / "withdrawals_1.csv").read_bytes() == CONTENT
    assert [path.name for path in place.iterdir()] == ["withdrawals_1.csv"]


def test_an_existing_file_is_never_replaced(place: UPath, source: FileSource) -> None:
    deliver(place, "withdrawals_1.csv", b"of yesterday")
    with pytest.raises(FileSourceError, match=r"withdrawals_1\.csv exists already"):
        source.write("withdrawals_1.csv", b"of today")
    assert (place / "withdrawals_1.csv").read_bytes() == b"of yesterday"


def test_a_written_file_can_be_read_by_the_group_of_the_importer_whatever_the_umask(outbox: Path) -> None:
    before = os.umask(0o077)
    try:
        open_source(str(outbox)).write("withdrawals_1.csv", b"x")
    finally:
        os.umask(before)
    assert (outbox / "withdrawals_1.csv").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("place", ["folder", "server"], indirect=True)
def test_a_missing_folder_is_named_with_its_setting(source: FileSource, outbox: Path) -> None:
    outbox.rmdir()
    for attempt in (source.probe_writing, source.folders, lambda: source.write("withdrawals_1.csv", b"x")):
        with pytest.raises(FileSourceError, match=r"there is no such folder; create it, or correct crm\.url"):
            attempt()


@pytest.mark.parametrize("place", ["folder", "server"], indirect=True)
def test_a_folder_that_may_not_be_written_to_is_named(source: FileSource, outbox: Path) -> None:
    outbox.chmod(0o500)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)  # root may write everywhere
    try:
        with pytest.raises(FileAccessError, match=r"withdrawals_1\.csv may not be written to; give our user the right"):
            source.write("withdrawals_1.csv", b"x")
    finally:
        os.seteuid(user)
        outbox.chmod(0o700)


def test_an_upload_that_is_cut_leaves_no_file_of_its_name(
    server: SftpServer, outbox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = asyncssh.SFTPServer.write

    def fail_late(self: asyncssh.SFTPServer, file: object, offset: int, data: bytes) -> int:
        if offset > 1_000_000:
            raise asyncssh.SFTPConnectionLost("cut")
        return int(written(self, file, offset, data))  # type: ignore[arg-type]

    monkeypatch.setattr(asyncssh.SFTPServer, "write", fail_late)
    with (
        open_source(server.url, server.known_hosts(tmp_path / "known_hosts")) as source,
        pytest.raises(UnreachableFilesError, match=r"withdrawals_1\.csv"),
    ):
        source.write("withdrawals_1.csv", CONTENT)
    assert {path.name for path in outbox.iterdir()} <= {unfinished_name("withdrawals_1.csv")}


def test_a_server_without_the_renaming_of_openssh_is_written_to_as_well(
    server: SftpServer, outbox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(*_: object) -> None:
        raise asyncssh.SFTPOpUnsupported("posix-rename")

    monkeypatch.setattr(asyncssh.SFTPServer, "posix_rename", unsupported)
    with open_source(server.url, server.known_hosts(tmp_path / "known_hosts")) as source:
        source.write("withdrawals_1.csv", b"x")
    assert [path.name for path in outbox.iterdir()] == ["withdrawals_1.csv"]


def test_a_store_without_any_object_has_no_folder() -> None:
    with pytest.raises(FileSourceError, match=r"there is no such folder; create it, or correct crm\.url"):
        open_source("memory://nothing-here/outbox").files("*")


@pytest.mark.parametrize("scheme", ["s3", "gs", "abfs"])
def test_a_password_in_the_url_of_an_object_store_is_refused(scheme: str) -> None:
    with pytest.raises(FileSourceError, match="a password in it") as error:
        open_source(f"{scheme}://user:geheim@bucket/outbox")
    assert "geheim" not in str(error.value)


def test_an_object_store_is_opened_by_its_url() -> None:
    pytest.importorskip("s3fs", reason="needs the extra s3")
    assert isinstance(open_source("s3://bucket/outbox"), ObjectStore)


class _VendorError(Exception):
    """What the drivers of stores raise: no OSError."""


def test_errors_of_a_driver_are_named_without_their_text(monkeypatch: pytest.MonkeyPatch) -> None:
    source = open_source("memory://bucket/outbox")
    store = UPath("memory://bucket/outbox").fs

    def fail(*_: object, **__: object) -> None:
        raise _VendorError("geheim")

    monkeypatch.setattr(type(store), "ls", fail)
    with pytest.raises(UnreachableFilesError, match=r"\(_VendorError\).*check crm\.url") as error:
        source.files("*")
    assert "geheim" not in str(error.value)
    assert error.value.__cause__ is None
    assert error.value.__suppress_context__


def test_sftp_by_the_name_ssh_is_refused_as_its_driver_would_accept_any_host_key() -> None:
    for scheme in ("ssh", "ftp", "http", "smb"):
        with pytest.raises(FileSourceError, match="unknown scheme"):
            open_source(f"{scheme}://host/outbox")
