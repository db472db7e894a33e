"""Erasures in the state database and in the file storage: neither forgets one that the other knows."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from campaign_sync.domain.erasure import Erasure, ErasureKey
from campaign_sync.storage.errors import ErasureKeyError
from campaign_sync.storage.files import FileStorage, FileStorageError
from campaign_sync.storage.state import State

SECRET, ANOTHER = "an invented key of thirty-two characters", "another invented key, as long as that one"
NOON = datetime(2026, 11, 27, 12, 0, 0, 7, tzinfo=UTC)


def erasure(number: int, secret: str = SECRET) -> Erasure:
    key = ErasureKey(secret)
    subjects = key.subjects([f"anna{number}@example.org"], [f"contact:{number}"])
    return Erasure(f"id-{number}", NOON + timedelta(days=number), "officer", "by letter", key.probe, subjects)


@pytest.fixture
def frames(tmp_path: Path) -> FileStorage:
    return FileStorage(str(tmp_path / "frames"))


@pytest.fixture
def state(database_url: str, frames: FileStorage) -> Iterator[State]:
    with State(database_url, erasure_key=lambda: SECRET, files=frames) as opened:
        yield opened


def test_an_erasure_is_known_to_both_without_personal_data(state: State, frames: FileStorage, tmp_path: Path) -> None:
    assert not state.erasures.erased()
    state.erasures.record(erasure(1))
    state.erasures.record(erasure(2))
    assert state.erasures.everything() == state.erasures.pending() == [erasure(1), erasure(2)]
    assert state.erasures.erased().at(address="anna2@example.org") == NOON + timedelta(days=2)
    state.erasures.mark_done("id-1", NOON)
    state.erasures.record(erasure(1))  # by a repeated command, it stays as it is
    assert [recorded.done_at for recorded in state.erasures.all()] == [NOON, None]
    (file, _) = sorted((tmp_path / "frames" / "erasures").iterdir())
    content = file.read_text()
    assert not [word for word in ("anna", "contact", SECRET) if word in content]
    assert file.stat().st_mode & 0o077 == 0


def test_what_only_one_of_them_knows_is_suppressed_at_once_and_pending_again(
    state: State, frames: FileStorage, database_url: str, tmp_path: Path
) -> None:
    for number in (1, 2, 3):
        state.erasures.record(erasure(number))
        state.erasures.mark_done(f"id-{number}", NOON)
    folder = tmp_path / "frames" / "erasures"
    (folder / "id-2.json").unlink()  # the files were restored
    with State(f"sqlite:///{tmp_path / 'restored.db'}", erasure_key=lambda: SECRET, files=frames) as restored:
        assert restored.erasures.erased().at(record="contact:3") == NOON + timedelta(days=3)
        assert restored.erasures.all() == []  # to ask changes nothing
        restored.erasures.synchronize()
        restored.erasures.synchronize()
        assert restored.erasures.pending() == [erasure(1), erasure(3)]
    state.erasures.synchronize()
    assert state.erasures.pending() == [erasure(2)]
    state.erasures.mark_done("id-2", NOON)
    state.erasures.synchronize()
    assert state.erasures.pending() == []
    assert sorted(file.name for file in folder.iterdir()) == ["id-1.json", "id-2.json", "id-3.json"]
    for damage in (b"", b"{}", (folder / "id-1.json").read_bytes()):
        (folder / "id-4.json").write_bytes(damage)
        with pytest.raises(FileStorageError, match=r"erasures/id-4\.json in storage\.frames isn't an erasure"):
            state.erasures.erased()


def test_the_copies_know_erasures_after_a_restore_of_both(
    database_url: str, frames: FileStorage, tmp_path: Path
) -> None:
    copies = FileStorage(str(tmp_path / "elsewhere"))
    with State(database_url, erasure_key=lambda: SECRET, files=frames, erasure_copies=copies) as state:
        state.erasures.record(erasure(1))
        state.erasures.mark_done("id-1", NOON)
    older, files = f"sqlite:///{tmp_path / 'restored.db'}", FileStorage(str(tmp_path / "restored"))
    with State(older, erasure_key=lambda: SECRET, files=files, erasure_copies=copies) as restored:
        assert restored.erasures.erased().at(address="anna1@example.org") == NOON + timedelta(days=1)
        restored.erasures.synchronize()
        assert restored.erasures.pending() == [erasure(1)]
        restored.erasures.mark_done("id-1", NOON)
        (tmp_path / "elsewhere" / "erasures" / "id-1.json").unlink()
        restored.erasures.synchronize()
        assert restored.erasures.pending() == [], "the copies hold no people"
    assert files.documents("erasures") == copies.documents("erasures") == ["erasures/id-1.json"]


def test_without_its_key_no_person_counts_as_not_erased(state: State, frames: FileStorage, database_url: str) -> None:
    with State(database_url, files=frames) as without:
        assert without.erasures.key_problem() is None
        assert not without.erasures.erased()
        with pytest.raises(ErasureKeyError, match=r"isn't set, and an erasure needs it; make one .* \{env: NAME\}"):
            without.erasures.key()
        state.erasures.record(erasure(1))
        assert str(without.erasures.key_problem()).startswith("erasure.key isn't set, and without it erased people")
        for unusable in (without.erasures.erased, without.erasures.key):
            with pytest.raises(ErasureKeyError, match="set it to the key that the erasures were made with"):
                unusable()
    for secret, problem in [
        (ANOTHER, "another one than that of the erasure of 2026-11-28"),
        ("short", "fewer than 32 characters"),
    ]:
        with (
            State(database_url, erasure_key=partial(str, secret), files=frames) as opened,
            pytest.raises(ErasureKeyError, match=problem),
        ):
            opened.erasures.erased()
