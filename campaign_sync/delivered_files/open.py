"""The choice of the file source for a URL."""

from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from campaign_sync.delivered_files.errors import FileSourceError
from campaign_sync.delivered_files.file_source import FileSource
from campaign_sync.delivered_files.folder import Folder
from campaign_sync.delivered_files.object_store import ObjectStore
from campaign_sync.domain.url import OBJECT_STORE_EXTRAS, may_hold_password
from campaign_sync.extras import how_to_install


def open_file_source(
    url: str,
    *,
    username: str | None,
    password: str | None,
    key_file: str | None,
    known_hosts: str | None,
    setting: str = "feedback.files.url",
) -> FileSource:
    """Open the file source at a URL; log in if it is on a server.

    Args:
        url: a path, `file:///path`, `sftp://host[:port]/path`, or the URL of an object store.
        username: the user on the server.
        password: the user's password; with a key file, the passphrase of the key.
        key_file: a private key. With neither password nor key file, the SSH agent and the keys in `~/.ssh` are tried.
        known_hosts: a file with the server's host key, as OpenSSH keeps it; by default `~/.ssh/known_hosts`.
        setting: the setting with the URL, for messages. Those of the login are beside it.

    Raises:
        FileLoginError: the server rejects the user, or the key file can't be used.
        FileSourceError: the URL is of another kind, the driver is missing, or the host key isn't in known_hosts.
        FileAccessError: the server refuses SFTP, or offers only outdated encryption.
        UnreachableFilesError: the server can't be reached.
    """
    scheme, is_url, _ = url.partition("://")
    if not is_url:
        if may_hold_password(url):
            raise FileSourceError(
                f"{setting} looks like a URL without ://; write it with ://, and the password in its own key."
            )
        return Folder(Path(url), setting)
    match scheme.lower():
        case "file":
            return _local_folder(url, setting)
        case "sftp":
            try:
                from campaign_sync.delivered_files.sftp import connect_sftp  # its driver belongs to an extra
            except ImportError:
                raise FileSourceError(
                    f"{setting} with sftp:// needs the extra sftp; {how_to_install('sftp')}"
                ) from None
            return connect_sftp(
                url,
                username=username,
                password=password,
                key_file=key_file,
                known_hosts=known_hosts,
                setting=setting,
            )
        case _:
            return _object_store(url, scheme.lower(), setting)


def _local_folder(url: str, setting: str) -> Folder:
    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost"):
        raise FileSourceError(f"{setting} names a host; write a folder on this machine as file:///path, with ///.")
    return Folder(Path(url2pathname(parts.path)), setting)


def _object_store(url: str, scheme: str, setting: str) -> ObjectStore:
    if scheme not in {*OBJECT_STORE_EXTRAS, "memory"} or may_hold_password(url):
        raise FileSourceError(
            f"{setting} has an unknown scheme, or a password in it; choose a folder, file:///path or sftp://host/path, "
            "or s3://, gs:// or abfs://, whose credentials are in the environment."
        )
    try:
        from upath import UPath

        base = UPath(url)
        _ = base.fs
    except ImportError:
        extra = OBJECT_STORE_EXTRAS[scheme]
        raise FileSourceError(f"{setting} with {scheme}:// needs the extra {extra}; {how_to_install(extra)}") from None
    return ObjectStore(base, setting)
