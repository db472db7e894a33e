"""Fixtures for the tests of all packages."""

import gc
import os
import shutil
import signal
import time
from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from zlib import crc32

import pandera.pandas  # noqa: F401 - sets environment variables of its own when it is imported first
import pytest
from alembic.script import ScriptDirectory
from hypothesis import HealthCheck, settings
from tenacity import nap

from campaign_sync.orchestration import retry_policy
from campaign_sync.orchestration.retry_policy import RetryPolicy
from campaign_sync.storage import database
from campaign_sync_tests import compiled_statements, databases, first_day, mariadb, migrations, tmpfs
from campaign_sync_tests.object_store import s3_server
from campaign_sync_tests.waiting import PATIENCE

_server_folder = pytest.StashKey[Path]()
_mariadb_folder = pytest.StashKey[Path]()
_first_days = pytest.StashKey[Path]()

INSTALLATIONS = {"shop", "installation", "two_days", "week", "production", "surveys", "postgres_url", "mariadb_url"}
"""Fixtures that take seconds: whole installations, PostgreSQL and MariaDB. Tests with one of them are thorough."""

EXAMPLES = {"quick": 25, "all": 100, "long": 1000}
"""How many examples hypothesis draws, unless a test says otherwise."""

for _name, _examples in EXAMPLES.items():
    # On a busy machine an example may take long without being wrong.
    settings.register_profile(
        _name, max_examples=_examples, deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )

SPEED_UP = 100
"""How many times sooner than in production a retry happens."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", help="run the thorough tests as well, as CI does: some 20 minutes")
    parser.addoption("--long", action="store_true", help="run every test: some hours")


@pytest.hookimpl(wrapper=True)
def pytest_xdist_auto_num_workers() -> Generator[None, int, int]:
    """Add a worker to those that xdist has for the processors: a fifth of the time, tests wait for servers."""
    workers = yield
    return workers if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ else workers + 1


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what takes long, unless an option asks for it; files and tests that are named are run whole."""
    if config.option.long:
        return
    is_thorough_run = config.option.all or config.option.file_or_dir
    short = [item for item in items if not _is_long(item)]
    beyond_sample = set() if config.option.file_or_dir else _beyond_sample(short)
    chosen = [item for item in short if item not in beyond_sample and (is_thorough_run or _is_quick(item))]
    kept = set(chosen)
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = chosen


def _is_long(item: pytest.Item) -> bool:
    return item.get_closest_marker("long") is not None


def _beyond_sample(items: Iterable[pytest.Item]) -> set[pytest.Item]:
    """Return the parameter sets that tests marked with `sample` have beyond it: the same ones on every machine."""
    sets_by_test: defaultdict[tuple[Path, str], list[pytest.Item]] = defaultdict(list)
    sizes: dict[tuple[Path, str], int] = {}
    for item in items:
        if marker := item.get_closest_marker("sample"):
            test = (item.path, item.name.partition("[")[0])
            sets_by_test[test].append(item)
            (sizes[test],) = marker.args
    beyond: set[pytest.Item] = set()
    for test, sets in sets_by_test.items():
        beyond.update(sorted(sets, key=lambda item: crc32(item.name.encode()))[sizes[test] :])
    return beyond


def _is_quick(item: pytest.Item) -> bool:
    assert isinstance(item, pytest.Function)
    if item.get_closest_marker("smoke"):
        return True
    parameters = item.callspec.params.values() if hasattr(item, "callspec") else ()
    return not (
        item.get_closest_marker("thorough")
        or INSTALLATIONS & set(item.fixturenames)
        or any(parameter in ("postgresql", "mariadb") for parameter in parameters)
    )


def pytest_collection_finish() -> None:
    """Search for garbage a tenth as often, and never among the modules and tests, which remain until the end."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10 * gc.get_threshold()[0], *gc.get_threshold()[1:])


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in the background of a script; commands would inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    settings.load_profile("long" if config.option.long else "all" if config.option.all else "quick")
    if not hasattr(config, "workerinput"):  # the process that starts the workers, not one of them
        config.stash[_server_folder] = databases.prepare_server_folder()
        config.stash[_mariadb_folder] = mariadb.prepare_server_folder()
        config.stash[_first_days] = first_day.prepare_folder()
        tmpfs.use_for_temporary_folders()


def pytest_unconfigure(config: pytest.Config) -> None:
    folder = config.stash.get(_server_folder, None)
    if folder is not None:
        databases.stop_server(folder)
        mariadb.stop_server(config.stash[_mariadb_folder])
        shutil.rmtree(config.stash[_first_days], ignore_errors=True)


@pytest.fixture(scope="session")
def s3_environment() -> Iterator[dict[str, str]]:
    with s3_server() as environment:
        yield environment


@pytest.fixture
def s3(s3_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Environment variables by which this process reaches a server with the protocol of S3."""
    for name, value in s3_environment.items():
        monkeypatch.setenv(name, value)
    return s3_environment


@pytest.fixture(autouse=True)
def _clean_environment() -> Iterator[None]:
    """Fail a test that leaves environment variables changed: the processes of later tests would inherit them."""
    before = dict(os.environ)
    yield
    changed = {name for name, _ in before.items() ^ os.environ.items()} - {"PYTEST_CURRENT_TEST"}
    assert not changed, f"left in the environment: {sorted(changed)}"


@pytest.fixture(autouse=True)
def _retry_sooner(_clean_environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Retry as in production, only sooner."""
    monkeypatch.setattr(nap, "time", SimpleNamespace(sleep=lambda seconds: time.sleep(seconds / SPEED_UP)))
    policy = retry_policy.DEFAULT_RETRY_POLICY
    sooner = RetryPolicy(policy.retries, policy.seconds_unattended / SPEED_UP, policy.seconds_by_hand / SPEED_UP)
    monkeypatch.setattr(retry_policy, "DEFAULT_RETRY_POLICY", sooner)


@pytest.fixture(autouse=True)
def _patience(_clean_environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give test servers all the time they need. Tests of servers that never answer set timeouts of their own."""
    for place in (
        "smtp.TIMEOUT_SECONDS",
        "alerts.webhook.TIMEOUT_SECONDS",
        "alerts.heartbeat.TIMEOUT_SECONDS",
        "optimizely.session.LOGOUT_TIMEOUT_SECONDS",
        "delivered_files.sftp_login.TIMEOUT_SECONDS",
        "telemetry.exporter.PATIENCE_SECONDS",
        "telemetry.otlp.EXPORT_SECONDS",
    ):
        monkeypatch.setattr(f"campaign_sync.{place}", PATIENCE)


@pytest.fixture(autouse=True, scope="session")
def _databases_sooner() -> Iterator[None]:
    """Read Alembic's scripts, migrate a new database and compile SQL once: else every test takes a second for it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ScriptDirectory, "from_config", migrations.reading_once())
        patch.setattr(database, "migrate", migrations.making_once())
        compiled_statements.compile_once(patch)
        yield


@pytest.fixture
def two_lists(request: pytest.FixtureRequest) -> bool:
    """Whether the test is about both lists of the mandator `nord`, and marked so."""
    return request.node.get_closest_marker("two_lists") is not None


@pytest.fixture
def postgres_url() -> Iterator[str]:
    """Yield the URL of an empty database on a real PostgreSQL."""
    with databases.fresh_database() as url:
        yield url


@pytest.fixture
def mariadb_url() -> Iterator[str]:
    """Yield the URL of an empty database on a real MariaDB, by its administrator."""
    if mariadb.MISSING:
        pytest.skip(mariadb.MISSING)
    with mariadb.fresh_database() as url:
        yield url


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """Return the URL of a SQLite file that doesn't exist yet."""
    return f"sqlite:///{tmp_path / 'database.db'}"


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def foreign_url(request: pytest.FixtureRequest) -> str:
    """Run the test once on each kind of database that a CRM with its own schema may be in."""
    names = {"sqlite": "sqlite_url", "postgresql": "postgres_url", "mariadb": "mariadb_url"}
    url: str = request.getfixturevalue(names[request.param])
    return url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """Run the test once on each database that the product supports."""
    url: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")
    return url
