"""Dagster's SQLite storage with connections that stay open: the same files, for Dagster as well."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from alembic.script import ScriptDirectory
from dagster import DagsterEventType
from sqlalchemy import NullPool, create_engine

from campaign_sync.cli.dagster_instance import use_instance
from campaign_sync.orchestration import embedded_storage, open_storages
from campaign_sync.orchestration.open_storages import OpenEventLogStorage
from campaign_sync_tests.waiting import PATIENCE

SETTINGS = "telemetry: {enabled: false}\n"


@dg.asset(check_specs=[dg.AssetCheckSpec("holds", asset="numbers")])
def numbers() -> dg.MaterializeResult:  # type: ignore[type-arg]
    return dg.MaterializeResult(check_results=[dg.AssetCheckResult(passed=True)])


def _materialize(instance: dg.DagsterInstance) -> str:
    return dg.materialize([numbers], instance=instance, run_config={"loggers": {"console": {"config": {}}}}).run_id


@contextmanager
def _of_dagster(home: Path) -> Iterator[dg.DagsterInstance]:
    (home / "dagster.yaml").write_text(SETTINGS)
    with dg.DagsterInstance.get() as instance:
        yield instance


@contextmanager
def _of_ours(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    (home / "dagster.yaml").unlink(missing_ok=True)
    monkeypatch.setenv("DAGSTER_HOME", "")  # so that pytest restores it, whatever it becomes
    use_instance(home)
    with dg.DagsterInstance.get() as instance:
        assert isinstance(instance.event_log_storage, OpenEventLogStorage)
        yield instance


def test_dagsters_storage_and_this_one_read_what_the_other_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    runs = []
    with _of_dagster(tmp_path) as instance:
        runs.append(_materialize(instance))
    with _of_ours(tmp_path, monkeypatch) as instance:
        runs.append(_materialize(instance))
        assert all(instance.all_logs(run, of_type=DagsterEventType.RUN_SUCCESS) for run in runs)
    with _of_dagster(tmp_path) as instance:
        assert [record.run_id for record in instance.fetch_materializations(numbers.key, limit=5).records] == runs[::-1]
        assert all(instance.all_logs(run, of_type=DagsterEventType.ASSET_CHECK_EVALUATION) for run in runs)


def test_an_instance_that_has_its_tables_is_opened_without_the_migrations_and_gets_what_it_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[object] = []
    load = ScriptDirectory.from_config

    def counted(config: Any) -> ScriptDirectory:
        loaded.append(config)
        return load(config)

    monkeypatch.setattr(ScriptDirectory, "from_config", counted)
    with _of_ours(tmp_path, monkeypatch) as instance:
        run = _materialize(instance)
        assert loaded
    loaded.clear()
    with _of_ours(tmp_path, monkeypatch) as instance:
        assert instance.all_logs(run, of_type=DagsterEventType.RUN_SUCCESS)
    assert not loaded
    assert not list(tmp_path.rglob("*.db-wal"))  # all are closed
    files = [tmp_path / "history" / "runs.db", tmp_path / "schedules" / "schedules.db"]
    _execute(files[0], "DROP TABLE instance_info")  # as in files of old versions
    _execute(files[1], "DELETE FROM alembic_version")
    with _of_ours(tmp_path, monkeypatch) as instance:
        assert instance.get_run_by_id(run)
    assert loaded
    _execute(files[0], "SELECT * FROM instance_info")
    _execute(files[1], "UPDATE alembic_version SET version_num = version_num")


def test_the_file_of_a_new_run_is_the_one_that_dagster_makes_made_once_for_each_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    former = tmp_path / "ours" / "history" / "empty-run-1.0.0.db"
    with _of_ours(tmp_path / "ours", monkeypatch) as instance:
        former.touch()
        first = _materialize(instance)
        monkeypatch.setattr(ScriptDirectory, "from_config", lambda *_: pytest.fail("the migrations were loaded"))
        second = _materialize(instance)
        assert {entry.run_id for entry in instance.all_logs(second)} == {second}
        assert len(instance.all_logs(first)) == len(instance.all_logs(second))
    monkeypatch.undo()
    assert not former.exists()
    (tmp_path / "dagsters").mkdir()
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagsters"))
    with _of_dagster(tmp_path / "dagsters") as instance:
        theirs = _materialize(instance)
    of_dagster = _schema(tmp_path / "dagsters" / "history" / "runs" / f"{theirs}.db")
    ours = tmp_path / "ours" / "history"
    assert _schema(ours / "runs" / f"{second}.db") == _schema(ours / f"empty-run-{dg.__version__}.db") == of_dagster


def _schema(file: Path) -> list[Any]:
    statements = (
        "SELECT type, name, sql FROM sqlite_master ORDER BY type, name",
        "SELECT version_num FROM alembic_version",
        "PRAGMA journal_mode",
    )
    with create_engine(f"sqlite:///{file}", poolclass=NullPool).connect() as connection:
        return [connection.exec_driver_sql(statement).all() for statement in statements]


def _execute(file: Path, statement: str) -> None:
    with create_engine(f"sqlite:///{file}", poolclass=NullPool).begin() as connection:
        assert connection.exec_driver_sql(statement).rowcount


def test_an_event_of_a_run_reaches_its_watcher_while_the_run_is_under_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with _of_ours(tmp_path, monkeypatch) as watching, _of_ours(tmp_path, monkeypatch) as running:
        run = running.create_run_for_job(dg.define_asset_job("all", [numbers]).resolve(asset_graph=_graph()))
        notified = threading.Event()
        watching.watch_event_logs(run.run_id, None, lambda *_: notified.set())
        running.report_engine_event("begun", run)
        assert notified.wait(PATIENCE)
        watching.end_watch_event_logs(run.run_id, lambda *_: None)


def test_a_watched_run_without_new_events_is_not_read_over_and_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[str] = []
    with _of_ours(tmp_path, monkeypatch) as watching, _of_ours(tmp_path, monkeypatch) as running:
        run, notified = _materialize(running), threading.Event()
        storage = watching.event_log_storage
        read = storage.get_records_for_run

        def counted(run_id: str, *args: Any, **more: Any) -> Any:
            reads.append(run_id)
            return read(run_id, *args, **more)

        monkeypatch.setattr(storage, "get_records_for_run", counted)
        watching.watch_event_logs(run, None, lambda *_: notified.set())
        running.report_engine_event("after the end", running.get_run_by_id(run))
        assert notified.wait(PATIENCE)
        settled = len(reads)
        threading.Event().wait(0.5)
        assert len(reads) - settled <= 2
        watching.end_watch_event_logs(run, lambda *_: None)


def test_files_of_many_runs_do_not_all_stay_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_storages, "KEPT_OPEN", 2)
    with _of_ours(tmp_path, monkeypatch) as instance:
        runs = [_materialize(instance) for _ in range(4)]
        folder = tmp_path / "history" / "runs"
        assert sorted(file.name.removesuffix(".db-wal") for file in folder.glob("*.db-wal")) == sorted(
            ["index", *runs[-2:]]
        )
        assert all(instance.all_logs(run) for run in runs)
    assert not list(folder.glob("*.db-wal"))


def test_everything_can_be_wiped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with _of_ours(tmp_path, monkeypatch) as instance:
        run = _materialize(instance)
        instance.wipe()
        assert not instance.all_logs(run)
        assert _materialize(instance)


def _graph() -> "dg.AssetGraph":
    return dg.Definitions(assets=[numbers]).resolve_asset_graph()


def test_a_dagster_that_reads_in_another_way_is_served_by_its_own_storage_with_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    @contextmanager
    def renamed(self: OpenEventLogStorage) -> Iterator[Any]:
        with create_engine(self.conn_string_for_shard("index")).begin() as connection:
            yield connection

    embedded_storage.warn_once.cache_clear()
    monkeypatch.setattr(OpenEventLogStorage, "index_connection", renamed)
    monkeypatch.setenv("DAGSTER_HOME", "")
    use_instance(tmp_path)
    with dg.DagsterInstance.get() as instance:
        assert not isinstance(instance.event_log_storage, OpenEventLogStorage)
        run = _materialize(instance)
        assert instance.all_logs(run, of_type=DagsterEventType.RUN_SUCCESS)
    (warning,) = [record.getMessage() for record in caplog.records if "embedded storage" in record.getMessage()]
    assert "Dagster's own storage is used instead" in warning
