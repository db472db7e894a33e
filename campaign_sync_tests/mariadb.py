"""A real MariaDB for the tests: one server per test session, shared by all pytest-xdist workers, as for PostgreSQL.

The server is, in this order: `CAMPAIGN_SYNC_TEST_MARIADB_URL` (a server on which databases and users may be created), a
MariaDB installed on the machine. Without either, tests that need it are skipped.
"""

import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sqlalchemy import Connection, NullPool, create_engine, make_url
from sqlalchemy.exc import OperationalError

from campaign_sync_tests import tmpfs
from campaign_sync_tests.waiting import PATIENCE

URL_VARIABLE = "CAMPAIGN_SYNC_TEST_MARIADB_URL"
FOLDER_VARIABLE = "CAMPAIGN_SYNC_TEST_MARIADB_FOLDER"
"""Folder of the session's server; set by the pytest process that stops it, inherited by the workers."""

_SEARCHED = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])

_SERVER = shutil.which("mariadbd", path=_SEARCHED)

MISSING = None if _SERVER or URL_VARIABLE in os.environ else "needs mariadbd: apt-get install mariadb-server"
"""Why tests with MariaDB can't be run; None if they can."""

_OPTIONS = (
    *(
        "--skip-networking",
        "--skip-name-resolve",
        "--skip-log-bin",
        "--max-connections=200",
        "--innodb-use-native-aio=0",
    ),
    *("--innodb-buffer-pool-size=32M", "--innodb-log-file-size=8M", "--innodb-flush-log-at-trx-commit=0"),
    *("--key-buffer-size=1M", "--aria-pagecache-buffer-size=1M", "--performance-schema=0"),
)
"""Small buffers, and no durability: the data needn't survive a power cut."""


def prepare_server_folder() -> Path:
    """Create the folder of this session's server. Starts nothing yet."""
    # Short: it holds a socket, whose path is limited.
    folder = Path(tempfile.mkdtemp(prefix="campaign-sync-mdb-", dir=tmpfs.MEMORY))
    os.environ[FOLDER_VARIABLE] = str(folder)
    return folder


def stop_server(folder: Path) -> None:
    """Stop the server in the folder, if one was started, and remove the folder."""
    if (folder / "pid").exists():
        process_id = int((folder / "pid").read_text())
        with suppress(ProcessLookupError):
            os.kill(process_id, signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def fresh_database() -> Iterator[str]:
    """Yield the URL of an empty database (`mariadb+pymysql://…`)."""
    name = f"test_{uuid.uuid4().hex}"
    with connected() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    try:
        yield make_url(_server_url()).set(database=name).render_as_string(hide_password=False)
    finally:
        with connected() as connection:
            connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {name}")


@contextmanager
def connected(url: str | None = None) -> Iterator[Connection]:
    """Open a connection as the server's administrator; each statement is committed."""
    engine = create_engine(url or _server_url(), isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with engine.connect() as connection:
        yield connection


def _server_url() -> str:
    url = os.environ.get(URL_VARIABLE)
    if url:
        return make_url(url).set(drivername="mariadb+pymysql").render_as_string(hide_password=False)
    folder = Path(os.environ[FOLDER_VARIABLE])
    # Without TLS: for every connection the driver would read all certificates of the machine.
    url = f"mariadb+pymysql://root@localhost/?unix_socket={folder / 'socket'}&charset=utf8mb4&ssl_disabled=true"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the first worker starts the server, the others wait for it
        if not (folder / "started").exists():
            _start_server(folder, url)
            (folder / "started").touch()
    return url


def _start_server(folder: Path, url: str) -> None:
    assert _SERVER is not None, MISSING
    owner = ["--user=root"] if os.geteuid() == 0 else []
    # A server that starts removes the temporary tables of all others that share its temporary folder.
    folders = [f"--datadir={folder / 'data'}", f"--tmpdir={folder}"]
    install = shutil.which("mariadb-install-db", path=_SEARCHED)
    assert install is not None, "mariadb-install-db is missing beside mariadbd"
    with (folder / "log").open("wb") as log:
        subprocess.run(
            [
                *(install, "--no-defaults", *folders, "--skip-test-db", *owner, *_OPTIONS),
                "--auth-root-authentication-method=normal",
            ],
            stdout=log,
            stderr=log,
            check=True,
        )
        process = subprocess.Popen(
            [
                *(_SERVER, "--no-defaults", *folders, f"--socket={folder / 'socket'}", *owner, *_OPTIONS),
                f"--pid-file={folder / 'server.pid'}",
            ],
            stdout=log,
            stderr=log,
            start_new_session=True,  # it belongs to the session, not to the worker that starts it
        )
    (folder / "pid").write_text(str(process.pid))  # at once: the session may end before the server is ready
    engine = create_engine(url, poolclass=NullPool)
    until = time.monotonic() + PATIENCE
    while True:
        try:
            engine.connect().close()
        except OperationalError:
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"mariadbd didn't start:\n{(folder / 'log').read_text()}") from None
            time.sleep(0.1)
        else:
            break
