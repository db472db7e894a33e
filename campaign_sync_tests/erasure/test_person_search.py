"""The search for all that erased people are known by, for several of them at once."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

from campaign_sync.domain.entity import Entity
from campaign_sync.erasure.person_search import FoundPerson, find_people
from campaign_sync.inquiry.person_query import PersonQuery
from campaign_sync.storage.files import FileStorage, FileStorageError
from campaign_sync.storage.state import State
from campaign_sync_tests.crm.small_crm import SmallCrm

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
ANNA, BEA = "anna@example.org", "bea@example.org"


@pytest.fixture
def small(tmp_path: Path) -> SmallCrm:
    return SmallCrm(f"sqlite:///{tmp_path}/crm.db")


@pytest.fixture
def files(tmp_path: Path) -> FileStorage:
    return FileStorage(str(tmp_path / "frames"))


def send(files: FileStorage, *people: tuple[str, str]) -> str:
    """Store a snapshot with these addresses and contacts."""
    columns = ("recipient_id", "address", "entity_type", "entity_id")
    rows = [(address, address, "contact", entity_id) for address, entity_id in people]
    name, _ = files.write_frame("snapshots/nord/news", NOON, pd.DataFrame(rows, columns=columns, dtype="str"))
    return name


def search(small: SmallCrm, files: FileStorage, who: Sequence[str]) -> tuple[list[FoundPerson], list[tuple[int, int]]]:
    """Return the people, and the progress that was shown."""
    shown: list[tuple[int, int]] = []
    queries = [PersonQuery.parse(text) for text in who]
    with State(f"{small.url}.state") as state, small.crm.snapshot() as crm:
        people = find_people(queries, crm, state.people_links, files, lambda *done: shown.append(done))
    return people, shown


def texts(people: Sequence[FoundPerson]) -> list[tuple[set[str], set[str]]]:
    return [(set(person.addresses), set(map(str, person.records))) for person in people]


def test_snapshots_are_read_once_for_all_people(small: SmallCrm, files: FileStorage) -> None:
    small.person("c1", " Anna@Example.org")
    small.person("c2", "bea@example.org")
    send(files, (ANNA, "c1"), ("anna@old.example.org", "c1"), ("cem@example.org", "c3"))
    send(files, (BEA, "c2"), ("cem@example.org", "c3"))

    people, shown = search(small, files, ["ANNA@example.org", "contact:c2"])

    assert texts(people) == [({ANNA, "anna@old.example.org"}, {"contact:c1"}), ({BEA}, {"contact:c2"})]
    assert shown == [(1, 2), (2, 2)]


def test_records_that_the_crm_has_no_more_are_found_with_their_other_addresses(
    small: SmallCrm, files: FileStorage
) -> None:
    send(files, ("anna@old.example.org", "gone"))
    send(files, (ANNA, "gone"))

    (anna, bea), shown = search(small, files, [ANNA, BEA])

    assert texts([anna]) == [({ANNA, "anna@old.example.org"}, {"contact:gone"})]
    assert not bea.is_known
    assert len(shown) == 4  # once by the address, once by the record


def test_what_belongs_to_others_by_now_stays_theirs(small: SmallCrm, files: FileStorage) -> None:
    small.person("c1", ANNA)
    small.person("c2", BEA)  # who had Anna's address before
    small.person("c3", "shared@example.org")
    send(files, (ANNA, "c2"), ("shared@example.org", "c1"))

    (anna,), _ = search(small, files, [ANNA])

    assert texts([anna]) == [({ANNA}, {"contact:c1"})]
    assert (anna.shared, anna.former_holders) == (1, (Entity.from_parts("contact", "c2"),))


def test_a_snapshot_that_cannot_be_read_ends_the_search(small: SmallCrm, files: FileStorage, tmp_path: Path) -> None:
    name = send(files, (ANNA, "c1"))
    (tmp_path / "frames" / name).write_bytes(b"PAR1 damaged")

    with pytest.raises(FileStorageError, match="can't be read"):
        search(small, files, [ANNA])
