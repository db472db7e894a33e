"""Parquet as exports write it: types, chunks, and files that are cut off."""

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from campaign_sync.crm.files.parquet_table import ParquetTable
from campaign_sync.crm.files.table_file import CHUNK_ROWS
from campaign_sync.crm.port import CrmError


def write(folder: Path, table: pa.Table) -> Path:
    pq.write_table(table, folder / "contact.parquet")
    return folder / "contact.parquet"


def rows(path: Path, keys: tuple[int, ...] = ()) -> list[list[object]]:
    table = ParquetTable(path, "contact.parquet")
    return [list(row) for chunk in table.chunks(keys) for row in chunk]


def test_values_keep_their_types_and_empty_text_is_missing(tmp_path: Path) -> None:
    moment = datetime(2026, 3, 1, 12, 0, 0, 500_000, tzinfo=UTC)
    table = pa.table(
        {
            "id": pa.array([4711, None]),
            "email": pa.array(["Anna@Example.org", ""]),
            "Ort": pa.array(["Köln 💌", None]).dictionary_encode(),
            "active": pa.array([True, False]),
            "rate": pa.array([Decimal("1.50"), None]),
            "born": pa.array([date(1999, 1, 1), None]),
            "changed_at": pa.array([moment, None], pa.timestamp("ns", "UTC")),
        }
    )
    path = write(tmp_path, table)
    assert ParquetTable(path, "contact.parquet").columns[:3] == ("id", "email", "Ort")
    assert rows(path) == [
        [4711, "Anna@Example.org", "Köln 💌", True, Decimal("1.50"), date(1999, 1, 1), moment],
        [None, None, None, False, None, None, None],
    ]


def test_text_that_isnt_utf8_affects_only_itself_unless_it_is_a_key(tmp_path: Path) -> None:
    bad = pa.array([b"M\xfcller", b"Ben", None], pa.binary())
    names = pa.StringArray.from_buffers(3, *bad.buffers()[1:], bad.buffers()[0])
    path = write(tmp_path, pa.table({"id": pa.array(["K1", "K2", "K3"]), "first_name": names}))
    assert rows(path, (0,)) == [["K1", b"M\xfcller"], ["K2", "Ben"], ["K3", None]]
    with pytest.raises(CrmError, match=r"contact\.parquet has a key that isn't UTF-8"):
        rows(path, (1,))


def test_all_rows_come_in_chunks(tmp_path: Path) -> None:
    count = 2 * CHUNK_ROWS + 1
    path = write(tmp_path, pa.table({"id": pa.array(range(count))}))
    assert [row[0] for row in rows(path)] == list(range(count))


@pytest.mark.parametrize("keep", [0, 3, -1, -100])
def test_a_file_that_is_cut_off_is_refused(tmp_path: Path, keep: int) -> None:
    path = write(tmp_path, pa.table({"id": pa.array(range(1000))}))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CrmError, match=r"contact\.parquet isn't Parquet, or is cut off or damaged"):
        rows(path)


def test_damage_in_the_middle_is_refused_or_changes_nothing_that_has_a_digest(tmp_path: Path) -> None:
    path = write(tmp_path, pa.table({"id": pa.array([f"K{number}" for number in range(1000)])}))
    content = bytearray(path.read_bytes())
    content[8:40] = b"\xff" * 32
    path.write_bytes(content)
    with pytest.raises(CrmError, match="cut off or damaged"):
        rows(path)
