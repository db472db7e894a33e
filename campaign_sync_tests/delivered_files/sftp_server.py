"""A real SFTP server in a thread, for the tests of file sources."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncssh

USERNAME, PASSWORD = "nord-files", "geheim-4711"


@dataclass
class SftpServer:
    """A server with `folder` as its root, its host key, and the key of its user."""

    folder: Path
    port: int
    host_key: asyncssh.SSHKey
    user_key: asyncssh.SSHKey

    @property
    def url(self) -> str:
        return f"sftp://127.0.0.1:{self.port}/outbox"

    def known_hosts(self, path: Path, key: asyncssh.SSHKey | None = None) -> str:
        public = (key or self.host_key).export_public_key().decode()
        path.write_text(f"[127.0.0.1]:{self.port} {public}")
        return str(path)


class _Accounts(asyncssh.SSHServer):
    def __init__(self, server: SftpServer):
        self._server = server

    def begin_auth(self, username: str) -> bool:
        return True

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return (username, password) == (USERNAME, PASSWORD)

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return username == USERNAME and key.public_data == self._server.user_key.public_data


@contextmanager
def serve_sftp(folder: Path, *, files: bool = True) -> Iterator[SftpServer]:
    """Serve the folder on a free port of this machine until the block ends; without `files`, logins only."""
    host_key, user_key = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    server = SftpServer(folder, 0, host_key, user_key)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def listen() -> asyncssh.SSHAcceptor:
        return await asyncssh.listen(
            "127.0.0.1",
            0,
            server_host_keys=[host_key],
            server_factory=lambda: _Accounts(server),
            sftp_factory=files and (lambda channel: asyncssh.SFTPServer(channel, chroot=str(folder).encode())),
        )

    async def stop(acceptor: asyncssh.SSHAcceptor) -> None:
        acceptor.close()
        await acceptor.wait_closed()

    try:
        acceptor = asyncio.run_coroutine_threadsafe(listen(), loop).result(10)
        try:
            server.port = acceptor.get_port()
            yield server
        finally:
            asyncio.run_coroutine_threadsafe(stop(acceptor), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
