"""Records that all processes share: read as a whole now and then, and always as they are now."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from typing import Any

import pytest
import time_machine
from hypothesis import given
from hypothesis import strategies as st

from campaign_sync.crm.mirror.retention import RECORDS_FILE
from campaign_sync.crm.port import CrmError
from campaign_sync.crm.web_api import shared_records
from campaign_sync.crm.web_api.shared_records import OVERLAP, Record, RecordApi, RecordTable, SharedRecords

PEOPLE, CONSENTS = RecordTable("People", "all"), RecordTable("Con sents", "all")

TABLES = (PEOPLE, CONSENTS)

LONG = timedelta(hours=1)


class Crm(RecordApi[RecordTable]):
    """Records in memory, with a clock of its own."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 1, tzinfo=UTC)
        self.records: dict[str, dict[str, tuple[datetime, Any]]] = {table.name: {} for table in TABLES}
        self.reads = 0
        self.loses = self.knows_no_changes = False
        self.has_clock = True
        self.asked: Callable[[], object] = lambda: None
        self.wait: Callable[[RecordTable], object] = lambda _: None

    def set(self, table: RecordTable, key: str, values: object, taken: timedelta = timedelta()) -> None:
        """Change a record, or add it, by a transaction that has taken some time."""
        self.records[table.name][key] = self.now - taken, values

    def begin(self) -> datetime | None:
        return self.now if self.has_clock else None

    def everything(self, table: RecordTable) -> Iterator[Sequence[Record]]:
        self.reads += 1
        self.wait(table)
        if self.loses:
            raise CrmError("rows are missing")
        yield [(key, values) for key, (_, values) in self.records[table.name].items() if values is not None]

    def changed(self, table: RecordTable, since: datetime, most: int) -> Mapping[str, Any] | None:
        self.asked()
        changes = {key: values for key, (at, values) in self.records[table.name].items() if at >= since}
        return None if self.knows_no_changes or len(changes) > most else changes


def shown(crm: Crm, folder: Path, *, place: str = "here", max_age: timedelta = LONG) -> dict[str, list[Any]]:
    """Return the values of all records, sorted."""
    with SharedRecords(folder, place, max_age).open(crm, TABLES) as records:
        return {table.name: sorted(value for chunk in records.values(table) for value in chunk) for table in TABLES}


def truth(crm: Crm) -> dict[str, list[Any]]:
    """Return what must be shown."""
    return {
        name: sorted(values for _, values in records.values() if values is not None)
        for name, records in crm.records.items()
    }


_STEPS = st.one_of(
    st.tuples(
        st.sampled_from(TABLES),
        st.sampled_from("abcdef"),
        st.none() | st.text(max_size=3),
        st.timedeltas(timedelta(), OVERLAP),
    ),
    st.timedeltas(timedelta(), 3 * OVERLAP),
    st.just("read"),
)


@given(st.lists(_STEPS, max_size=20), st.integers(1, 4))
def test_every_view_shows_the_records_of_now_whatever_changed_before(steps: list[Any], most: int) -> None:
    crm = Crm()
    with TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patches:
        patches.setattr(shared_records, "MOST_CHANGES", most)
        for step in [*steps, "read"]:
            if step == "read":
                assert shown(crm, Path(name)) == truth(crm)
            elif isinstance(step, timedelta):
                crm.now += step
            else:
                crm.set(*step)


def test_what_changed_is_enough_while_the_file_is_young(tmp_path: Path) -> None:
    crm = Crm()
    crm.set(PEOPLE, "a", "one")
    shown(crm, tmp_path)
    crm.now += timedelta(hours=2)
    crm.set(PEOPLE, "a", "other")
    assert shown(crm, tmp_path) == truth(crm)
    assert crm.reads == len(TABLES)


@pytest.mark.parametrize("changes", [{"place": "there"}, {"max_age": timedelta()}])
def test_a_file_of_another_place_or_too_old_is_read_again(tmp_path: Path, changes: dict[str, Any]) -> None:
    crm = Crm()
    shown(crm, tmp_path)
    shown(crm, tmp_path, **changes)
    assert crm.reads == 2 * len(TABLES)


def test_a_read_that_takes_longer_than_the_file_may_be_old_is_used_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crm = Crm()
    with time_machine.travel(datetime.now(UTC), tick=False) as clock:
        begin = crm.begin

        def slow() -> datetime | None:
            clock.shift(2 * LONG)
            return begin()

        monkeypatch.setattr(crm, "begin", slow)
        shown(crm, tmp_path)
        shown(crm, tmp_path)
    assert crm.reads == len(TABLES)


def test_without_knowing_what_changed_everything_is_read_for_every_view(tmp_path: Path) -> None:
    crm = Crm()
    crm.knows_no_changes = True
    for value in ("one", "two", "three"):
        crm.set(CONSENTS, "a", value)
        assert shown(crm, tmp_path) == truth(crm)
    assert crm.reads == 3 * len(TABLES)


def test_after_a_load_of_many_records_all_are_read_again_until_it_is_long_ago(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_records, "MOST_CHANGES", 2)
    crm = Crm()
    for key in "abcd":
        crm.set(PEOPLE, key, key)
    reads = []
    for pause in (OVERLAP, timedelta(seconds=1), timedelta(seconds=1)):
        crm.now += pause
        shown(crm, tmp_path)
        reads.append(crm.reads // len(TABLES))
    assert reads == [1, 2, 2]


def test_without_a_clock_of_the_crm_everything_is_read_for_every_view(tmp_path: Path) -> None:
    crm = Crm()
    crm.has_clock = False
    for value in ("one", "two"):
        crm.set(PEOPLE, "a", value)
        assert shown(crm, tmp_path) == truth(crm)
    assert crm.reads == 2 * len(TABLES)


def test_a_file_of_another_process_isnt_enough_where_it_isnt_known_what_changed(tmp_path: Path) -> None:
    """It was begun before, so what is in it already may have changed."""
    crm, other, reads_on, is_open = Crm(), Crm(), Event(), Event()
    crm.knows_no_changes = other.knows_no_changes = True
    shown(crm, tmp_path)
    other.wait = lambda table: reads_on.wait(60) if table is CONSENTS else is_open.set()
    with ThreadPoolExecutor() as pool:
        building = pool.submit(shown, other, tmp_path)
        assert is_open.wait(60)
        crm.set(PEOPLE, "a", "one")
        crm.asked = reads_on.set
        assert pool.submit(shown, crm, tmp_path).result(60) == truth(crm)
        building.result(60)


def test_a_read_that_fails_leaves_the_file_before(tmp_path: Path) -> None:
    crm = Crm()
    crm.set(PEOPLE, "a", "one")
    before = shown(crm, tmp_path)
    crm.loses = True
    with pytest.raises(CrmError, match="rows are missing"):
        shown(crm, tmp_path, max_age=timedelta())
    assert [file.name for file in tmp_path.iterdir() if file.name != ".lock"] == [RECORDS_FILE]
    assert shown(crm, tmp_path) == before


def test_a_damaged_file_is_made_again(tmp_path: Path) -> None:
    crm = Crm()
    shown(crm, tmp_path)
    (tmp_path / RECORDS_FILE).write_bytes(b"no database at all")
    crm.set(PEOPLE, "a", "one")
    assert shown(crm, tmp_path) == truth(crm)


def test_a_file_that_is_damaged_within_fails_with_what_helps(tmp_path: Path) -> None:
    crm, file = Crm(), tmp_path / RECORDS_FILE
    for number in range(1000):
        crm.set(PEOPLE, str(number), "x" * 100)
    crm.now += 2 * OVERLAP
    before = shown(crm, tmp_path)
    content = file.read_bytes()
    file.write_bytes(content[:12_288] + b"\xff" * 20_000 + content[32_288:])
    with pytest.raises(CrmError, match=r"storage\.crm_copies\): a file is damaged; remove it"):
        shown(crm, tmp_path)
    file.unlink()
    assert shown(crm, tmp_path) == before


def test_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    shown(Crm(), tmp_path)
    assert (tmp_path / RECORDS_FILE).stat().st_mode & 0o777 == 0o600
