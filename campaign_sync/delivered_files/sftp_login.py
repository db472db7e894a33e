"""Login to an SFTP server: only if its host key is known, and never interactive."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn
from urllib.parse import unquote, urlsplit

import paramiko
from paramiko.auth_strategy import AuthFailure, AuthSource, AuthStrategy

from campaign_sync.delivered_files.errors import FileAccessError, FileLoginError, FileSourceError, UnreachableFilesError
from campaign_sync.delivered_files.sftp_keys import auth_sources

TIMEOUT_SECONDS = 30.0
"""The limit for the connection, the login, and each answer."""


@dataclass(frozen=True)
class Address:
    """The server and folder. As text, a URL without credentials."""

    host: str
    port: int
    folder: str

    @classmethod
    def of(cls, url: str, setting: str) -> "Address":
        """Parse the URL of a setting.

        Raises:
            FileSourceError: it isn't `sftp://host[:port]/path`. The message doesn't repeat it: it may hold a password.
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port or 22
        except ValueError:
            host, port = None, 0
        if host is None or "@" in url or parts.query or parts.fragment:
            raise FileSourceError(
                f"{setting} must be sftp://host/path or sftp://host:port/path, with @, ? and # of the path as "
                "%40, %3F and %23; username and password have settings of their own."
            )
        return cls(host, port, unquote(parts.path) or ".")

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == 22 else f":{self.port}"
        return f"sftp://{host}{port}/{self.folder.strip('/')}".rstrip("/")


@dataclass(frozen=True, repr=False)
class Credentials:
    """Who logs in, and which server is trusted. For the fields see `open_file_source`."""

    username: str | None
    password: str | None
    key_file: str | None
    known_hosts: str | None
    section: str
    """The section of the configuration with them, for messages."""


def log_in(address: Address, credentials: Credentials) -> tuple[paramiko.SSHClient, paramiko.SFTPClient]:
    """Open the connection and SFTP on it. For errors see `open_file_source`."""
    _silence_the_driver()
    username, section = credentials.username, credentials.section
    if not username:
        raise FileLoginError(f"{address}: no user to log in as; set {section}.username.")
    sources = auth_sources(str(address), username, credentials.password, credentials.key_file, section)
    client = paramiko.SSHClient()
    trusted = Path(credentials.known_hosts or "~/.ssh/known_hosts").expanduser()
    client.set_missing_host_key_policy(_RejectUnknown(address, trusted))
    try:
        with _trusted_keys(address, trusted):
            client.load_system_host_keys(str(trusted))
        _log_in(client, address, trusted, ConfiguredAuth(username, sources), section)
        return client, _open_sftp(client, address)
    except BaseException:
        client.close()
        raise


class _RejectUnknown(paramiko.RejectPolicy):
    """Rejects unknown host keys, and says what to do."""

    def __init__(self, address: Address, trusted: Path):
        self._address = address
        self._trusted = trusted

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> NoReturn:
        raise _untrusted(self._address, self._trusted, key, "isn't in")


class ConfiguredAuth(AuthStrategy):
    """Tries the configured credentials only. paramiko's default may ask for a second factor on the terminal."""

    def __init__(self, username: str, sources: Iterator[AuthSource]):
        super().__init__(paramiko.SSHConfig())
        self.username = username
        self._sources = sources

    def get_sources(self) -> Iterator[AuthSource]:
        """Return the configured credentials."""
        return self._sources


@contextmanager
def _trusted_keys(address: Address, trusted: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        problem = "isn't there"
    except (OSError, ValueError, paramiko.hostkeys.InvalidHostKey):
        problem = "can't be read"
    else:
        return
    raise FileSourceError(f"{address}: {trusted} (known_hosts) {problem}. {_keyscan(address, trusted)}")


def _untrusted(address: Address, trusted: Path, key: paramiko.PKey, problem: str, forget: str = "") -> FileSourceError:
    return FileSourceError(
        f"{address}: the server's host key ({key.get_name()} {key.fingerprint}) {problem} {trusted} (known_hosts), so "
        f"it may be another server. {_keyscan(address, trusted, forget)}"
    )


def _keyscan(address: Address, trusted: Path, forget: str = "") -> str:
    return (
        f"Compare the fingerprint with the one that its operator gives you, and only if they are equal: "
        f"{forget}ssh-keyscan -p {address.port} {address.host} >> {trusted}"
    )


def _log_in(client: paramiko.SSHClient, address: Address, trusted: Path, login: ConfiguredAuth, section: str) -> None:
    try:
        client.connect(
            address.host,
            address.port,
            username=login.username,
            timeout=TIMEOUT_SECONDS,
            banner_timeout=TIMEOUT_SECONDS,
            auth_timeout=TIMEOUT_SECONDS,
            channel_timeout=TIMEOUT_SECONDS,
            allow_agent=False,
            look_for_keys=False,
            auth_strategy=login,
        )
    except paramiko.BadHostKeyException as error:
        # The first key of a host counts, so the old one must be removed.
        known_as = address.host if address.port == 22 else f"[{address.host}]:{address.port}"
        forget = f"ssh-keygen -f {trusted} -R '{known_as}' && "
        raise _untrusted(address, trusted, error.key, "isn't the one in", forget) from None
    except AuthFailure as error:
        if any(_is_transient(result) for _, result in error.result):
            raise UnreachableFilesError(
                f"{address}: the connection was lost during the login; try again later."
            ) from None
        raise _rejected(address, section) from None
    except paramiko.ssh_exception.IncompatiblePeer:
        raise FileAccessError(
            f"{address}: the server offers only encryption that is out of date; ask its operator to update it."
        ) from None
    except (paramiko.SSHException, EOFError, OSError, UnicodeError) as error:
        raise UnreachableFilesError(
            f"{address}: no connection ({type(error).__name__}); check the URL, the firewall and whether "
            "the server is up."
        ) from None
    if not _transport(client).is_authenticated():
        raise _rejected(address, section, " without a second factor, which an unattended program can't give")


def _rejected(address: Address, section: str, why: str = "") -> FileLoginError:
    return FileLoginError(
        f"{address}: the server doesn't let this user in{why}. Check username, password and key file in "
        f"{section}, and that the user may log in from this machine's address."
    )


def _is_transient(result: object) -> bool:
    """Return whether a login failed for another reason than a refusal."""
    if not isinstance(result, paramiko.AuthenticationException):
        return isinstance(result, Exception)
    return "timeout" in str(result)


def _open_sftp(client: paramiko.SSHClient, address: Address) -> paramiko.SFTPClient:
    """Open SFTP on the connection. The driver waits for some answers without a limit, so a timer sets one."""
    transport = _transport(client)
    watchdog = threading.Timer(TIMEOUT_SECONDS, transport.close)
    watchdog.daemon = True
    watchdog.start()
    try:
        channel = transport.open_session(timeout=TIMEOUT_SECONDS)
        channel.settimeout(TIMEOUT_SECONDS)
        channel.invoke_subsystem("sftp")
        return paramiko.SFTPClient(channel)
    except (paramiko.SSHException, EOFError, OSError):
        if not transport.is_active():
            raise UnreachableFilesError(f"{address}: the connection was lost; try again later.") from None
        raise FileAccessError(
            f"{address}: the server lets this user in, but refuses SFTP; ask its operator to allow it."
        ) from None
    finally:
        watchdog.cancel()


def _transport(client: paramiko.SSHClient) -> paramiko.Transport:
    transport = client.get_transport()
    if transport is None:
        raise AssertionError("the client is connected")
    return transport


def _silence_the_driver() -> None:
    """Disable the driver's log, which names users, paths and keys."""
    logging.getLogger("paramiko").setLevel(logging.CRITICAL + 1)
