"""The credentials for an SFTP server: the configured password or key, else the keys of the user who runs this."""

import io
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import paramiko
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from paramiko.auth_strategy import AuthSource, InMemoryPrivateKey, Password

from campaign_sync.delivered_files.errors import FileLoginError


def auth_sources(
    place: str, username: str, password: str | None, key_file: str | None, section: str
) -> Iterator[AuthSource]:
    """Yield the credentials to offer, in this order. For the arguments see `Credentials`.

    Raises:
        FileLoginError: the key file can't be used.
    """
    if key_file is not None:
        return iter(
            [InMemoryPrivateKey(username, _configured_key(place, Path(key_file).expanduser(), password, section))]
        )
    if password is not None:
        return iter([Password(username, lambda: password)])
    return _default_keys(username)


def _default_keys(username: str) -> Iterator[AuthSource]:
    """Yield the keys of the SSH agent, then those in `~/.ssh` without a passphrase."""
    agent = paramiko.Agent()
    try:
        for agent_key in agent.get_keys():
            yield InMemoryPrivateKey(username, agent_key)
    finally:
        agent.close()
    for kind in ("ed25519", "ecdsa", "rsa"):
        with suppress(OSError, TypeError, ValueError, UnsupportedAlgorithm):
            yield InMemoryPrivateKey(username, _load_key(Path.home() / ".ssh" / f"id_{kind}", None))


def _configured_key(place: str, path: Path, passphrase: str | None, section: str) -> paramiko.PKey:
    try:
        return _load_key(path, passphrase)
    except OSError as error:
        problem = f"can't be read ({error.strerror}); check the path and its permissions"
    except (TypeError, ValueError, UnsupportedAlgorithm):
        problem = (
            "can't be used; it must be a private Ed25519, ECDSA or RSA key, with its passphrase, if it has one and "
            f"only then, in {section}.password"
        )
    raise FileLoginError(f"{place}: the key file {path} {problem}.")


def _load_key(path: Path, passphrase: str | None) -> paramiko.PKey:
    """Load a private key in OpenSSH format or PEM. The driver's own loader fails on some keys without a comment."""
    content = path.read_bytes()
    secret = passphrase.encode() if passphrase is not None else None
    is_openssh = b"BEGIN OPENSSH PRIVATE KEY" in content
    load = serialization.load_ssh_private_key if is_openssh else serialization.load_pem_private_key
    key = load(content, secret)
    if isinstance(key, rsa.RSAPrivateKey):
        return paramiko.RSAKey(key=key)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return paramiko.ECDSAKey(vals=(key, key.public_key()))
    if isinstance(key, ed25519.Ed25519PrivateKey):
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption())
        return paramiko.Ed25519Key.from_private_key(io.StringIO(key.private_bytes(*form).decode()))
    raise ValueError("a key of another kind")
