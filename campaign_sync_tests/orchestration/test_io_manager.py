"""Frames between assets."""

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

from campaign_sync.domain.parquet_rows import ParquetRows
from campaign_sync.orchestration.io_manager import FRAME, FrameHandover, ParquetIOManager

PEOPLE = {"recipient": ["anna", "ben"]}


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as instance:
        yield instance


def test_a_run_writes_a_frame_unchanged_and_keeps_none_in_memory(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    returned = list[weakref.ref[pd.DataFrame]]()

    @dg.asset(io_manager_key="parquet", dagster_type=FRAME)
    def selection() -> FrameHandover:
        frame = pd.DataFrame(PEOPLE)
        returned.append(weakref.ref(frame))
        return FrameHandover(frame)

    @dg.asset(ins={"selection": dg.AssetIn(input_manager_key="parquet")}, deps=[selection])
    def snapshot(selection: ParquetRows) -> list[str]:
        gc.collect()
        assert [reference() for reference in returned] == [None]
        return list(selection["recipient"])

    @dg.asset(ins={"selection": dg.AssetIn(input_manager_key="parquet")})
    def of_others(selection: pd.DataFrame) -> list[str]:
        return list(selection["recipient"])

    resources = {"parquet": ParquetIOManager(str(tmp_path)), "io_manager": dg.mem_io_manager}
    result = dg.materialize([selection, snapshot, of_others], resources=resources, instance=instance)
    assert result.success
    assert result.output_for_node("snapshot") == result.output_for_node("of_others") == PEOPLE["recipient"]


def test_a_frame_is_handed_over_once_and_left_as_it_is(tmp_path: Path) -> None:
    frame, context = pd.DataFrame(PEOPLE), dg.build_output_context(asset_key=dg.AssetKey("selection"))
    handover = FrameHandover(frame)
    ParquetIOManager(str(tmp_path)).handle_output(context, handover)
    assert frame.to_dict("list") == PEOPLE
    with pytest.raises(ValueError, match="taken before"):
        handover.take()


def test_only_what_is_handed_over_is_written(tmp_path: Path) -> None:
    context = dg.build_output_context(asset_key=dg.AssetKey("selection"))
    with pytest.raises(TypeError, match="not DataFrame"):
        ParquetIOManager(str(tmp_path)).handle_output(context, pd.DataFrame(PEOPLE))
    assert not (tmp_path / "assets").exists()
