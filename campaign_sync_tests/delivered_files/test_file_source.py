import logging
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import asyncssh
import paramiko
import pytest
from paramiko.common import AUTH_PARTIALLY_SUCCESSFUL

from campaign_sync.delivered_files import file_source, sftp, sftp_login
from campaign_sync.delivered_files.errors import FileAccessError, FileLoginError, FileSourceError, UnreachableFilesError
from campaign_sync.delivered_files.file_source import FileSource, RemoteFile
from campaign_sync.delivered_files.open import open_file_source
from campaign_sync_tests.delivered_files.sftp_server import PASSWORD, USERNAME, SftpServer, serve_sftp
from campaign_sync_tests.waiting import PATIENCE

MORNING = datetime(2026, 3, 1, 6, 0, tzinfo=UTC)
BOUNCES = "outbounces_*.csv"


@pytest.fixture
def outbox(tmp_path: Path) -> Path:
    folder = tmp_path / "vendor" / "outbox"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def server(outbox: Path) -> Iterator[SftpServer]:
    with serve_sftp(outbox.parent) as running:
        yield running


@pytest.fixture
def known_hosts(server: SftpServer, tmp_path: Path) -> str:
    return server.known_hosts(tmp_path / "known_hosts")


@pytest.fixture(params=["folder", "server"])
def source(request: pytest.FixtureRequest, outbox: Path) -> Iterator[FileSource]:
    """Open a file source of each kind."""
    if request.param == "folder":
        opened = open_file_source(str(outbox), username=None, password=None, key_file=None, known_hosts=None)
    else:
        url = request.getfixturevalue("server").url
        opened = with_password(url, request.getfixturevalue("known_hosts"))
    with opened:
        yield opened


def with_password(url: str, known_hosts: str | None, password: str = PASSWORD) -> FileSource:
    return open_file_source(url, username=USERNAME, password=password, key_file=None, known_hosts=known_hosts)


def with_key(url: str, known_hosts: str, key_file: Path, passphrase: str | None = None) -> FileSource:
    return open_file_source(
        url, username=USERNAME, password=passphrase, key_file=str(key_file), known_hosts=known_hosts
    )


def deliver(folder: Path, name: str, content: bytes = b"anna@example.org;1\n", minutes: int = 0) -> None:
    (folder / name).write_bytes(content)
    moment = MORNING.timestamp() + 60 * minutes
    os.utime(folder / name, (moment, moment))


def test_files_are_sorted_by_time_and_name(source: FileSource, outbox: Path) -> None:
    for name, minutes in (("outbounces_a.csv", 2), ("outbounces_c.csv", 0), ("outbounces_b.csv", 0)):
        deliver(outbox, name, minutes=minutes)
    names = [file.name for file in source.files(BOUNCES)]
    assert names == ["outbounces_b.csv", "outbounces_c.csv", "outbounces_a.csv"]


def test_a_file_has_a_name_size_and_time_in_utc(source: FileSource, outbox: Path) -> None:
    deliver(outbox, "outbounces_1.csv", b"12345")
    assert source.files(BOUNCES) == [RemoteFile("outbounces_1.csv", 5, MORNING)]


def test_folders_hidden_files_other_names_and_unfinished_uploads_are_skipped(source: FileSource, outbox: Path) -> None:
    (outbox / "outbounces_folder.csv").mkdir()
    deliver(outbox / "outbounces_folder.csv", "outbounces_below.csv")
    for name in (".outbounces_1.csv", "outbounces_1.csv.tmp", "o.part", "o.FilePart", "o.uploading", "o.csv"):
        deliver(outbox, name)
    assert [file.name for file in source.files("*")] == ["o.csv"]
    assert source.files(BOUNCES) == []


def test_links_to_files_are_followed_and_broken_links_skipped(source: FileSource, outbox: Path) -> None:
    deliver(outbox, "original", b"123")
    (outbox / "outbounces_link.csv").symlink_to("original")
    (outbox / "outbounces_lost.csv").symlink_to("nowhere")
    (outbox / "outbounces_up.csv").symlink_to(".")
    [file] = source.files(BOUNCES)
    assert (file.name, source.read(file)) == ("outbounces_link.csv", b"123")


@pytest.mark.parametrize("size", [0, 1, 5_000_000])
def test_a_file_is_read_to_the_last_byte(source: FileSource, outbox: Path, size: int) -> None:
    content = os.urandom(size)
    deliver(outbox, "outbounces_1.csv", content)
    [file] = source.files(BOUNCES)
    assert source.read(file) == content


def append(path: Path) -> None:
    with path.open("ab") as stream:
        stream.write(b"more")


@pytest.mark.parametrize("change", [append, Path.touch, lambda path: path.write_bytes(b"")])
def test_a_file_still_being_uploaded_is_left_for_the_next_import(
    source: FileSource, outbox: Path, change: Callable[[Path], object]
) -> None:
    deliver(outbox, "outbounces_1.csv")
    [file] = source.files(BOUNCES)
    change(outbox / "outbounces_1.csv")
    with pytest.raises(
        UnreachableFilesError, match=r"outbounces_1\.csv is still being written; the next import reads it"
    ):
        source.read(file)


def test_a_removed_file_is_left_for_the_next_import(source: FileSource, outbox: Path) -> None:
    deliver(outbox, "outbounces_1.csv")
    [file] = source.files(BOUNCES)
    (outbox / "outbounces_1.csv").unlink()
    with pytest.raises(UnreachableFilesError, match=r"outbounces_1\.csv is gone .* the next import reads it"):
        source.read(file)


def test_a_file_that_is_too_large_is_refused(source: FileSource, outbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_source, "MAX_BYTES", 4)
    deliver(outbox, "outbounces_1.csv", b"12345")
    [file] = source.files(BOUNCES)
    with pytest.raises(FileSourceError, match=r"outbounces_1\.csv is larger than 4 bytes"):
        source.read(file)


def test_a_missing_folder_is_named_with_the_remedy(source: FileSource, outbox: Path) -> None:
    outbox.rmdir()
    with pytest.raises(
        FileSourceError, match=r"outbox: there is no such folder; create it, or correct feedback\.files\.url"
    ):
        source.files(BOUNCES)


def test_an_unreadable_folder_is_named_with_the_remedy(source: FileSource, outbox: Path) -> None:
    outbox.chmod(0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)  # root may read everything
    try:
        with pytest.raises(FileAccessError, match="outbox may not be read; give our user the right"):
            source.files(BOUNCES)
    finally:
        os.seteuid(user)
        outbox.chmod(0o700)


def test_a_file_url_is_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "out box"
    folder.mkdir()
    deliver(folder, "outbounces_1.csv")
    url = folder.as_uri()
    with open_file_source(url, username=None, password=None, key_file=None, known_hosts=None) as opened:
        assert len(opened.files(BOUNCES)) == 1


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("ftp://nord:geheim@files.example.org/outbox", "choose a folder, file:///path or sftp://host/path"),
        ("file://relative/outbox", "with ///"),
        ("sftp:///outbox", "must be sftp://host/path"),
        ("sftp://nord:geheim@files.example.org/outbox", "username and password have settings of their own"),
        ("sftp://nord:geh/eim@files.example.org/outbox", "must be sftp://host/path"),
        ("sftp://nord:1/geheim@files.example.org/outbox", "must be sftp://host/path"),
        ("sftp://files.example.org:99999/outbox", "must be sftp://host/path"),
    ],
)
def test_an_invalid_url_is_refused_without_repeating_its_password(url: str, says: str) -> None:
    with pytest.raises(FileSourceError, match=says) as error:
        with_password(url, None)
    assert "geh" not in str(error.value)


def test_without_the_driver_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, sftp.__name__)
    monkeypatch.setitem(sys.modules, "paramiko", None)
    with pytest.raises(FileSourceError, match=r"needs the extra sftp; run `.*sftp"):
        with_password("sftp://files.example.org/outbox", None)


@pytest.mark.parametrize("passphrase", [None, "anders-0815"])
@pytest.mark.parametrize("kind", ["ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa"])
def test_a_key_logs_in(
    server: SftpServer, known_hosts: str, outbox: Path, tmp_path: Path, kind: str, passphrase: str | None
) -> None:
    server.user_key = asyncssh.generate_private_key(kind)
    key_file = tmp_path / "key"
    key_file.write_bytes(server.user_key.export_private_key("openssh", passphrase, rounds=50))
    deliver(outbox, "outbounces_1.csv")
    with with_key(server.url, known_hosts, key_file, passphrase) as opened:
        assert len(opened.files(BOUNCES)) == 1


@pytest.mark.parametrize(("kind", "form"), [("ssh-rsa", "pkcs1-pem"), ("ssh-ed25519", "pkcs8-pem")])
def test_a_key_in_pem_logs_in(server: SftpServer, known_hosts: str, tmp_path: Path, kind: str, form: str) -> None:
    server.user_key = asyncssh.generate_private_key(kind)
    server.user_key.write_private_key(tmp_path / "key", form)
    with with_key(server.url, known_hosts, tmp_path / "key") as opened:
        assert opened.files(BOUNCES) == []


def test_a_key_that_the_server_does_not_know_is_not_tried_as_a_password(
    server: SftpServer, known_hosts: str, tmp_path: Path
) -> None:
    (tmp_path / "key").write_bytes(
        asyncssh.generate_private_key("ssh-ed25519").export_private_key("openssh", PASSWORD, rounds=50)
    )
    with pytest.raises(FileLoginError, match="doesn't let this user in"):
        with_key(server.url, known_hosts, tmp_path / "key", PASSWORD)


def test_the_default_keys_of_the_user_log_in(
    server: SftpServer, known_hosts: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    (tmp_path / ".ssh").mkdir()
    server.user_key.write_private_key(tmp_path / ".ssh" / "id_ed25519")
    with open_file_source(
        server.url, username=USERNAME, password=None, key_file=None, known_hosts=known_hosts
    ) as opened:
        assert opened.files(BOUNCES) == []
    with pytest.raises(FileLoginError):
        with_password(server.url, known_hosts, "falsch")


@pytest.mark.parametrize("password", ["falsch-99", ""])
def test_a_wrong_password_says_what_to_check_and_repeats_nothing(
    server: SftpServer, known_hosts: str, password: str
) -> None:
    with pytest.raises(FileLoginError, match="Check username, password and key file") as error:
        with_password(server.url, known_hosts, password)
    assert server.url in str(error.value)
    assert USERNAME not in str(error.value)
    assert "falsch" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "passphrase", "says"),
    [
        (None, None, r"can't be read \(No such file"),
        (b"no key", None, "must be a private Ed25519, ECDSA or RSA key"),
        ("locked", None, "with its passphrase"),
        ("plain", "falsch-99", "if it has one and only then"),
        ("locked", "falsch-99", "with its passphrase"),
    ],
)
def test_a_key_file_that_cannot_be_used_says_why(
    server: SftpServer, known_hosts: str, tmp_path: Path, content: bytes | str | None, passphrase: str | None, says: str
) -> None:
    if content == "locked":
        content = server.user_key.export_private_key("openssh", "anders-0815", rounds=50)
    if content == "plain":
        content = server.user_key.export_private_key()
    if isinstance(content, bytes):
        (tmp_path / "key").write_bytes(content)
    with pytest.raises(FileLoginError, match=says):
        with_key(server.url, known_hosts, tmp_path / "key", passphrase)


def test_a_server_without_username_is_refused(server: SftpServer, known_hosts: str) -> None:
    with pytest.raises(FileLoginError, match=r"set feedback\.files\.username"):
        open_file_source(server.url, username=None, password=PASSWORD, key_file=None, known_hosts=known_hosts)


def test_a_server_with_another_host_key_is_refused(server: SftpServer, tmp_path: Path) -> None:
    known_hosts = server.known_hosts(tmp_path / "known_hosts", asyncssh.generate_private_key("ssh-ed25519"))
    with pytest.raises(FileSourceError, match=r"isn't the one in .*ssh-keygen -f .* -R .*ssh-keyscan -p") as error:
        with_password(server.url, known_hosts)
    assert server.host_key.get_fingerprint() in str(error.value)


def test_a_server_with_an_unknown_host_key_is_refused_and_not_remembered(server: SftpServer, tmp_path: Path) -> None:
    known_hosts = tmp_path / "known_hosts"
    known_hosts.write_text("")
    with pytest.raises(FileSourceError, match=r"isn't in .*Compare the fingerprint .*ssh-keyscan -p") as error:
        with_password(server.url, str(known_hosts))
    assert server.host_key.get_fingerprint() in str(error.value)
    assert known_hosts.read_text() == ""


@pytest.mark.parametrize("content", [None, "127.0.0.1 ssh-ed25519 !!!\n", "\0\xff"])
def test_no_server_is_trusted_without_a_usable_known_hosts(
    server: SftpServer, tmp_path: Path, content: str | None
) -> None:
    if content is not None:
        (tmp_path / "known_hosts").write_text(content, "latin-1")
    with pytest.raises(FileSourceError, match="ssh-keyscan"):
        with_password(server.url, str(tmp_path / "known_hosts"))


def test_a_user_without_sftp_is_refused(outbox: Path, tmp_path: Path) -> None:
    with (
        serve_sftp(outbox.parent, files=False) as server,
        pytest.raises(FileAccessError, match="lets this user in, but refuses SFTP"),
    ):
        with_password(server.url, server.known_hosts(tmp_path / "known_hosts"))


class SecondFactorServer(paramiko.ServerInterface):
    """Accepts any password and then demands a code."""

    def get_allowed_auths(self, username: str) -> str:
        return "password,keyboard-interactive"

    def check_auth_password(self, username: str, password: str) -> int:
        return AUTH_PARTIALLY_SUCCESSFUL


def test_a_server_that_demands_a_second_factor_is_refused_without_a_prompt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("a prompt was shown"))
    host_key = paramiko.ECDSAKey.generate()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        (tmp_path / "known_hosts").write_text(f"[127.0.0.1]:{port} {host_key.get_name()} {host_key.get_base64()}\n")

        def answer() -> None:
            transport = paramiko.Transport(listening.accept()[0])
            transport.add_server_key(host_key)
            transport.start_server(server=SecondFactorServer())
            transport.join()

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(FileLoginError, match="without a second factor"):
            with_password(f"sftp://127.0.0.1:{port}/outbox", str(tmp_path / "known_hosts"))
        thread.join()


def test_a_closed_port_is_transient(tmp_path: Path) -> None:
    (tmp_path / "known_hosts").touch()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"sftp://127.0.0.1:{taken.getsockname()[1]}/outbox"
        with pytest.raises(UnreachableFilesError, match=rf"{url}: no connection"):
            with_password(url, str(tmp_path / "known_hosts"))


def test_a_silent_server_times_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sftp_login, "TIMEOUT_SECONDS", 0.3)
    (tmp_path / "known_hosts").touch()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"sftp://127.0.0.1:{silent.getsockname()[1]}/outbox"
        with pytest.raises(UnreachableFilesError, match="no connection"):
            with_password(url, str(tmp_path / "known_hosts"))


def test_a_lost_connection_is_transient(outbox: Path, tmp_path: Path) -> None:
    with serve_sftp(outbox.parent) as server:
        opened = with_password(server.url, server.known_hosts(tmp_path / "known_hosts"))
        opened.close()
    with pytest.raises(UnreachableFilesError, match="can't be reached"):
        opened.files(BOUNCES)


def test_a_closed_source_leaves_no_thread_behind(server: SftpServer, known_hosts: str) -> None:
    with with_password(server.url, known_hosts) as opened:
        opened.files(BOUNCES)
    with pytest.raises(FileLoginError):
        with_password(server.url, known_hosts, "falsch-99")
    for thread in threading.enumerate():
        if isinstance(thread, paramiko.Transport | threading.Timer):
            thread.join(PATIENCE)
            assert not thread.is_alive()


def test_the_driver_logs_nothing(
    server: SftpServer, known_hosts: str, outbox: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    deliver(outbox, "outbounces_1.csv")
    with with_password(server.url, known_hosts) as opened:
        [file] = opened.files(BOUNCES)
        opened.read(file)
    with pytest.raises(FileLoginError):
        with_password(server.url, known_hosts, "falsch-99")
    loggers = {record.name.partition(".")[0] for record in caplog.records}
    assert "asyncssh" in loggers  # the server of the tests, so something would have been seen
    assert "paramiko" not in loggers
