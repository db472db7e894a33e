"""Locks of lists and heartbeats of runs, whatever process dies."""

import os
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from sqlalchemy import create_engine, select, update

from campaign_sync.storage import locks, run_heartbeats
from campaign_sync.storage.expiry import LIFETIME
from campaign_sync.storage.locks import ListLockedError, ListLockLostError, LockScope, Moment
from campaign_sync.storage.processes import STALLED_AFTER, database_now
from campaign_sync.storage.state import State
from campaign_sync.storage.tables import lease, run_alive
from campaign_sync_tests.waiting import PATIENCE, until


def test_a_list_is_held_by_one_run_at_a_time_and_free_afterwards(database_url: str) -> None:
    with State(database_url) as state:
        with state.locks.acquire(11, "monday"):
            assert state.locks.holder(11) == "monday"
            with pytest.raises(ListLockedError, match="run monday is replacing it"), state.locks.acquire(11, "tuesday"):
                pass
            with state.locks.acquire(12, "tuesday"):
                assert state.locks.holder(12) == "tuesday"
        assert state.locks.holder(11) is None
        with state.locks.acquire(11, "tuesday"):
            pass


def test_a_mandator_and_a_list_of_the_same_id_have_locks_of_their_own(database_url: str) -> None:
    with State(database_url) as state, state.locks.acquire(11, "probe", LockScope.MANDATOR):
        assert state.locks.holder(11) is None
        with state.locks.acquire(11, "monday"):
            assert state.locks.holder(11) == "monday"
        canary = "run probe is trying the canary_address with another list"
        with pytest.raises(ListLockedError, match=canary), state.locks.acquire(11, "tuesday", LockScope.MANDATOR):
            pass


def test_a_run_that_waits_gets_the_lock_once_it_is_free(database_url: str) -> None:
    waited_for, is_waiting = [], threading.Event()

    def note(run_id: str) -> None:
        waited_for.append(run_id)
        is_waiting.set()

    def hold() -> None:
        with State(database_url) as other, other.locks.acquire(11, "first", LockScope.OPT_OUTS):
            holds.set()
            is_waiting.wait(PATIENCE)

    holds = threading.Event()
    holder = threading.Thread(target=hold)
    with State(database_url) as state:
        holder.start()
        assert holds.wait(PATIENCE)
        with state.locks.acquire(11, "second", LockScope.OPT_OUTS, patience=timedelta(seconds=PATIENCE), on_wait=note):
            assert waited_for == ["first"]
        holder.join()


def test_of_many_simultaneous_runs_one_gets_the_lock(database_url: str) -> None:
    State(database_url).close()
    got, refused, start = [], [], threading.Barrier(6)

    def want(number: int) -> None:
        with State(database_url) as state:
            start.wait()
            try:
                with state.locks.acquire(11, f"run-{number}"):
                    got.append(number)
                    time.sleep(0.5)
            except ListLockedError:
                refused.append(number)

    threads = [threading.Thread(target=want, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(got), len(refused)) == (1, 5)


HOLD_AND_DIE = """
import os, signal, sys
from campaign_sync.storage.state import State
with State(sys.argv[1]) as state, state.locks.acquire(11, "killed"):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_process_of_this_machine_holds_no_lock(database_url: str) -> None:
    State(database_url).close()
    subprocess.run([sys.executable, "-c", HOLD_AND_DIE, database_url], check=False, env=os.environ)
    with State(database_url) as state:
        assert state.locks.holder(11) is None
        with state.locks.acquire(11, "next"):
            assert state.locks.holder(11) == "next"


def let_another_host_hold_it(database_url: str, expires_in: timedelta, *, overdue: int = 0) -> None:
    """Make another machine the holder of the lock."""
    with create_engine(database_url).begin() as connection:
        owner = "another-host 4711 another-boot/pid:[1] 12345"
        expires_at = database_now(connection) + expires_in
        values = {"owner": owner, "expires_at": expires_at, "token": "theirs", "overdue": overdue}
        connection.execute(update(lease).values(**values))


def test_another_machine_keeps_its_lock_until_it_expires(database_url: str) -> None:
    with State(database_url) as state:
        with state.locks.acquire(11, "monday"):
            let_another_host_hold_it(database_url, timedelta(minutes=1))
        with pytest.raises(ListLockedError, match="on another-host"), state.locks.acquire(11, "ours"):
            pass
        let_another_host_hold_it(database_url, timedelta(seconds=-1))
        with pytest.raises(ListLockedError, match="on another-host"), state.locks.acquire(11, "ours"):
            pass
        assert state.locks.holder(11) == "monday", "its clock may have been set, and its next renewal clears that up"
        let_another_host_hold_it(database_url, timedelta(seconds=-1), overdue=1)
        with state.locks.acquire(11, "ours"):
            assert state.locks.holder(11) == "ours"


def test_the_holder_renews_its_lock_and_notices_when_another_has_taken_it(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "LIFETIME", timedelta(seconds=1.5))
    with State(database_url) as state, state.locks.acquire(11, "ours") as lock:
        time.sleep(2)
        lock.require()
        assert state.locks.holder(11) == "ours"
        let_another_host_hold_it(database_url, timedelta(minutes=1))
        assert lock.lost.wait(PATIENCE)
        with pytest.raises(ListLockLostError, match="was lost"):
            lock.require()


@pytest.fixture
def _without_a_heartbeat(monkeypatch: pytest.MonkeyPatch) -> None:
    """Act as a machine that is too busy to run the threads that renew locks and send heartbeats."""
    for module in (locks, run_heartbeats):
        monkeypatch.setattr(module, "HEARTBEATS_PER_LIFETIME", 0.001)


def hundred_seconds_ago() -> Moment:
    now = Moment.now()
    return Moment(now.boot - 100, now.wall - 100)


@pytest.mark.usefixtures("_without_a_heartbeat")
def test_a_delayed_holder_continues_if_its_lock_was_not_taken(database_url: str) -> None:
    with State(database_url) as state, state.locks.acquire(11, "ours") as lock:
        lock.confirm(hundred_seconds_ago())
        lock.require()
        assert lock.is_certain, "the row was renewed"


@pytest.mark.usefixtures("_without_a_heartbeat")
def test_a_delayed_holder_stops_if_its_lock_was_taken(database_url: str) -> None:
    with State(database_url) as state, state.locks.acquire(11, "ours") as lock:
        lock.confirm(hundred_seconds_ago())
        let_another_host_hold_it(database_url, timedelta(minutes=1))
        with pytest.raises(ListLockLostError):
            lock.require()


@pytest.mark.usefixtures("_without_a_heartbeat")
def test_a_delayed_holder_stops_if_the_database_is_out_of_reach(database_url: str) -> None:
    with State(database_url) as state, state.locks.acquire(11, "ours") as lock:
        with create_engine(database_url).begin() as connection:
            connection.exec_driver_sql("ALTER TABLE lease RENAME TO out_of_reach")
        lock.require()
        lock.confirm(hundred_seconds_ago())
        with pytest.raises(ListLockLostError):
            lock.require()


@pytest.mark.usefixtures("_without_a_heartbeat")
def test_an_existing_process_keeps_its_lock_on_a_slow_machine_but_not_for_ever(sqlite_url: str) -> None:
    with State(sqlite_url) as state, state.locks.acquire(11, "slow"):
        with time_machine.travel(datetime.now(UTC) + 3 * LIFETIME):
            assert (state.locks.holder(11), state.view().locks.dead.get(11)) == ("slow", None)
            with pytest.raises(ListLockedError), state.locks.acquire(11, "other"):
                pass
        with time_machine.travel(resumed := datetime.now(UTC) + 2 * STALLED_AFTER):
            assert (state.locks.holder(11), state.view().locks.dead.get(11)) == ("slow", None)
        for further in range(2, 6, 2):
            with time_machine.travel(resumed + further * LIFETIME):
                assert (state.locks.holder(11), state.view().locks.dead.get(11)) == ("slow", None)
        with time_machine.travel(resumed + 6 * LIFETIME):
            assert (state.locks.holder(11), state.view().locks.dead.get(11)) == (None, "slow")


@pytest.mark.usefixtures("_without_a_heartbeat")
def test_two_suspends_in_a_row_cost_a_holder_nothing_and_a_machine_that_is_gone_its_lock(sqlite_url: str) -> None:
    for owner, holder in ((None, "run"), ("another-host 4711 another-boot/pid:[1] 12345", None)):
        with State(sqlite_url) as state, state.locks.acquire(11, "run") as lock:
            if owner:
                with create_engine(sqlite_url).begin() as connection:
                    connection.execute(update(lease).values(owner=owner))
            with time_machine.travel(datetime.now(UTC) + timedelta(hours=1), tick=False) as clock:
                for _ in range(2):
                    state.view()  # a sensor ticks before the holder has sent a heartbeat
                    clock.shift(timedelta(hours=8))
                assert state.locks.holder(11) == holder
                lock.require()
                assert state.locks.holder(11) == "run"


@pytest.mark.usefixtures("_without_a_heartbeat")
def test_a_clock_that_is_set_lets_no_other_run_take_the_lock_of_a_living_one(sqlite_url: str) -> None:
    with State(sqlite_url) as state, state.locks.acquire(11, "ours") as lock:
        for days in range(1, 4):
            with time_machine.travel(datetime.now(UTC) + timedelta(days=days)):
                assert state.view().locks.living == {11: "ours"}
                with pytest.raises(ListLockedError), state.locks.acquire(11, "other"):
                    pass
                lock.require()
                assert (lock.is_certain, state.view().locks.living) == (True, {11: "ours"})
        lock.require()  # it was set back


@pytest.mark.usefixtures("_without_a_heartbeat")
def test_after_its_clock_was_set_a_holder_changes_nothing_before_it_has_renewed_its_lock(sqlite_url: str) -> None:
    with State(sqlite_url) as state, state.locks.acquire(11, "ours") as lock:
        with create_engine(sqlite_url).begin() as connection:
            connection.execute(update(lease).values(token="theirs"))
        lock.require()  # the database isn't asked before every call
        with time_machine.travel(datetime.now(UTC) + LIFETIME), pytest.raises(ListLockLostError, match="clock was set"):
            lock.require()
        assert lock.lost.is_set()


def test_a_run_is_dead_when_its_process_is_gone(database_url: str) -> None:
    with State(database_url) as state:
        with state.heartbeats.keep_alive("alive"):
            subprocess.run([sys.executable, "-c", BEAT_AND_DIE, database_url], check=False)
            assert state.heartbeats.dead_runs() == ["dead"]
        assert state.heartbeats.dead_runs() == ["dead"], "a run that ends in order is forgotten"
        state.heartbeats.forget("dead")
        assert state.heartbeats.dead_runs() == []


@pytest.mark.usefixtures("_without_a_heartbeat")
def test_a_run_without_a_heartbeat_for_too_long_is_dead(sqlite_url: str) -> None:
    with State(sqlite_url) as state, state.heartbeats.keep_alive("stuck"):
        assert state.heartbeats.dead_runs() == []
        with time_machine.travel(datetime.now(UTC) + LIFETIME + timedelta(minutes=5)):
            assert state.heartbeats.dead_runs() == [], "its process exists"
        with time_machine.travel(resumed := datetime.now(UTC) + LIFETIME + STALLED_AFTER, tick=False):
            assert state.heartbeats.dead_runs() == [], "its machine may have been suspended"
        for further in (1, 2):
            with time_machine.travel(resumed + further * LIFETIME, tick=False):
                assert state.heartbeats.dead_runs() == [], "it may have been suspended again"
        with time_machine.travel(resumed + 3 * LIFETIME):
            assert state.heartbeats.dead_runs() == ["stuck"]


@pytest.mark.usefixtures("_without_a_heartbeat")
def test_a_run_whose_machine_was_suspended_is_dead_only_if_it_sends_no_further_heartbeat(sqlite_url: str) -> None:
    with State(sqlite_url) as state, state.heartbeats.keep_alive("run"):
        for days in range(1, 4):
            with time_machine.travel(datetime.now(UTC) + timedelta(days=days), tick=False) as clock:
                assert state.heartbeats.dead_runs() == []
                with state.heartbeats.keep_alive("run"):  # sends one, as the thread does every quarter of a minute
                    clock.shift(LIFETIME)
                    assert state.heartbeats.dead_runs() == []
        with time_machine.travel(datetime.now(UTC) + timedelta(days=9), tick=False) as clock:
            for _ in range(3):
                assert state.heartbeats.dead_runs() == []
                clock.shift(LIFETIME)
            assert state.heartbeats.dead_runs() == ["run"]


def test_a_run_that_is_given_further_time_is_dead_once_its_process_is_gone(sqlite_url: str) -> None:
    with State(sqlite_url) as state:
        subprocess.run([sys.executable, "-c", BEAT_AND_DIE, sqlite_url], check=False)
        with time_machine.travel(datetime.now(UTC) + timedelta(days=1)):
            assert state.heartbeats.dead_runs() == ["dead"]


def test_a_run_that_is_expected_to_send_a_heartbeat_is_dead_if_it_sends_none(sqlite_url: str) -> None:
    with State(sqlite_url) as state:
        state.heartbeats.expect(["silent", "late", "early"])
        with state.heartbeats.keep_alive("late"), state.heartbeats.keep_alive("early"):
            state.heartbeats.expect(["silent", "early"])
            assert state.heartbeats.dead_runs() == []
            with time_machine.travel(late := datetime.now(UTC) + STALLED_AFTER, tick=False):
                assert state.heartbeats.dead_runs() == []
            with time_machine.travel(late + LIFETIME):
                assert state.heartbeats.dead_runs() == ["silent"]


def test_heartbeats_come_back_after_the_state_database_was_restored(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_heartbeats, "LIFETIME", timedelta(seconds=0.5))
    with State(database_url) as state, state.heartbeats.keep_alive("alive"):
        state.heartbeats.forget("alive")
        until(lambda: _runs_with_heartbeats(database_url) == ["alive"])


def test_a_run_sends_heartbeats_until_the_last_part_of_its_process_has_ended(database_url: str) -> None:
    with State(database_url) as state, state.heartbeats.keep_alive("run"):
        with State(database_url) as inner, inner.heartbeats.keep_alive("run"):
            pass
        assert _runs_with_heartbeats(database_url) == ["run"]
    assert _runs_with_heartbeats(database_url) == []


def test_each_process_of_a_run_counts(database_url: str) -> None:
    step = subprocess.Popen(
        [sys.executable, "-c", BEAT_UNTIL_LINE, database_url, "run"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with step, State(database_url) as state:
        assert step.stdout is not None
        assert step.stdout.readline() == b"begun\n"
        with state.heartbeats.keep_alive("run"):
            subprocess.run([sys.executable, "-c", BEAT_AND_DIE.replace("dead", "run"), database_url], check=False)
            assert (state.heartbeats.living(), state.heartbeats.dead_runs()) == (["run"], [])
        assert (state.heartbeats.living(), state.heartbeats.dead_runs()) == (["run"], []), "the other step reads yet"
        state.heartbeats.expect(["run"])
        step.communicate(b"end\n")
        assert (state.heartbeats.living(), state.heartbeats.dead_runs()) == ([], []), "the run may go on"
        assert _runs_with_heartbeats(database_url) == []


BEAT_UNTIL_LINE = """
import sys
from campaign_sync.storage.state import State
with State(sys.argv[1]) as state, state.heartbeats.keep_alive(sys.argv[2]):
    print("begun", flush=True)
    input()
"""


def _runs_with_heartbeats(database_url: str) -> list[str]:
    with create_engine(database_url).connect() as connection:
        return list(connection.execute(select(run_alive.c.run_id)).scalars())


BEAT_AND_DIE = """
import os, signal, sys
from campaign_sync.storage.state import State
with State(sys.argv[1]) as state, state.heartbeats.keep_alive("dead"):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_begins_while_erased_people_are_removed_waits_for_the_end(database_url: str) -> None:
    waits, has_begun, said = threading.Event(), threading.Event(), list[str]()

    def note(sentence: str) -> None:
        said.append(sentence)
        waits.set()

    def begin() -> None:
        with State(database_url) as other, other.heartbeats.keep_alive("tuesday", note):
            has_begun.set()

    with State(database_url) as state:
        with state.locks.acquire_removal("monday", said.append):
            assert state.heartbeats.living() == [], "what began before would be seen"
            waiting = threading.Thread(target=begin)
            waiting.start()
            assert waits.wait(PATIENCE)
            assert state.heartbeats.living() == ["tuesday"], "else it would be taken for dead"
            assert not has_begun.is_set()
        assert has_begun.wait(PATIENCE)
        waiting.join()
        assert state.heartbeats.living() == []
    assert said == ["waiting until run monday has removed erased people from the files"]
