"""The local copy of a CRM: complete or not there, shared, protected, and with the consents of now."""

import dataclasses
import gc
import multiprocessing
import os
import signal
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine

from campaign_sync.crm.mirror.adapter import MirrorCrm
from campaign_sync.crm.mirror.loading import pause_garbage_collection
from campaign_sync.crm.mirror.retention import FILE
from campaign_sync.crm.mirror.source import SourceRows
from campaign_sync.crm.port import CopyTimes, CrmError, CrmSetupError, Pick
from campaign_sync.domain.consent import OptIn
from campaign_sync.domain.entity import Entity, EntityType
from campaign_sync.domain.progress import Progress, watching
from campaign_sync_tests.crm.mirror.copied_crm import copied
from campaign_sync_tests.crm.mirror.sources import ListSource, source_rows
from campaign_sync_tests.crm.small_crm import NOON

FANS = Pick("marketing_list", "Fans")
NEWS = OptIn("news", "nord", "News", "email")
HOUR = timedelta(hours=1)


def source(people: int = 5) -> ListSource:
    """Return a CRM whose contacts are all members of `Fans` and have consented."""
    ids = [f"c{number}" for number in range(people)]
    return ListSource(
        people_of={EntityType.CONTACT: [(id, f"{id}@example.org") for id in ids]},
        members={FANS: [("contact", id) for id in ids]},
        opt_in_list=[NEWS],
        events=[event(f"e-{id}", id) for id in ids],
        bounces=[("c0@example.org", "soft", NOON, "nord", "test"), ("x@example.org", "hard", NOON, "nord", "test")],
    )


def event(event_id: str, entity_id: str, kind: str = "granted", days: int = 0) -> tuple[object, ...]:
    return (event_id, "contact", entity_id, "news", kind, NOON + timedelta(days=days), "form", None)


def consenting(crm: MirrorCrm, opt_in_ids: list[str] | None = None) -> list[str]:
    with crm.snapshot(opt_in_ids) as snapshot:
        frames = list(snapshot.select(FANS, "news", []))
    return [id for frame in frames for id in frame[frame["consent_kind"] == "granted"]["entity_id"].tolist()]


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != ".lock")


def test_picks_come_first_then_people_then_consents(tmp_path: Path) -> None:
    crm = source()
    assert consenting(copied(crm, tmp_path, frozenset({FANS}))) == ["c0", "c1", "c2", "c3", "c4"]
    assert crm.reads == ["Fans", "contact", "lead", "account", "consent_event", "address_state"]


def test_people_are_copied_once_within_their_maximum_age_and_consents_each_time(tmp_path: Path) -> None:
    crm = source()
    for _ in range(2):
        consenting(copied(crm, tmp_path, frozenset({FANS}), max_age=HOUR))
    assert crm.reads.count("contact") == 1
    assert crm.reads.count("consent_event") == 2
    with time_machine.travel(datetime.now(UTC) + HOUR, tick=False):
        consenting(copied(crm, tmp_path, frozenset({FANS}), max_age=HOUR))
    assert crm.reads.count("contact") == 2


def test_a_read_that_takes_longer_than_people_may_be_old_is_used_all_the_same(tmp_path: Path) -> None:
    crm = source()
    with time_machine.travel(datetime.now(UTC), tick=False) as clock, pytest.MonkeyPatch.context() as patches:
        members = crm.pick

        def slow(pick: Pick) -> SourceRows:
            clock.shift(2 * HOUR)
            return members(pick)

        patches.setattr(crm, "pick", slow)
        for _ in range(2):
            consenting(copied(crm, tmp_path, frozenset({FANS}), max_age=HOUR))
    assert crm.reads.count("contact") == 1


def test_a_withdrawal_after_the_people_were_copied_is_seen(tmp_path: Path) -> None:
    crm = source()
    mirror = copied(crm, tmp_path, frozenset({FANS}), max_age=HOUR)
    assert "c1" in consenting(mirror)
    assert crm.events is not None
    crm.events.append(event("out", "c1", "withdrawn", days=1))
    assert "c1" not in consenting(mirror, ["news"])


def test_other_needs_or_another_configuration_mean_another_copy(tmp_path: Path) -> None:
    crm = source()
    other = Pick("marketing_list", "Others")
    crm.members[other] = []
    both, fans = frozenset({FANS, other}), frozenset({FANS})
    for picks, reads in ((fans, 1), (both, 2), (fans, 2)):
        consenting(copied(crm, tmp_path, picks, max_age=HOUR))
        assert crm.reads.count("contact") == reads
    press = {"press": {"mandator": "sued", "description": "Press"}}
    consenting(copied(crm, tmp_path, fans, max_age=HOUR, opt_ins=press))
    assert crm.reads.count("contact") == 3


def test_a_copy_is_for_its_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "copies"
    mirror = copied(source(), folder, frozenset({FANS}))
    with mirror.snapshot():
        assert files(folder) == [FILE], "the consents have no name in the file system"
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE((folder / FILE).stat().st_mode) == 0o600


@pytest.mark.parametrize("table", ["contact", "lead", "consent_event", "address_state"])
def test_a_table_that_comes_incompletely_is_refused_and_nothing_is_left(tmp_path: Path, table: str) -> None:
    crm = source()
    crm.people_of[EntityType.LEAD] = [("l1", "lea@example.org")]
    crm.lost = {table: 1}
    with pytest.raises(CrmError, match=rf"\d of \d rows of {table} came from the CRM; nothing was changed"):
        consenting(copied(crm, tmp_path, frozenset({FANS})))
    assert set(files(tmp_path)) <= {FILE}
    crm.lost = {}
    assert len(consenting(copied(crm, tmp_path, frozenset({FANS})))) == 5


def test_what_is_cut_in_the_middle_leaves_the_former_copy_alone(tmp_path: Path) -> None:
    crm = source()
    consenting(copied(crm, tmp_path, frozenset({FANS})))
    before = (tmp_path / FILE).read_bytes()
    crm.cut = {"contact"}
    with pytest.raises(CrmError, match="cut"):
        consenting(copied(crm, tmp_path, frozenset({FANS})))
    assert (tmp_path / FILE).read_bytes() == before
    assert files(tmp_path) == [FILE]


@pytest.mark.parametrize("delivery", [None, "monday"])
def test_a_pick_that_the_crm_lacks_stops_only_its_own_lists(tmp_path: Path, delivery: str | None) -> None:
    crm, gone = source(), Pick("report", "Gone")
    crm.delivery = delivery
    mirror = copied(crm, tmp_path, frozenset({FANS, gone}), max_age=HOUR)
    assert len(consenting(mirror)) == 5
    with mirror.snapshot() as snapshot, pytest.raises(CrmError, match="no report 'Gone'"):
        snapshot.select(gone, "news", [])
    assert crm.reads.count("contact") == 1
    crm.members[gone] = [("contact", "c1")]
    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=6), tick=False), mirror.snapshot() as snapshot:
        assert len(list(snapshot.select(gone, "news", []))) == 1


def test_a_pick_that_cannot_be_read_before_a_person_corrects_it_is_not_retried(tmp_path: Path) -> None:
    class Strict(ListSource):
        def pick(self, pick: Pick) -> SourceRows:
            raise CrmSetupError("there are no queries")

    with pytest.raises(CrmSetupError, match="there are no queries"):
        consenting(copied(Strict(events=[]), tmp_path, frozenset({FANS})))


def test_a_pick_whose_pages_do_not_all_come_is_read_once_more(tmp_path: Path) -> None:
    class Hasty(ListSource):
        def pick(self, pick: Pick) -> SourceRows:
            self.reads.append(pick.name)
            rows = super().pick(pick)
            first = [next(rows.chunks)] if self.reads.count(pick.name) == 1 else rows.chunks
            return dataclasses.replace(rows, chunks=iter(first))

    crm = Hasty(**vars(source()))
    assert len(consenting(copied(crm, tmp_path, frozenset({FANS})))) == 5
    assert crm.reads.count("contact") == 1


def test_an_empty_pick_of_a_known_type_has_the_columns_of_this_type(tmp_path: Path) -> None:
    class Leads(ListSource):
        def pick(self, pick: Pick) -> SourceRows:
            return dataclasses.replace(super().pick(pick), entity_type=EntityType.LEAD)

        def people(self, entity_type: EntityType) -> SourceRows:
            columns = ("id", "email", "score") if entity_type is EntityType.LEAD else ("id", "email")
            return source_rows(columns, [])

    crm = Leads(members={FANS: []}, opt_in_list=[NEWS])
    with copied(crm, tmp_path, frozenset({FANS})).snapshot() as snapshot:
        assert list(snapshot.select(FANS, "news", ["score"])) == []


def test_a_pick_that_comes_incompletely_stops_its_own_lists(tmp_path: Path) -> None:
    crm = source()
    crm.lost = {"Fans": 1}
    with pytest.raises(CrmError, match="4 of 5 rows of the marketing list 'Fans' came from the CRM"):
        consenting(copied(crm, tmp_path, frozenset({FANS})))


def test_a_pick_that_no_list_names_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CrmError, match="doesn't have the marketing list 'Fans': no list of the configuration names"):
        consenting(copied(source(), tmp_path))


def test_members_of_an_unknown_type_are_selected_to_be_rejected(tmp_path: Path) -> None:
    crm = source(1)
    crm.members[FANS] += [("user", "u1"), (None, "n1"), (" Contact ", " c0 ")]
    with copied(crm, tmp_path, frozenset({FANS})).snapshot() as snapshot:
        frames = list(snapshot.select(FANS, "news", []))
        people = [pair for frame in frames for pair in zip(frame["entity_type"], frame["entity_id"], strict=True)]
        assert people == [("contact", "c0"), ("", "n1"), ("user", "u1")]
        assert [len(chunk) for chunk in snapshot.members(FANS)] == [1]


@pytest.mark.parametrize(
    ("ids", "problem"),
    [(["c1", "c1", "c2", "c2"], "2 ids come more than once"), (["c1", None, ""], "2 rows have no id")],
)
def test_people_without_an_id_of_their_own_are_refused(tmp_path: Path, ids: list[object], problem: str) -> None:
    crm = ListSource(people_of={EntityType.CONTACT: [(id, "anna@example.org") for id in ids]}, events=[])
    with pytest.raises(CrmError, match=rf"contact\.id: {problem}") as caught:
        consenting(copied(crm, tmp_path))
    assert "c1" not in str(caught.value)


def test_events_of_the_same_id_are_refused(tmp_path: Path) -> None:
    crm = source(2)
    crm.events = [event("e1", "c0"), event("e1", "c1")]
    with pytest.raises(CrmError, match=r"consent_event\.id: 1 ids come more than once"):
        consenting(copied(crm, tmp_path, frozenset({FANS})))


def test_values_that_are_no_text_become_text_and_bytes_that_are_not_utf8_stay_so(tmp_path: Path) -> None:
    crm = ListSource(
        people_of={
            EntityType.CONTACT: [(4711, b"anna@example.org"), ("c2", b"M\xfcller@example.org"), ("c3", "\ud800")]
        },
        members={FANS: [("contact", 4711)]},
        opt_in_list=[NEWS],
        events=[],
    )
    with copied(crm, tmp_path, frozenset({FANS})).snapshot() as snapshot:
        (frame,) = snapshot.select(FANS, "news", [])
        assert frame[["entity_id", "email"]].values.tolist() == [["4711", "anna@example.org"]]
        emails = snapshot.emails({Entity(EntityType.CONTACT, id) for id in ("c2", "c3")})
        assert {email.replace("\ufffd", "?") for email in emails.values()} == {"M?ller@example.org", "???"}


def test_a_value_without_a_text_form_is_named_by_its_column(tmp_path: Path) -> None:
    crm = ListSource(people_of={EntityType.CONTACT: [("c1", ["anna@example.org"])]})
    with pytest.raises(CrmError, match=r"contact\.email: a value of type list has no text form") as caught:
        consenting(copied(crm, tmp_path))
    assert "anna" not in str(caught.value)


def test_opt_ins_come_from_the_crm_and_the_configuration(tmp_path: Path) -> None:
    press = {"press": {"mandator": "sued", "description": "Press"}}
    with copied(source(), tmp_path, opt_ins=press).snapshot() as snapshot:
        assert snapshot.opt_in("news") == NEWS
        assert snapshot.opt_in("press") == OptIn("press", "sued", "Press", "email")
    with pytest.raises(CrmError, match=r"defines the opt-in 'news', and crm.opt_ins defines it differently"):
        consenting(copied(source(), tmp_path, opt_ins={"news": {"mandator": "sued", "description": "News"}}))


def test_the_progress_of_long_reads_is_reported(tmp_path: Path) -> None:
    steps: list[Progress] = []
    with watching(steps.append):
        consenting(copied(source(), tmp_path, frozenset({FANS})))
    assert Progress("", "CRM", "read contact", 5, 5) in steps
    assert Progress("", "CRM", "read consent_event", 5, 5) in steps


def test_a_damaged_copy_is_made_anew(tmp_path: Path) -> None:
    crm = source()
    mirror = copied(crm, tmp_path, frozenset({FANS}), max_age=HOUR)
    consenting(mirror)
    (tmp_path / FILE).write_bytes(b"SQLite format 3\x00 and nothing else")
    assert len(consenting(mirror)) == 5


def test_people_of_the_same_version_are_read_once_and_those_of_another_at_once(tmp_path: Path) -> None:
    crm = source()
    crm.delivery = "monday"
    mirror = copied(crm, tmp_path, frozenset({FANS}))
    assert len(consenting(mirror)) == 5
    crm.people_of[EntityType.CONTACT].append(("c9", "ida@example.org"))
    with mirror.snapshot() as same:
        assert same.entities_with("ida@example.org") == []
    crm.delivery = "tuesday"
    with mirror.snapshot() as next_delivery:
        assert next_delivery.entities_with("ida@example.org") == [Entity(EntityType.CONTACT, "c9")]


def test_a_reader_keeps_its_copy_when_another_is_made(tmp_path: Path) -> None:
    crm = source()
    mirror = copied(crm, tmp_path, frozenset({FANS}))
    with mirror.snapshot() as before:
        crm.people_of[EntityType.CONTACT].append(("c9", "ida@example.org"))
        with mirror.snapshot() as after:
            assert before.entities_with("ida@example.org") == []
            assert after.entities_with("ida@example.org") == [Entity(EntityType.CONTACT, "c9")]


class SlowSource(ListSource):
    """Reports when people are read, and then waits as long as a file exists."""

    marker: Path

    def people(self, entity_type: EntityType) -> SourceRows:
        if entity_type is EntityType.LEAD:
            (self.marker / f"reading-{os.getpid()}").touch()
            while (self.marker / "wait").exists():
                signal.sigtimedwait([], 0.01)
        return super().people(entity_type)


def select_slowly(folder: Path) -> None:
    """Select from a copy in a process of its own."""
    crm = SlowSource(**vars(source()))
    crm.marker = folder
    assert len(consenting(copied(crm, folder / "copies", frozenset({FANS}), max_age=HOUR))) == 5


@contextmanager
def process(target: Callable[..., None], *arguments: Any) -> Iterator[multiprocessing.process.BaseProcess]:
    child = multiprocessing.get_context("spawn").Process(target=target, args=arguments)
    child.start()
    try:
        yield child
    finally:
        child.kill()
        child.join()


def wait_until(condition: Callable[[], bool], child: multiprocessing.process.BaseProcess) -> None:
    while not condition():
        assert child.is_alive()
        signal.sigtimedwait([], 0.01)


def test_two_processes_copy_people_once(tmp_path: Path) -> None:
    (tmp_path / "wait").touch()
    with process(select_slowly, tmp_path) as first:
        wait_until(lambda: bool(list(tmp_path.glob("reading-*"))), first)
        with process(select_slowly, tmp_path) as second:
            (tmp_path / "wait").unlink()
            for child in (first, second):
                child.join()
                assert child.exitcode == 0
    assert len(list(tmp_path.glob("reading-*"))) == 1


def test_a_killed_builder_leaves_nothing_that_is_used(tmp_path: Path) -> None:
    folder = tmp_path / "copies"
    (tmp_path / "wait").touch()
    with process(select_slowly, tmp_path) as child:
        wait_until(lambda: bool(list(tmp_path.glob("reading-*"))), child)
        child.kill()
        child.join()
    assert [name for name in files(folder) if name.endswith(".part")], "it was killed while it was building"
    assert len(consenting(copied(source(), folder, frozenset({FANS}), max_age=HOUR))) == 5
    assert files(folder) == [FILE]


def test_a_source_that_reads_something_else_than_it_should_is_refused(tmp_path: Path) -> None:
    class Odd(ListSource):
        def address_states(self) -> SourceRows:
            return SourceRows(("address",), iter(()), lambda: 0)

        def people(self, entity_type: EntityType) -> SourceRows:
            columns = ("id", "email") if self.opt_in_list else ("id", "mail")
            return SourceRows(columns, iter([[("c1", "anna@example.org", "odd")]] if self.events else []), lambda: 0)

    with pytest.raises(CrmError, match="contact has no column email"):
        consenting(copied(Odd(), tmp_path))
    with pytest.raises(CrmError, match="address_state has the columns address, and must begin with"):
        consenting(copied(Odd(opt_in_list=[NEWS]), tmp_path))
    with pytest.raises(CrmError, match="contact: a row doesn't have 2 values"):
        consenting(copied(Odd(opt_in_list=[NEWS], events=[()]), tmp_path))


def test_a_snapshot_knows_how_old_its_data_are(tmp_path: Path) -> None:
    crm = source()
    crm.as_of = NOON
    mirror = copied(crm, tmp_path, frozenset({FANS}), max_age=HOUR)
    consenting(mirror)
    crm.as_of = NOON + HOUR
    with mirror.snapshot() as snapshot:
        assert snapshot.copy_times == CopyTimes(NOON, NOON + HOUR)


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "copies").write_text("a file")
    with pytest.raises(CrmError, match=r"local copy of the CRM \(storage.crm_copies\): (Not a directory|File exists)"):
        consenting(copied(source(), tmp_path / "copies", frozenset({FANS})))


def test_garbage_is_collected_again_after_a_read_that_failed() -> None:
    enabled = list[bool]()

    def read_in_vain() -> None:
        with pause_garbage_collection(), pause_garbage_collection():
            enabled.append(gc.isenabled())
            raise CrmError("incomplete")

    with pytest.raises(CrmError):
        read_in_vain()
    assert [*enabled, gc.isenabled()] == [False, True]
