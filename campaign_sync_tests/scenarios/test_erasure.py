"""`campaign-sync erase`: a person is gone from every place, stays suppressed, and proofs still work."""

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.instance.ref import InstanceRef
from sqlalchemy import delete

from campaign_sync.crm.sql import schema
from campaign_sync.erasure import removal
from campaign_sync.erasure.file_removal import FileRemoval
from campaign_sync.erasure.late_erasures import late_erasures
from campaign_sync.erasure.places import PlaceOutcome, PlaceState
from campaign_sync.erasure.removal import Removal
from campaign_sync.orchestration.own_runs import OwnDefinitions
from campaign_sync.orchestration.retention import Purge, Purged
from campaign_sync.storage.erased_rows import ErasedRows
from campaign_sync.storage.erasure_places import ErasurePlaces
from campaign_sync.storage.erasures import Erasures
from campaign_sync.storage.files import FileStorage
from campaign_sync.storage.open import open_state
from campaign_sync.storage.redactions import RedactedKind, Redactions
from campaign_sync_tests.databases import fresh_database
from campaign_sync_tests.erasure.leftovers import found_in, leftovers
from campaign_sync_tests.erasure.postgres_dump import analyze, postgres_contents
from campaign_sync_tests.installation import ENVIRONMENT, NORD, Installation, epoch_ms, running_installation
from campaign_sync_tests.object_store import Bucket
from campaign_sync_tests.terminal import run as run_in_terminal
from campaign_sync_tests.test_json import document

ADDRESS = "Quentin.Zyxwutz@mail.example.net"
STORED = ADDRESS.lower()
RECORD = "contact:xq7-4711"
TEXTS = (ADDRESS, "Zyxwutz", "xq7-4711", RECORD)
REMOVED = {
    "snapshots and plans",
    "feedback as received",
    "frames of the last run",
    "state database",
}
STAYS = "person1@example.org"


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    with running_installation(tmp_path, two_lists=False) as running:
        prepare(running)
        yield running


def prepare(installation: Installation) -> None:
    """Set the key, and let the CRM and the vendor know the person, who withdrew and consented again."""
    installation.environment["ERASURE_KEY"] = "a key of erasures that is long enough"
    installation.settings["erasure"] = {"key": {"env": "ERASURE_KEY"}}
    installation.add_contact("xq7-4711", ADDRESS, last_name="Zyxwutz")
    left = [STORED, epoch_ms(datetime.now(UTC) - timedelta(hours=2)), "Zyxwutz"]
    installation.vendor.publish(NORD, "getUnsubscribes", [left])
    installation.consent("xq7-4711", "newsletter-nord", "granted", datetime.now(UTC) - timedelta(hours=1))


def command(installation: Installation, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Execute `campaign-sync` with the configuration as it is now."""
    assert installation.configuration
    environment = ENVIRONMENT | installation.environment | {"COLUMNS": "250"}
    return run_in_terminal(arguments, installation.folder, environment)


def erase(installation: Installation, *arguments: str, exit_code: int) -> dict[str, dict[str, Any]]:
    """Erase people, and return what was printed of the last erasure, by place."""
    done = command(installation, "erase", *arguments, "--json")
    erasures = document("erase", done, exit_code)["erasures"]
    return {place["place"]: place for place in erasures[-1]["places"]} if erasures else {}


def delete_from_crm(installation: Installation) -> None:
    with installation.crm() as crm:
        for table, column in (
            (schema.marketing_list_member, "entity_id"),
            (schema.consent_event, "entity_id"),
            (schema.contact, "id"),
        ):
            crm.execute(delete(table).where(table.c[column] == "xq7-4711"))


@pytest.mark.smoke
def test_an_erased_person_is_gone_from_every_byte_and_stays_out(
    installation: Installation, tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert command(installation, "run", "nord").returncode == 0
    assert STORED in installation.addresses()
    assert leftovers(installation.folder, TEXTS) != []
    delete_from_crm(installation)
    backup = tmp_path_factory.mktemp("backup") / "state.db"
    shutil.copy(installation.folder / "state.db", backup)
    shutil.copytree(installation.folder / "frames" / "snapshots", backup.parent / "snapshots")

    shown = command(installation, "erase", STORED, "--dry-run")
    assert (shown.returncode, RECORD in shown.stdout, STORED in shown.stdout) == (0, True, True), shown
    places = erase(installation, STORED, "--reason", "request 7", "--yes", exit_code=3)
    assert {name for name, place in places.items() if place["state"] == "pending"} == {"list nord/newsletter"}
    assert {name for name, place in places.items() if place["state"] == "done"} == REMOVED
    assert leftovers(installation.folder, TEXTS) == []

    installation.run(assets=[("nord", "list_drift")])
    with installation.state() as state:
        proven = state.replacement_history.proven("nord", "newsletter")[0]
        last = state.replacements.last_proven("nord", "newsletter")
        assert last is not None
        drift = state.list_drifts.of("nord", "newsletter", last.id)
    assert (proven.in_list, proven.erased, drift.in_list, drift.read_back) == (6, 1, 6, None)
    (redaction,) = proven.redactions
    assert f"the sha256 was {redaction.digest_before}" in command(installation, "prove", STAYS).stdout
    assert (installation.folder / "frames" / redaction.file_after).exists()

    installation.leave(STORED)  # the vendor repeats its rows
    installation.vendor.publish(NORD, "getOutBounces", [[STORED, epoch_ms(datetime.now(UTC)), "Zyxwutz"]])
    installation.day()
    assert STORED not in installation.addresses()
    assert leftovers(installation.folder, TEXTS) == []
    shutil.copytree(backup.parent / "snapshots", installation.folder / "frames" / "snapshots", dirs_exist_ok=True)
    assert erase(installation, "--retry", exit_code=0)["list nord/newsletter"]["state"] == "done"
    assert leftovers(installation.folder, TEXTS) == []

    shutil.copy(backup, installation.folder / "state.db")
    for side_file in ("state.db-wal", "state.db-shm"):
        (installation.folder / side_file).unlink(missing_ok=True)
    erase(installation, "--retry", exit_code=3)
    assert leftovers(installation.folder, TEXTS) == []
    with installation.state() as state:
        again = state.replacement_history.proven("nord", "newsletter")[-1]
    assert (again.file, again.erased, again.redactions) == (redaction.file_after, 1, (redaction,))
    installation.add_contact("xq7-4711", ADDRESS, last_name="Zyxwutz")  # the CRM's backup is older, too
    answer = document("why", command(installation, "why", RECORD, "--json"), 0)
    assert answer["people"][0]["lists"][0]["now"]["in_list"] is None  # of before the erasure
    installation.day()
    assert STORED not in installation.addresses()
    answer = document("why", command(installation, "why", RECORD, "--json"), 0)
    assert answer["people"][0]["lists"][0]["now"]["in_list"] is False


_PLANS = """
import logging, sys
from campaign_sync.config import load_configuration
from campaign_sync.inquiry.plan_sources import open_planner
from campaign_sync.inquiry.plan_store import PlanStore
from campaign_sync.optimizely.client import connect_mandator
from campaign_sync.replacement.list_settings import list_settings

def wait_for_line(said):
    print(said, flush=True)
    input()

logging.basicConfig(stream=sys.stdout, format="%(message)s", level=logging.WARNING)
configuration, save = load_configuration(), PlanStore.save
PlanStore.save = lambda *arguments: wait_for_line("computed") or save(*arguments)
for _ in range(2):
    with connect_mandator(configuration, "nord") as vendor, open_planner(configuration, vendor, save=True) as planner:
        plan = planner.plan(list_settings(configuration, "nord", "newsletter"))
    wait_for_line("stored" if plan.id else str(plan))
"""


def test_a_plan_that_is_being_made_is_waited_for_and_waits_for_a_removal_but_not_for_long(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation.day()
    configuration = installation.configuration
    plans = subprocess.Popen(
        [sys.executable, "-c", _PLANS],
        cwd=installation.folder,
        env=ENVIRONMENT | installation.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with plans:
        assert plans.stdin is not None
        assert plans.stdout is not None

        def line() -> str:
            assert plans.stdout is not None
            return plans.stdout.readline().strip()

        def go_on() -> None:
            assert plans.stdin is not None
            print(file=plans.stdin, flush=True)

        assert line() == "computed"
        delete_from_crm(installation)
        places = erase(installation, STORED, "--reason", "request 9", "--yes", exit_code=3)
        assert {places[place]["state"] for place in REMOVED} == {"pending"}
        assert "people's data is in use (plan " in places["snapshots and plans"]["note"]
        go_on()
        assert line() == "stored"
        assert leftovers(installation.folder, TEXTS) != []
        places = erase(installation, "--retry", exit_code=3)
        assert {place for place in places if places[place]["state"] == "pending"} == {"list nord/newsletter"}
        assert leftovers(installation.folder, TEXTS) == []

        first, said = FileRemoval.all, list[str]()

        def begin_plan(files: FileRemoval) -> Iterator[PlaceOutcome]:
            go_on()
            said.append(line())
            return first(files)

        monkeypatch.setattr(FileRemoval, "all", begin_plan)
        monkeypatch.setattr(removal, "MAX_DELAY", timedelta(0))
        shutil.rmtree(installation.folder / "frames" / "erasure_searches")  # as if nothing had been searched yet
        with open_state(configuration) as state:
            (report,) = Removal(configuration, state, FileStorage(configuration.storage.frames)).attempt()
        notes = {place.place: place.note or "" for place in report.places if place.state is PlaceState.PENDING}
        assert "not all files were searched, as others waited (plan " in notes["snapshots and plans"]
        assert said == ["waiting until run erase has removed erased people from the files"]
        assert line() == "computed"
        go_on()
        assert line() == "stored"
        go_on()
    assert plans.returncode == 0
    assert leftovers(installation.folder, TEXTS) == []
    places = erase(installation, "--retry", exit_code=3)
    assert {place for place in places if places[place]["state"] == "pending"} == {"list nord/newsletter"}


def purge(installation: Installation, now: datetime) -> Purged:
    """Do what the retention job does at that time."""
    configuration, nothing = installation.configuration, frozenset[Any]()
    own = OwnDefinitions(nothing, nothing, nothing, nothing, nothing)
    with dg.DagsterInstance.ephemeral() as instance, open_state(configuration) as state:
        files = FileStorage(configuration.storage.frames)
        return Purge(configuration, own, instance, None, state, files, now).everything()


class _Killed(BaseException):
    """The process ends."""


def test_a_removal_that_is_killed_at_any_point_goes_on(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation.day()
    delete_from_crm(installation)
    installation.settings["storage"]["crm_copies"] = str(installation.folder / "copies")
    copy = installation.folder / "copies" / "people.sqlite"
    copy.parent.mkdir()
    with closing(sqlite3.connect(copy)) as connection:
        connection.executescript(f"CREATE TABLE person (email TEXT); INSERT INTO person VALUES ('{ADDRESS}')")
    configuration = installation.configuration
    with open_state(configuration) as state, state.heartbeats.keep_alive("another-run"):
        places = erase(installation, RECORD, "--reason", "request 8", "--yes", exit_code=3)
    assert {place["state"] for name, place in places.items() if name in REMOVED} == {"pending"}
    assert "another-run" in places["state database"]["note"]
    assert leftovers(installation.folder, TEXTS) != []

    calls: Iterator[int] = iter(())

    def count(method: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any) -> Any:
            if next(calls, None) == 0:
                raise _Killed
            return method(*arguments)

        return counted

    for part, name in (
        (FileStorage, "write_document"),
        (FileStorage, "remove_rows"),
        (Redactions, "replace"),
        (ErasedRows, "remove"),
        (ErasedRows, "compact"),
        (ErasurePlaces, "record"),
        (Erasures, "mark_done"),
    ):
        monkeypatch.setattr(part, name, count(getattr(part, name)))
    files, kills = FileStorage(configuration.storage.frames), 0
    with open_state(configuration) as state:
        while True:
            calls = iter(range(kills, -1, -1))
            try:
                reports = Removal(configuration, state, files).attempt()
            except _Killed:
                kills += 1
                for kind in RedactedKind:
                    for recorded in state.redactions.files(kind).values():
                        assert files.is_intact(recorded.file, recorded.digest)
            else:
                break
    assert kills > 10
    (report,) = reports
    assert [place.place for place in report.places if place.state is PlaceState.PENDING] == ["list nord/newsletter"]
    assert leftovers(installation.folder, TEXTS) == []
    calls = iter(())
    with open_state(configuration) as state:
        assert late_erasures(state, datetime.now(UTC) + timedelta(days=1)) == []
        (late,) = late_erasures(state, datetime.now(UTC) + timedelta(days=2))
    assert late.places == ["list nord/newsletter"]


@pytest.mark.long
def test_a_person_is_erased_from_a_bucket_and_what_the_bucket_keeps_is_said(
    installation: Installation, s3: dict[str, str]
) -> None:
    bucket = Bucket(s3)
    installation.settings["storage"]["frames"] = bucket.url
    installation.environment |= s3
    assert command(installation, "run", "nord").returncode == 0
    before = bucket.contents()
    assert hits(bucket) != []
    access = command(installation, "access", STORED, "--output", "answer")
    assert access.returncode == 0, access.stderr
    answer = (installation.folder / "answer" / "person.json").read_text("utf-8")
    assert "feedback/nord/" in answer
    assert "Snapshots" in answer
    shutil.rmtree(installation.folder / "answer")
    delete_from_crm(installation)
    bucket.keep_versions()

    down = installation.environment | {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9"}
    installation.environment, up = down, installation.environment
    refused = command(installation, "erase", STORED, "--reason", "request 9", "--yes")
    assert (refused.returncode, "check storage.frames" in refused.stderr) == (1, True), refused
    installation.environment = up
    places = erase(installation, STORED, "--reason", "request 9", "--yes", exit_code=3)
    assert {name for name, place in places.items() if name in REMOVED and place["state"] == "done"} == REMOVED
    assert hits(bucket) == []
    assert places["old versions of files"]["state"] == "pending"
    assert "no lifecycle rule removes" in places["old versions of files"]["note"]
    shown = command(installation, "check")
    assert "the bucket keeps what is removed, and no lifecycle rule" in " ".join(shown.stdout.split())
    bucket.add_rule(NoncurrentVersionExpiration={"NoncurrentDays": 14})
    places = erase(installation, "--retry", exit_code=3)
    assert places["old versions of files"]["state"] == "by age"
    assert "after 14 days" in places["old versions of files"]["note"]

    with installation.state() as state:
        (proven,) = state.replacement_history.proven("nord", "newsletter")
    assert "erased" in command(installation, "prove", STAYS).stdout
    bucket.restore(before)  # the bucket of yesterday: the file of the erasure is gone as well
    assert hits(bucket) != []
    assert erase(installation, "--retry", exit_code=3)["snapshots and plans"]["state"] == "done"
    assert hits(bucket) == []
    with installation.state() as state:
        (again,) = state.replacement_history.proven("nord", "newsletter")
    assert FileStorage(bucket.url).is_intact(again.file, again.digest)
    digests = [[entry.digest_before for entry in entries] for entries in (proven.redactions, again.redactions)]
    assert (again.erased, digests[0]) == (1, digests[1])
    installation.day()
    assert STORED not in installation.addresses()
    assert hits(bucket) == []
    assert erase(installation, "--retry", exit_code=0)["list nord/newsletter"]["state"] == "done"
    bucket.restore({key: before.get(key, content) for key, content in {**before, **bucket.contents()}.items()})
    assert hits(bucket) != []  # only a part was restored, and the erasure is known there
    assert purge(installation, datetime.now(UTC) + timedelta(days=2000)).problems == []  # the retention job
    assert hits(bucket) == []
    assert not any("/assets/sued/" in key or key.endswith(".csv") for key in bucket.contents())
    assert FileStorage(bucket.url).is_intact(again.file, again.digest)


def hits(bucket: Bucket) -> list[str]:
    """Return in which objects the person is found."""
    return [hit for key, content in bucket.contents().items() for hit in found_in(key, content, TEXTS)]


@pytest.mark.thorough
def test_dagster_and_the_state_on_postgresql_have_nothing_of_an_erased_person(tmp_path: Path) -> None:
    settings = yaml.safe_load((Path(__file__).parents[2] / "dagster.yaml").read_text())
    with fresh_database() as state_url, fresh_database() as dagster_url:
        settings["storage"]["postgres"] = {"postgres_url": dagster_url}
        (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(settings))
        with (
            running_installation(tmp_path, state_url=state_url, two_lists=False) as installation,
            dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(tmp_path))) as instance,
        ):
            prepare(installation)
            for address in (STORED, "person2@example.org", "person3@example.org", "unknown@example.org"):
                installation.leave(address)
            assert installation.run(instance=instance).success
            for _ in range(2):  # the second one leaves what the first one noted of columns
                analyze(state_url)
            assert len({hit.split(":")[0] for hit in found_in_databases(state_url)}) > 9
            delete_from_crm(installation)
            erase(installation, STORED, "--reason", "request 10", "--yes", exit_code=0)
            assert found_in_databases(state_url, dagster_url) == []
            assert leftovers(installation.folder, TEXTS) == []


def found_in_databases(*urls: str) -> list[str]:
    return [hit for url in urls for name, content in postgres_contents(url) for hit in found_in(name, content, TEXTS)]
