"""The state of all lists at one moment: as the rules for a single list say, and in a fixed number of statements."""

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, delete, event

from campaign_sync.domain.incident import DetectedIncidents, Incident, IncidentKind, Subject
from campaign_sync.domain.list_drift import ListDrift
from campaign_sync.storage.database import reading
from campaign_sync.storage.recipient_lists import PartialFill
from campaign_sync.storage.replacements import Replacement, ReplacementState
from campaign_sync.storage.state import State
from campaign_sync.storage.tables import feedback_import, replace

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)

LISTS = st.sampled_from([("nord", "newsletter"), ("nord", "products"), ("sued", "newsletter"), ("süd", "“ÄÖ”")])
VENDOR_IDS = st.integers(11, 13)

ATTEMPTS = st.lists(
    st.tuples(LISTS, VENDOR_IDS, st.sampled_from(ReplacementState), st.booleans()), min_size=0, max_size=12
)
"""List, vendor's list, state, whether the list was changed before it failed."""


def history(attempts: Sequence[tuple[tuple[str, str], int, ReplacementState, bool]]) -> list[Replacement]:
    """Return replacements that began one after the other, as the product records them."""
    entries = []
    for number, ((mandator, name), vendor_id, state, changed) in enumerate(attempts):
        at = NOON + number * MINUTE
        untouched = state is ReplacementState.ADMITTED or (state is ReplacementState.FAILED and not changed)
        entries.append(
            Replacement(
                mandator=mandator,
                list=name,
                recipient_list_id=vendor_id,
                run_id=f"run-{number}",
                snapshot_id="snapshot",
                state=state,
                started_at=at,
                id=f"{number}",
                cleared_at=None if untouched else at,
                finished_at=at + MINUTE / 2 if state.has_ended else None,
            )
        )
    return entries


class Oracle:
    """The rules for a single list at the vendor, over its whole history under a name."""

    def __init__(self, entries: Sequence[Replacement], *key: str | int) -> None:
        self.all = entries
        self.entries = [entry for entry in entries if (entry.mandator, entry.list, entry.recipient_list_id) == key]

    def proven(self) -> Replacement | None:
        return next((entry for entry in self.entries[::-1] if entry.state is ReplacementState.PROVEN), None)

    def incomplete(self) -> Replacement | None:
        newest = next((entry for entry in self.entries[::-1] if entry.cleared_at is not None), None)
        is_complete = newest is None or newest.state in (ReplacementState.PROVEN, ReplacementState.ABANDONED)
        return None if is_complete else newest

    def ended(self) -> Replacement | None:
        return next((entry for entry in self.entries[::-1] if entry.finished_at is not None), None)

    def later(self) -> list[Replacement]:
        settled = [
            entry.started_at
            for entry in self.entries
            if entry.state in (ReplacementState.PROVEN, ReplacementState.ABANDONED)
        ]
        return [entry for entry in self.entries if not settled or entry.started_at > max(settled)]

    def proven_elsewhere(self) -> bool:
        unfinished = self.incomplete()
        return unfinished is not None and any(
            entry.recipient_list_id == unfinished.recipient_list_id
            and entry.state is ReplacementState.PROVEN
            and entry.started_at > unfinished.started_at
            for entry in self.all
        )


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[State]:
    with State(f"sqlite:///{tmp_path_factory.mktemp('state') / 'state.db'}") as opened:
        yield opened


def check_against_the_rules(state: State, entries: Sequence[Replacement]) -> None:
    with state._engine.begin() as connection:
        connection.execute(delete(replace))
    for entry in entries:
        state.replacements.start(entry)
    view = state.view()
    assert view.lists.keys() == {(entry.mandator, entry.list, entry.recipient_list_id) for entry in entries}
    for key, of_list in view.lists.items():
        rule = Oracle(entries, *key)
        assert of_list == view.of_list(*key)
        assert of_list.proven == rule.proven() == state.replacements.last_proven(*key)
        assert of_list.incomplete == rule.incomplete() == state.replacements.incomplete(*key)
        assert of_list.ended == rule.ended()
        assert of_list.attempts == sum(entry.cleared_at is not None for entry in rule.later())
        assert of_list.failures == sum(entry.state is ReplacementState.FAILED for entry in rule.later())
        assert of_list.proven_elsewhere == rule.proven_elsewhere()
    for mandator in {entry.mandator for entry in entries}:
        rules = [Oracle(entries, *key) for key in view.lists if key[0] == mandator]
        left = [rule.incomplete() for rule in rules if rule.incomplete() and not rule.proven_elsewhere()]
        assert view.left_incomplete(mandator) == sorted(left, key=lambda entry: entry.started_at if entry else NOON)


@given(attempts=ATTEMPTS)
def test_the_view_of_all_lists_is_what_the_rules_for_a_single_list_say(
    state: State, attempts: Sequence[tuple[tuple[str, str], int, ReplacementState, bool]]
) -> None:
    check_against_the_rules(state, history(attempts))


def test_the_view_is_the_same_on_postgresql(postgres_url: str) -> None:
    states = list(itertools.product(ReplacementState, (True, False)))
    with State(postgres_url) as state:
        for shift in range(3):
            attempts = [
                ((mandator, name), 11 + (number + shift) % 3, *states[(number * 5 + shift) % len(states)])
                for number, (mandator, name) in enumerate(
                    [("nord", "newsletter"), ("nord", "products"), ("sued", "newsletter"), ("süd", "“ÄÖ”")] * 4
                )
            ]
            check_against_the_rules(state, history(attempts))


def test_a_list_that_finishes_while_the_state_is_read_is_shown_as_it_was_at_one_moment(database_url: str) -> None:
    (unfinished,) = history([(("nord", "newsletter"), 11, ReplacementState.FILLING, True)])
    with State(database_url) as state, State(database_url) as run:
        state.replacements.start(unfinished)
        with reading(state._engine) as connection:
            before = connection.execute(replace.select()).one()
            run.replacements.mark_proven(unfinished.id, NOON)
            assert connection.execute(replace.select()).one() == before
        assert state.view().of_list("nord", "newsletter").proven_at == NOON


def test_a_process_that_ends_in_order_while_the_state_is_read_does_not_count_as_dead(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (unfinished,) = history([(("nord", "newsletter"), 11, ReplacementState.FILLING, True)])
    with State(database_url) as state, state.locks.acquire(11, "alive"):
        state.replacements.start(unfinished)
        expired = state.locks.expired()
        monkeypatch.setattr("campaign_sync.storage.expiry.is_dead", lambda *_: True)
        monkeypatch.setattr(state.locks, "expired", lambda: expired)
        view = state.view()
        assert (view.locks.living, view.locks.dead) == ({11: "alive"}, {})
        monkeypatch.undo()
        monkeypatch.setattr("campaign_sync.storage.expiry.is_dead", lambda *_: True)
        view = state.view()
        assert (view.locks.living, view.locks.dead) == ({}, {11: "alive"})


@contextmanager
def counted(engine: Engine) -> Iterator[list[str]]:
    """Yield the statements that are executed meanwhile."""
    statements: list[str] = []

    def note(*arguments: object) -> None:
        statements.append(str(arguments[2]))

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(engine, "before_cursor_execute", note)


def a_world(state: State, mandators: int, lists: int) -> None:
    """Fill the state database as after a day on which a list of each mandator was left incomplete."""
    keys = [(f"m{mandator}", f"list{number}") for mandator in range(mandators) for number in range(lists)]
    (at,) = history([(("", ""), 11, ReplacementState.PROVEN, True)])
    rows = []
    for number, (mandator, name) in enumerate(keys):
        rows.append(vars(at) | {"id": f"{number}", "mandator": mandator, "list": name, "recipient_list_id": number})
        if name == "list0":
            failed = {"id": f"{number}-failed", "state": ReplacementState.FAILED, "started_at": NOON + MINUTE}
            rows.append(rows[-1] | failed)
    imports = [
        {
            "id": f"{mandator}",
            "mandator": f"m{mandator}",
            "kind": "bounces",
            "reader": "getOutBounces",
            "since": NOON,
            "until": NOON,
            "rows": 0,
            "file": "",
            "digest": "",
            "run_id": "run",
            "imported_at": NOON,
            "committed_at": NOON,
            "fresh_until": NOON,
        }
        for mandator in range(mandators)
    ]
    with state._engine.begin() as connection:
        connection.execute(replace.insert(), rows)
        connection.execute(feedback_import.insert(), imports)
    for number in range(mandators):
        state.snapshots.add(f"m{number}", "list0", 5, ("file", "digest"), "run", NOON)
    for mandator, name in (keys[0], keys[-1]):
        state.list_drifts.record(ListDrift(mandator, name, "0", NOON, 5))
        state.recipient_lists.record_partial_fill(PartialFill(mandator, name, 1, 2, NOON))
        subject = Subject.of_list(name)
        incidents = [Incident(mandator, subject, IncidentKind.LATE, NOON, "w", "r", "p")]
        state.incidents.reconcile({mandator: DetectedIncidents(incidents, [])}, NOON)


def what_ticks_read_and_record(state: State, mandators: int, lists: int) -> None:
    """Read and write all that the sensors do in a tick on which nothing is new."""
    of_mandator = SimpleNamespace(
        recipient_list_ids={f"list{number}": number for number in range(lists)},
        feedback=SimpleNamespace(readers=["getOutBounces"]),
    )
    configuration: Any = SimpleNamespace(mandators={f"m{number}": of_mandator for number in range(mandators)})
    view = state.view()
    assert len(view.lists) == mandators * lists
    assert len(view.watermarks) == len(state.feedback_imports.imported_mandators()) == mandators
    assert len(state.snapshots.newest()) == mandators
    state.gauges.all(configuration, NOON)
    known = {mandator: view.open_incidents(mandator) for mandator in configuration.mandators}
    detected = {mandator: DetectedIncidents(list(known[mandator].values()), []) for mandator in known}
    assert state.incidents.reconcile(detected, NOON) == known
    assert state.incidents.unsent(NOON).of("m0", "log")


def test_the_number_of_statements_does_not_depend_on_the_number_of_lists(database_url: str, tmp_path: Path) -> None:
    numbers = []
    urls = (f"sqlite:///{tmp_path / 'small.db'}", database_url)
    for url, (mandators, lists) in zip(urls, ((1, 2), (12, 20)), strict=True):
        with State(url) as state:
            a_world(state, mandators, lists)
            what_ticks_read_and_record(state, mandators, lists)
            with counted(state._engine) as statements:
                what_ticks_read_and_record(state, mandators, lists)
            numbers.append(len([text for text in statements if "clock_timestamp" not in text and text != "BEGIN"]))
    assert numbers[0] == numbers[1] < 40
