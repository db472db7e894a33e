"""The index of who was sent what: whatever happens to it, consents are those that the snapshots show."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from uuid import uuid4

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from campaign_sync.domain.entity import Entity, EntityType
from campaign_sync.domain.feedback import ConsentRef, RawRow, Unsubscribe
from campaign_sync.feedback.attribution import ATTRIBUTION_PERIOD, TOLERANCE, attribute_to_consents
from campaign_sync.storage.expired_files import SENT_PEOPLE, remove_snapshots
from campaign_sync.storage.files import FileStorage
from campaign_sync.storage.replacements import Replacement, ReplacementState
from campaign_sync.storage.state import State

START = datetime(2026, 1, 1, tzinfo=UTC)
PEOPLE = [f"{name}@example.org" for name in ("anna", "ben", "cem", "dörte", "eva")]
LISTS = (11, 12)


@dataclass
class Sent:
    """A list as it was sent, and what became of its file."""

    list_id: int
    at: datetime
    members: dict[str, ConsentRef]
    file: Path
    lost: bool = False


class World:
    """A mandator whose lists are sent, as time goes by."""

    def __init__(self, state: State, folder: Path, mandator: str) -> None:
        self.state, self.folder, self.mandator = state, folder, mandator
        self.frames = FileStorage(str(folder))
        self.sent: list[Sent] = []

    @property
    def indexes(self) -> list[Path]:
        return sorted((self.folder / SENT_PEOPLE / self.mandator).rglob("*.parquet"))

    def send(self, list_id: int, at: datetime, people: set[str]) -> None:
        members = {
            person: ConsentRef(Entity(EntityType.CONTACT, str(PEOPLE.index(person))), f"{list_id} {len(self.sent)}")
            for person in sorted(people)
        }
        columns = ["recipient_id", "entity_type", "entity_id", "opt_in_id"]
        rows = [(person, *consent.entity, consent.opt_in_id) for person, consent in members.items()]
        frame = pd.DataFrame(rows, columns=columns, dtype="str")
        name, digest = self.frames.write_frame(f"snapshots/{self.mandator}/{list_id}", at, frame)
        stored = self.state.snapshots.add(self.mandator, str(list_id), 1, (name, digest), "run", at)
        proven, token = ReplacementState.PROVEN, str(uuid4())
        entry = Replacement(self.mandator, str(list_id), list_id, "run", stored.id, proven, at, token)
        self.state.replacements.start(replace(entry, cleared_at=at))
        self.sent.append(Sent(list_id, at, members, self.folder / name))

    def attributed(
        self, asked: list[tuple[str, datetime]], list_ids: frozenset[int] | None
    ) -> list[frozenset[ConsentRef]]:
        unsubscribes = [
            Unsubscribe(person, at, self.mandator, "optimizely:unsubscribes", raw=RawRow("import", row))
            for row, (person, at) in enumerate(asked)
        ]
        attributed = attribute_to_consents(unsubscribes, self.state, self.frames, lambda _: list_ids)
        return [unsubscribe.consents for unsubscribe in attributed]

    def expected(
        self, person: str, at: datetime, list_ids: frozenset[int] | None
    ) -> tuple[frozenset[ConsentRef], bool]:
        """Return the consents as the snapshots show them, and whether one that may matter is lost."""
        newest: dict[int, ConsentRef] = {}
        lost = False
        for sent in sorted(self.sent, key=lambda sent: sent.at):
            in_time = at - ATTRIBUTION_PERIOD <= sent.at <= at + TOLERANCE
            if in_time and (list_ids is None or sent.list_id in list_ids):
                lost |= sent.lost
                if person in sent.members:
                    newest[sent.list_id] = sent.members[person]
        return frozenset(newest.values()), lost


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[State]:
    with State(f"sqlite:///{tmp_path_factory.mktemp('state')}/state.db") as state:
        yield state


MANDATORS = count()

QUARTERS = st.integers(0, 200 * 96).map(lambda quarter: START + timedelta(minutes=15) * quarter)
STEPS = st.one_of(
    st.tuples(st.just("send"), st.sampled_from(LISTS), QUARTERS, st.sets(st.sampled_from(PEOPLE))),
    st.tuples(st.sampled_from(("forget", "damage", "lose"))),
    st.tuples(
        st.just("ask"),
        st.lists(st.tuples(st.sampled_from(PEOPLE), QUARTERS), min_size=1, max_size=6),
        st.sampled_from((None, frozenset({11}), frozenset({12, 13}), frozenset[int]())),
    ),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEPS, min_size=3, max_size=14), chosen=st.integers(0, 100))
def test_the_consents_are_those_that_the_snapshots_show_whatever_becomes_of_the_index(
    state: State, tmp_path: Path, steps: list[tuple[object, ...]], chosen: int
) -> None:
    world = World(state, tmp_path, f"m{next(MANDATORS)}")
    moments = sorted(step[2] for step in steps if step[0] == "send" and isinstance(step[2], datetime))
    for step in [*steps, ("ask", [(person, at) for at in [*moments, START] for person in PEOPLE], None)]:
        match step:
            case ("send", int(list_id), datetime() as at, set(people)):
                if all(sent.at != at for sent in world.sent):
                    world.send(list_id, at, people)
            case ("forget",):
                shutil.rmtree(world.folder / SENT_PEOPLE, ignore_errors=True)
            case ("damage",):
                for file in world.indexes:
                    content = bytearray(file.read_bytes())
                    content[chosen * len(content) // 101] ^= 1
                    file.write_bytes(content)
            case ("lose",) if world.sent:
                lost = world.sent[chosen % len(world.sent)]
                lost.file.unlink(missing_ok=True)
                lost.lost = True
            case ("ask", list(asked), list_ids):
                assert list_ids is None or isinstance(list_ids, frozenset)
                for (person, at), consents in zip(asked, world.attributed(asked, list_ids), strict=True):
                    expected, lost_one = world.expected(person, at, list_ids)
                    assert consents == expected or (lost_one and not consents)


def test_an_index_has_no_addresses_and_another_key_makes_it_anew(state: State, tmp_path: Path) -> None:
    world = World(state, tmp_path, "keys")
    world.send(11, START, set(PEOPLE))
    (consents,) = world.attributed([(PEOPLE[0], START)], None)
    (index,) = world.indexes
    assert b"example" not in index.read_bytes()
    with State(f"sqlite:///{tmp_path}/other.db") as other:
        world.state = other
        world.send(11, START, set(PEOPLE[1:]))
        world.sent.pop(0)
        assert world.attributed([(PEOPLE[0], START)], None) == [frozenset()]
        (remade,) = world.indexes
        assert remade.name != index.name
        assert consents


def test_who_was_sent_nothing_for_long_leaves_the_index_which_goes_with_the_snapshots(
    state: State, tmp_path: Path
) -> None:
    world = World(state, tmp_path, "old")
    world.send(11, START, set(PEOPLE))
    world.attributed([(PEOPLE[0], START)], None)
    later = START + timedelta(days=200)
    world.send(11, later, {PEOPLE[1]})
    world.attributed([(PEOPLE[1], later)], None)
    (index,) = world.indexes
    assert len(pd.read_parquet(index)) == 1
    remove_snapshots(world.frames, state, "old", ["11"], later)
    assert world.indexes == [index]
    remove_snapshots(world.frames, state, "old", ["11"], later + timedelta(days=1))
    assert not world.indexes


def test_an_index_that_cant_be_written_stops_no_attribution(state: State, tmp_path: Path) -> None:
    world = World(state, tmp_path, "unwritable")
    world.send(11, START, set(PEOPLE))
    (tmp_path / SENT_PEOPLE).write_text("a file in the place of the folder")
    assert world.attributed([(PEOPLE[0], START)], None) == [frozenset({world.sent[0].members[PEOPLE[0]]})]
