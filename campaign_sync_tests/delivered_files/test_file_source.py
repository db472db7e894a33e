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

from campaign_sync.delivered_files import file_source as drops
from campaign_sync.delivered_files import sftp as sftp_drops
from campaign_sync.delivered_files import sftp_login
from campaign_sync.delivered_files.file_source import FileSource, RemoteFile, open_file_source
from campaign_sync.optimizely.errors import CredentialsError, FileSourceError, RefusedError, TransientError
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
def drop(request: pytest.FixtureRequest, outbox: Path) -> Iterator[FileSource]:
    """The same test once on each kind of drop."""
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


def test_the_oldest_delivery_comes_first_and_the_name_decides_between_equals(drop: FileSource, outbox: Path) -> None:
    for name, minutes in (("outbounces_a.csv", 2), ("outbounces_c.csv", 0), ("outbounces_b.csv", 0)):
        deliver(outbox, name, minutes=minutes)
    names = [file.name for file in drop.files(BOUNCES)]
    assert names == ["outbounces_b.csv", "outbounces_c.csv", "outbounces_a.csv"]


def test_a_delivery_is_known_by_name_size_and_time_in_utc(drop: FileSource, outbox: Path) -> None:
    deliver(outbox, "outbounces_1.csv", b"12345")
    assert drop.files(BOUNCES) == [RemoteFile("outbounces_1.csv", 5, MORNING)]


def test_folders_hidden_files_other_names_and_unfinished_uploads_are_left_alone(drop: FileSource, outbox: Path) -> None:
    (outbox / "outbounces_folder.csv").mkdir()
    deliver(outbox / "outbounces_folder.csv", "outbounces_below.csv")
    for name in (".outbounces_1.csv", "outbounces_1.csv.tmp", "o.part", "o.FilePart", "o.uploading", "o.csv"):
        deliver(outbox, name)
    assert [file.name for file in drop.files("*")] == ["o.csv"]
    assert drop.files(BOUNCES) == []


def test_a_link_to_a_file_is_a_delivery_and_a_link_to_nothing_is_not(drop: FileSource, outbox: Path) -> None:
    deliver(outbox, "original", b"123")
    (outbox / "outbounces_link.csv").symlink_to("original")
    (outbox / "outbounces_lost.csv").symlink_to("nowhere")
    (outbox / "outbounces_up.csv").symlink_to(".")
    [file] = drop.files(BOUNCES)
    assert (file.name, drop.read(file)) == ("outbounces_link.csv", b"123")


@pytest.mark.parametrize("size", [0, 1, 5_000_000])
def test_a_delivery_is_read_to_the_last_byte(drop: FileSource, outbox: Path, size: int) -> None:
    content = os.urandom(size)
    deliver(outbox, "outbounces_1.csv", content)
    [file] = drop.files(BOUNCES)
    assert drop.read(file) == content


def append(path: Path) -> None:
    with path.open("ab") as stream:
        stream.write(b"more")


@pytest.mark.parametrize("change", [append, Path.touch, lambda path: path.write_bytes(b"")])
def test_a_file_still_being_uploaded_is_left_for_the_next_import(
    drop: FileSource, outbox: Path, change: Callable[[Path], object]
) -> None:
    deliver(outbox, "outbounces_1.csv")
    [file] = drop.files(BOUNCES)
    change(outbox / "outbounces_1.csv")
    with pytest.raises(TransientError, match=r"outbounces_1\.csv is still being written; the next import reads it"):
        drop.read(file)


def test_a_file_that_has_vanished_is_left_for_the_next_import(drop: FileSource, outbox: Path) -> None:
    deliver(outbox, "outbounces_1.csv")
    [file] = drop.files(BOUNCES)
    (outbox / "outbounces_1.csv").unlink()
    with pytest.raises(TransientError, match=r"outbounces_1\.csv is gone .* the next import reads it"):
        drop.read(file)


def test_a_file_that_would_fill_the_memory_is_refused(
    drop: FileSource, outbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drops, "MAX_BYTES", 4)
    deliver(outbox, "outbounces_1.csv", b"12345")
    [file] = drop.files(BOUNCES)
    with pytest.raises(FileSourceError, match=r"outbounces_1\.csv is larger than 4 bytes"):
        drop.read(file)


def test_a_drop_that_is_not_there_is_named_with_the_remedy(drop: FileSource, outbox: Path) -> None:
    outbox.rmdir()
    with pytest.raises(FileSourceError, match=r"outbox: there is no such folder; create it, or correct the URL"):
        drop.files(BOUNCES)


def test_a_drop_that_may_not_be_read_is_named_with_the_remedy(drop: FileSource, outbox: Path) -> None:
    outbox.chmod(0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)  # root may read everything
    try:
        with pytest.raises(RefusedError, match="outbox may not be read; give our user the right"):
            drop.files(BOUNCES)
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
def test_a_url_that_cannot_be_used_is_refused_without_repeating_its_password(url: str, says: str) -> None:
    with pytest.raises(FileSourceError, match=says) as error:
        with_password(url, None)
    assert "geh" not in str(error.value)


def test_without_the_driver_the_error_tells_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, sftp_drops.__name__)
    monkeypatch.setitem(sys.modules, "paramiko", None)
    with pytest.raises(FileSourceError, match=r"pip install campaign-sync\[sftp\]"):
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
    with pytest.raises(CredentialsError, match="doesn't let this user in"):
        with_key(server.url, known_hosts, tmp_path / "key", PASSWORD)


def test_without_password_and_key_file_the_keys_of_this_user_log_in(
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
    with pytest.raises(CredentialsError):
        with_password(server.url, known_hosts, "falsch")


@pytest.mark.parametrize("password", ["falsch-99", ""])
def test_a_wrong_password_says_what_to_check_and_repeats_nothing(
    server: SftpServer, known_hosts: str, password: str
) -> None:
    with pytest.raises(CredentialsError, match="Check username, password and key file") as error:
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
    with pytest.raises(CredentialsError, match=says):
        with_key(server.url, known_hosts, tmp_path / "key", passphrase)


def test_a_server_without_username_is_refused(server: SftpServer, known_hosts: str) -> None:
    with pytest.raises(CredentialsError, match="set the username"):
        open_file_source(server.url, username=None, password=PASSWORD, key_file=None, known_hosts=known_hosts)


def test_a_server_with_another_host_key_is_refused(server: SftpServer, tmp_path: Path) -> None:
    known_hosts = server.known_hosts(tmp_path / "known_hosts", asyncssh.generate_private_key("ssh-ed25519"))
    with pytest.raises(FileSourceError, match=r"isn't the one in .*ssh-keygen -f .* -R .*ssh-keyscan -p") as error:
        with_password(server.url, known_hosts)
    assert server.host_key.get_fingerprint() in str(error.value)


def test_a_server_that_nobody_knows_is_refused_and_not_remembered(server: SftpServer, tmp_path: Path) -> None:
    known_hosts = tmp_path / "known_hosts"
    known_hosts.write_text("")
    with pytest.raises(FileSourceError, match=r"isn't in .*Compare the fingerprint .*ssh-keyscan -p") as error:
        with_password(server.url, str(known_hosts))
    assert server.host_key.get_fingerprint() in str(error.value)
    assert known_hosts.read_text() == ""


@pytest.mark.parametrize("content", [None, "127.0.0.1 ssh-ed25519 !!!\n", "\0\xff"])
def test_nobody_is_trusted_without_a_usable_known_hosts(
    server: SftpServer, tmp_path: Path, content: str | None
) -> None:
    if content is not None:
        (tmp_path / "known_hosts").write_text(content, "latin-1")
    with pytest.raises(FileSourceError, match="ssh-keyscan"):
        with_password(server.url, str(tmp_path / "known_hosts"))


def test_a_user_who_may_log_in_but_not_use_sftp_is_refused(outbox: Path, tmp_path: Path) -> None:
    with (
        serve_sftp(outbox.parent, files=False) as server,
        pytest.raises(RefusedError, match="lets this user in, but not to its files"),
    ):
        with_password(server.url, server.known_hosts(tmp_path / "known_hosts"))


class SecondFactorServer(paramiko.ServerInterface):
    """Takes any password and then wants a code from somebody."""

    def get_allowed_auths(self, username: str) -> str:
        return "password,keyboard-interactive"

    def check_auth_password(self, username: str, password: str) -> int:
        return AUTH_PARTIALLY_SUCCESSFUL


def test_a_server_that_wants_a_second_factor_is_refused_and_nobody_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("somebody was asked"))
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
        with pytest.raises(CredentialsError, match="without a second factor"):
            with_password(f"sftp://127.0.0.1:{port}/outbox", str(tmp_path / "known_hosts"))
        thread.join()


def test_a_closed_port_may_pass(tmp_path: Path) -> None:
    (tmp_path / "known_hosts").touch()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"sftp://127.0.0.1:{taken.getsockname()[1]}/outbox"
        with pytest.raises(TransientError, match=rf"{url}: no connection"):
            with_password(url, str(tmp_path / "known_hosts"))


def test_a_server_that_says_nothing_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sftp_login, "TIMEOUT_SECONDS", 0.3)
    (tmp_path / "known_hosts").touch()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"sftp://127.0.0.1:{silent.getsockname()[1]}/outbox"
        with pytest.raises(TransientError, match="no connection"):
            with_password(url, str(tmp_path / "known_hosts"))


def test_a_connection_that_broke_may_pass(outbox: Path, tmp_path: Path) -> None:
    with serve_sftp(outbox.parent) as server:
        opened = with_password(server.url, server.known_hosts(tmp_path / "known_hosts"))
        opened.close()
    with pytest.raises(TransientError, match="can't be reached"):
        opened.files(BOUNCES)


def test_an_open_drop_leaves_no_thread_behind(server: SftpServer, known_hosts: str) -> None:
    with with_password(server.url, known_hosts) as opened:
        opened.files(BOUNCES)
    with pytest.raises(CredentialsError):
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
    with pytest.raises(CredentialsError):
        with_password(server.url, known_hosts, "falsch-99")
    loggers = {record.name.partition(".")[0] for record in caplog.records}
    assert "asyncssh" in loggers  # the server of the tests, so something would have been seen
    assert "paramiko" not in loggers
