"""The file storage: files are written once, and read as they were written or not at all."""

import hashlib
import json
import os
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from campaign_sync.domain.windows import Window
from campaign_sync.orchestration.io_manager import FrameHandover, ParquetIOManager
from campaign_sync.storage.files import FileStorage, FileStorageError
from campaign_sync.storage.private_files import open_to_others, private_opener

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
WINDOW = Window(NOON, NOON + timedelta(hours=1))
CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(rows=st.lists(st.lists(CELLS, min_size=1, max_size=4), max_size=5))
def test_feedback_is_read_back_as_it_was_received(tmp_path: Path, rows: list[list[str]]) -> None:
    frames = FileStorage(str(tmp_path))

    assert list(frames.read_rows(*frames.write_rows("feedback", WINDOW, rows, {}))) == rows


def test_feedback_is_plain_csv_with_a_header(tmp_path: Path) -> None:
    name, _ = FileStorage(str(tmp_path)).write_rows(
        "feedback/nord", WINDOW, [["ä@example.org", None], ["b", '1"2', "x"]], {}
    )

    text = 'column_0,column_1,column_2\r\nä@example.org,\r\nb,"1""2",x\r\n'
    assert (tmp_path / name).read_bytes() == text.encode()


@pytest.mark.parametrize(
    ("rows", "names", "header"),
    [([], [], "column_0"), ([], ["recipient", "time"], "recipient,time"), ([["a", "1", "x"]], ["recipient", None],
     "recipient,column_1,column_2")],
)  # fmt: skip
def test_a_file_always_has_a_header_with_the_known_names(
    tmp_path: Path, rows: list[list[str]], names: list[str | None], header: str
) -> None:
    file = FileStorage(str(tmp_path)).write_rows("feedback", WINDOW, rows, {}, names)
    assert (tmp_path / file[0]).read_text().splitlines()[0] == header
    assert list(FileStorage(str(tmp_path)).read_rows(*file)) == rows


def test_feedback_has_a_manifest_and_a_unique_name(tmp_path: Path) -> None:
    frames = FileStorage(str(tmp_path))
    about = {"mandator": "nord", "reader": "getUnsubscribes"}

    name, digest = frames.write_rows("feedback/nord", WINDOW, [["ä@example.org"]], about)
    other, _ = frames.write_rows("feedback/nord", WINDOW, [["ä@example.org"]], about)

    assert name == f"feedback/nord/20261123T120000Z-20261123T130000Z-{digest[:12]}.csv"
    assert other != name, "else who guesses a row could check it with the name"
    manifest = json.loads((tmp_path / name).with_suffix(".json").read_text())
    assert manifest == about | {
        "since": WINDOW.since.isoformat(),
        "until": WINDOW.until.isoformat(),
        "rows": 1,
        "columns": 1,
        "salt": manifest["salt"],
        "sha256": digest,
    }
    assert hashlib.sha256(manifest["salt"].encode() + (tmp_path / name).read_bytes()).hexdigest() == digest
    (tmp_path / name).with_suffix(".json").unlink()
    assert not frames.is_intact(name, digest)


def test_a_file_is_removed_with_its_manifest_and_removing_it_again_is_no_error(tmp_path: Path) -> None:
    frames = FileStorage(str(tmp_path))
    file = frames.write_rows("feedback/nord", WINDOW, [["a"]], {})
    assert frames.is_intact(*file)

    for _ in range(2):
        frames.remove_rows(file[0])

    assert not frames.is_intact(*file)
    assert list((tmp_path / "feedback" / "nord").iterdir()) == []


def test_two_files_of_one_moment_have_different_names(tmp_path: Path) -> None:
    frames = FileStorage(str(tmp_path))
    frame = pd.DataFrame({"a": ["ä", None]}, dtype="str")

    first, second = (frames.write_frame("snapshots", NOON, frame) for _ in range(2))

    assert first[0] != second[0]
    assert first[1] != second[1], "else who guesses a row could check it with the digest"
    pd.testing.assert_frame_equal(frames.read_frame(*first), frame)


@pytest.mark.parametrize("spoil", [lambda path: path.unlink(), lambda path: path.write_bytes(path.read_bytes()[:-1])])
def test_a_missing_or_truncated_file_is_named(tmp_path: Path, spoil: object) -> None:
    frames = FileStorage(str(tmp_path))
    name, digest = frames.write_frame("snapshots", NOON, pd.DataFrame({"a": ["b"]}))
    spoil(tmp_path / name)  # type: ignore[operator]

    with pytest.raises(FileStorageError, match="materialize its asset again"):
        frames.read_frame(name, digest)


def test_the_file_storage_may_be_any_store_with_a_url() -> None:
    frames = FileStorage("memory://campaign_sync_frames")
    frame = pd.DataFrame({"a": ["ä", "b"]}, dtype="str")

    pd.testing.assert_frame_equal(frames.read_frame(*frames.write_frame("snapshots", NOON, frame)), frame)


def test_a_partition_grows_by_files(tmp_path: Path) -> None:
    frames = FileStorage(str(tmp_path))
    folder = "responses/nord/opens/day=2026-11-23"
    assert frames.read_partition(folder, ["recipient"]) is None

    first, second = (pd.DataFrame({"recipient": [name], "note": ["ü"]}) for name in ("anna", "ben"))
    name = frames.add_to_partition(folder, WINDOW, first)
    assert frames.add_to_partition(folder, WINDOW, second) != name
    assert name.startswith(f"{folder}/20261123T120000Z-20261123T130000Z-")

    (tmp_path / folder / ".half.parquet.part").write_bytes(b"PAR1")
    partition = frames.read_partition(folder, ["recipient"])
    assert partition is not None
    assert (sorted(partition["recipient"]), list(partition.columns)) == (["anna", "ben"], ["recipient"])
    assert pd.read_parquet(tmp_path / "responses" / "nord" / "opens")["day"].tolist() == ["2026-11-23"] * 2


def test_a_broken_file_of_a_partition_is_named_with_the_remedy(tmp_path: Path) -> None:
    frames = FileStorage(str(tmp_path))
    name = frames.add_to_partition("day=2026-11-23", WINDOW, pd.DataFrame({"recipient": ["anna"]}))
    (tmp_path / name).write_bytes(b"no Parquet")

    with pytest.raises(FileStorageError, match=r"day=2026-11-23.* can't be read") as caught:
        frames.read_partition("day=2026-11-23", ["recipient"])
    assert "anna" not in str(caught.value)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_files_with_people_in_an_existing_folder_are_for_their_owner_alone(tmp_path: Path, umask: int) -> None:
    base = tmp_path / "frames"
    base.mkdir(mode=0o755)
    old = os.umask(umask)
    try:
        frames = FileStorage(str(base))
        frames.write_frame("snapshots/nord", NOON, pd.DataFrame({"email": ["a@example.org"]}))
        frames.write_rows("feedback/nord", WINDOW, [["a@example.org"]], {})
        frames.add_to_partition("responses/nord/day", WINDOW, pd.DataFrame({"email": ["a@example.org"]}))
        context = dg.build_output_context(asset_key=dg.AssetKey(["nord", "selection"]))
        ParquetIOManager(str(base)).handle_output(context, FrameHandover(pd.DataFrame({"email": ["a@example.org"]})))
        page = Path(frames.write_page("reports/nord/latest.de.html", "numbers"))
    finally:
        os.umask(old)

    people = [path for path in base.rglob("*") if "reports" not in path.parts]
    assert len([path for path in people if path.is_file()]) == 5
    assert [path for path in people if path.stat().st_mode & 0o077] == []
    assert (stat.S_IMODE(page.stat().st_mode), stat.S_IMODE(page.parent.stat().st_mode)) == (0o644, 0o755)
    assert open_to_others(base, public=["reports"]) == []
    people[0].chmod(0o750)
    assert open_to_others(base, public=["reports"]) == [str(people[0])]
    assert open_to_others(tmp_path / "missing") == []


def test_an_existing_file_is_closed_to_others_before_people_are_written_into_it(tmp_path: Path) -> None:
    file = tmp_path / "who.csv"
    file.write_text("readable")
    file.chmod(0o644)
    with open(file, "w", opener=private_opener) as stream:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        stream.write("a@example.org")
