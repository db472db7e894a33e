"""The rules by which runs and files may go."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from campaign_sync.domain.retention import PastRun, removable_files, removable_runs

NOW = datetime(2026, 3, 1, tzinfo=UTC)
ids = st.sampled_from("abcdef")
past_runs = st.builds(
    PastRun, ids, ids, st.integers(min_value=-5, max_value=5).map(lambda days: NOW + timedelta(days=days))
)


@given(runs=st.lists(past_runs, unique_by=lambda run: run.run_id), needed=st.sets(ids))
def test_a_run_goes_if_it_is_old_and_no_attempt_of_its_work_is_needed(runs: list[PastRun], needed: set[str]) -> None:
    removed = removable_runs(runs, needed, NOW)

    for run in runs:
        assert (run.run_id in removed) is (run.updated_at < NOW and run.first_attempt not in needed)
    assert removed == [run_id for run_id in removed if run_id]
    ages = {run.run_id: run.updated_at for run in runs}
    assert [ages[run_id] for run_id in removed] == sorted(ages[run_id] for run_id in removed)


@given(moments=st.lists(st.integers(min_value=-3000, max_value=3000).map(lambda hours: NOW + timedelta(hours=hours))))
def test_a_file_goes_by_the_time_in_its_name(moments: list[datetime]) -> None:
    names = [
        f"snapshots/nord/newsletter/{moment:%Y%m%dT%H%M%SZ}-{number}.parquet" for number, moment in enumerate(moments)
    ]

    removed = removable_files(names, names[:1], NOW)

    assert removed == [name for name, moment in zip(names[1:], moments[1:], strict=True) if moment < NOW]


def test_files_whose_names_have_no_time_stay() -> None:
    names = ["a/b.parquet", "a/20200101T0000٠٠Z-1.parquet", "a/20200101-1.parquet", "a/19700101T000000.parquet", ""]

    assert removable_files(names, [], NOW) == []
