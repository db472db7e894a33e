"""The day of a mandator: what became of its lists, and what completes them."""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from campaign_sync.domain.day import (
    Completion,
    CompletionLimits,
    CompletionStage,
    Day,
    DayOutcome,
    DayRun,
    ListProof,
    RunEnd,
    StepFailure,
    assess_day,
    next_completion,
)

NIGHT = datetime(2026, 11, 24, 1, 30, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
LISTS = ("newsletter", "products", "events")
LIMITS = CompletionLimits(
    max_runs=4, max_fruitless=2, interval=5 * MINUTE, latest=NIGHT + 120 * MINUTE, feedback_age=60 * MINUTE
)
IN_PROGRESS, SUCCEEDED, FAILED, CANCELED = RunEnd


def run(
    minute: int,
    end: RunEnd = FAILED,
    *failures: StepFailure,
    lists: Collection[str] = LISTS,
    interrupted: Collection[str] = (),
    completes: bool = False,
    groups: int = 0,
    group: int | None = None,
) -> DayRun:
    at = NIGHT + minute * MINUTE
    ended = None if end is IN_PROGRESS else at + MINUTE
    died_at = frozenset(interrupted)
    return DayRun(f"run {minute}", at, end, frozenset(lists), failures, died_at, ended, completes, groups, group)


def assess(*runs: DayRun, proven: Collection[str] = (), incomplete: Collection[str] = ()) -> Day:
    proofs = {name: ListProof(runs[0].run_id, NIGHT) for name in proven}
    return assess_day(LISTS, runs, proofs, incomplete)


def test_lists_after_the_death_of_a_run_and_of_its_retry_were_not_reached() -> None:
    day = assess(run(0), run(3, interrupted=["products"]), proven=["newsletter"])
    assert list(day.outcomes.values()) == [DayOutcome.PROVEN, DayOutcome.DIED, DayOutcome.NOT_REACHED]
    assert list(day.missing) == ["products", "events"]
    assert next_completion(day, LIMITS, NIGHT + 5 * MINUTE) == Completion(CompletionStage.DUE, ("events",))


def test_a_list_during_which_processes_die_comes_last_and_apart() -> None:
    day = assess(run(0, interrupted=["newsletter"]), proven=["products", "events"])
    assert next_completion(day, LIMITS, NIGHT + 5 * MINUTE).lists == ("newsletter",)


def test_what_a_check_refused_is_not_repeated_also_if_a_retry_died_before_it_came_to_the_list_again() -> None:
    refused = StepFailure("newsletter", may_pass=False)
    assert assess(run(0, FAILED, refused)).outcomes["newsletter"] is DayOutcome.REFUSED
    assert assess(run(0, FAILED, refused), run(3)).outcomes["newsletter"] is DayOutcome.REFUSED
    assert assess(run(0, FAILED, refused), run(3)).outcomes["products"] is DayOutcome.NOT_REACHED
    assert assess(run(0, FAILED, refused), run(3, SUCCEEDED)).missing == {}, "the retry has replaced it"


def test_feedback_that_failed_for_a_reason_that_stays_stops_the_day_and_another_reason_delays_it() -> None:
    stays, passes = StepFailure(None, may_pass=False), StepFailure(None, may_pass=True)
    assert next_completion(assess(run(0, FAILED, stays)), LIMITS, NIGHT + MINUTE).stage is CompletionStage.COMPLETE
    day = assess(run(0, FAILED, passes))
    assert set(day.outcomes.values()) == {DayOutcome.FAILED}
    assert next_completion(day, LIMITS, NIGHT + 2 * MINUTE).stage is CompletionStage.WAITS
    assert next_completion(day, LIMITS, NIGHT + 6 * MINUTE) == Completion(CompletionStage.DUE, LISTS)


def test_after_the_feedback_every_list_awaits_its_group_and_no_day_is_complete_before() -> None:
    imports = run(0, SUCCEEDED, groups=2)
    day = assess(imports)
    assert set(day.outcomes.values()) == {DayOutcome.AWAITS_GROUP}
    assert next_completion(day, LIMITS, NIGHT + 2 * MINUTE) == Completion(CompletionStage.GROUPS_DUE, LISTS)
    assert next_completion(assess(run(0, IN_PROGRESS, groups=2)), LIMITS, NIGHT).stage is CompletionStage.WAITS

    first = run(2, IN_PROGRESS, lists=LISTS[:2], group=1)
    assert next_completion(assess(imports, first), LIMITS, NIGHT + 3 * MINUTE).stage is CompletionStage.WAITS
    begun = assess(imports, run(2, SUCCEEDED, lists=LISTS[:2], group=1), proven=LISTS[:2])
    assert begun.free_groups == (2,), "a tick that died between both is continued"
    assert next_completion(begun, LIMITS, NIGHT + 9 * MINUTE) == Completion(CompletionStage.GROUPS_DUE, LISTS[2:])
    done = assess(imports, run(2, SUCCEEDED, lists=LISTS[:2], group=1), run(3, SUCCEEDED, lists=LISTS[2:], group=2))
    assert next_completion(done, LIMITS, NIGHT + 9 * MINUTE).stage is CompletionStage.COMPLETE


def test_no_group_begins_after_failed_feedback_nor_on_old_feedback() -> None:
    failed = assess(run(0, FAILED, StepFailure(None, may_pass=True), groups=2))
    assert next_completion(failed, LIMITS, NIGHT + 9 * MINUTE) == Completion(CompletionStage.DUE, LISTS)
    assert failed.has_groups_only, "the feedback is imported again, and the groups follow it"
    old = assess(run(0, SUCCEEDED, groups=2))
    assert next_completion(old, LIMITS, NIGHT + 62 * MINUTE) == Completion(CompletionStage.DUE, LISTS)
    assert next_completion(old, LIMITS, NIGHT + 121 * MINUTE).stage is CompletionStage.TOO_LATE
    anew = assess(run(0, SUCCEEDED, groups=2), run(63, SUCCEEDED, groups=2, completes=True))
    assert next_completion(anew, LIMITS, NIGHT + 65 * MINUTE) == Completion(CompletionStage.GROUPS_DUE, LISTS, 1)


def test_what_groups_have_left_is_completed_by_one_run() -> None:
    died = run(2, FAILED, lists=LISTS[:2], interrupted=LISTS[:1], group=1)
    passes = run(2, FAILED, StepFailure("events", may_pass=True), lists=LISTS[2:], group=2)
    day = assess(run(0, SUCCEEDED, groups=2), died, passes)
    assert list(day.outcomes.values()) == [DayOutcome.DIED, DayOutcome.NOT_REACHED, DayOutcome.FAILED]
    assert not day.has_groups_only
    assert next_completion(day, LIMITS, NIGHT + 4 * MINUTE).stage is CompletionStage.WAITS
    assert next_completion(day, LIMITS, NIGHT + 9 * MINUTE) == Completion(CompletionStage.DUE, LISTS[1:])


def test_an_incomplete_list_is_left_to_its_repair_also_if_it_was_proven_before() -> None:
    day = assess(run(0), proven=["newsletter"], incomplete=["newsletter"])
    assert day.outcomes["newsletter"] is DayOutcome.INCOMPLETE
    assert next_completion(day, LIMITS, NIGHT + MINUTE).lists == ("products", "events")


def test_proofs_of_other_runs_count_from_the_beginning_of_the_day_and_those_of_its_own_whatever_the_clock() -> None:
    def outcome(run_id: str, at: datetime) -> DayOutcome:
        return assess_day(LISTS, [run(0)], {"products": ListProof(run_id, at)}, ()).outcomes["products"]

    assert outcome("by hand", NIGHT - MINUTE) is DayOutcome.NOT_REACHED, "yesterday's never counts for today"
    assert outcome("by hand", NIGHT + MINUTE) is DayOutcome.PROVEN
    assert outcome("run 0", NIGHT - MINUTE) is DayOutcome.PROVEN


def test_while_a_run_is_under_way_nothing_is_started_and_after_a_person_cancelled_nothing_is_any_more() -> None:
    assert next_completion(assess(run(0), run(3, IN_PROGRESS)), LIMITS, NIGHT).stage is CompletionStage.WAITS
    for canceled in ([run(0, CANCELED)], [run(0), run(3, CANCELED, completes=True)]):
        assert next_completion(assess(*canceled), LIMITS, NIGHT).stage is CompletionStage.CANCELED


def test_runs_that_complete_a_day_have_an_interval_and_limits() -> None:
    first = run(10, lists=["products"], completes=True)

    def stage(minute: int, *further: DayRun, proven: Collection[str] = ()) -> CompletionStage:
        return next_completion(assess(run(0), first, *further, proven=proven), LIMITS, NIGHT + minute * MINUTE).stage

    assert [stage(minute) for minute in (12, 15)] == [CompletionStage.WAITS, CompletionStage.DUE]
    assert stage(60, run(20, completes=True)) is CompletionStage.GIVEN_UP, "two in a row proved nothing"
    assert stage(60, run(21)) is CompletionStage.DUE, "a retry by Dagster isn't counted"
    assert stage(120) is CompletionStage.DUE
    assert stage(121) is CompletionStage.TOO_LATE


def test_runs_that_prove_lists_are_not_fruitless_but_are_limited_all_the_same() -> None:
    completions = [run(minute, completes=True) for minute in (10, 20, 30, 40)]
    proofs = {"newsletter": ListProof("run 30", NIGHT + 31 * MINUTE)}

    def stage(count: int) -> CompletionStage:
        day = assess_day(LISTS, [run(0), *completions[:count]], proofs, ())
        return next_completion(day, LIMITS, NIGHT + 60 * MINUTE).stage

    assert stage(3) is CompletionStage.DUE
    assert stage(4) is CompletionStage.GIVEN_UP


names = st.sampled_from(LISTS)
failures = st.builds(StepFailure, st.none() | names, st.booleans())
runs = st.builds(
    lambda minute, end, failed, interrupted, completes: run(
        minute, end, *failed, interrupted=interrupted, completes=completes
    ),
    st.integers(0, 200),
    st.sampled_from(RunEnd),
    st.lists(failures, max_size=2),
    st.sets(names),
    st.booleans(),
)
days = st.lists(runs, min_size=1, max_size=6, unique_by=lambda run: run.run_id)
proofs = st.dictionaries(names, st.builds(ListProof, st.just("by hand"), st.integers(-60, 200).map(
    lambda minute: NIGHT + minute * MINUTE
)))  # fmt: skip
minutes = st.integers(0, 300).map(lambda minute: NIGHT + minute * MINUTE)


@given(days, proofs, st.sets(names), minutes)
def test_only_lists_that_a_further_run_helps_are_ever_replaced_again(
    day_runs: list[DayRun], proven: dict[str, ListProof], incomplete: set[str], now: datetime
) -> None:
    day = assess_day(LISTS, day_runs, proven, incomplete)
    completion = next_completion(day, LIMITS, now)
    helped = (DayOutcome.FAILED, DayOutcome.DIED, DayOutcome.NOT_REACHED)
    assert all(day.outcomes[name] in helped for name in completion.lists)
    if completion.stage is CompletionStage.DUE:
        assert completion.lists
        assert now <= LIMITS.latest
        assert not {IN_PROGRESS, CANCELED} & {run.end for run in day_runs}
    if completion.stage is CompletionStage.COMPLETE:
        assert not set(helped) & set(day.outcomes.values())


@given(st.permutations([run(0), run(3, interrupted=["products"]), run(9, completes=True)]), proofs, minutes)
def test_the_order_in_which_runs_are_read_changes_nothing(
    shuffled: list[DayRun], proven: dict[str, ListProof], now: datetime
) -> None:
    ordered = sorted(shuffled, key=lambda run: run.created_at)
    days = [assess_day(LISTS, order, proven, ()) for order in (ordered, shuffled)]
    assert days[0] == days[1]
    assert next_completion(days[0], LIMITS, now) == next_completion(days[1], LIMITS, now)


@given(days, proofs)
def test_a_day_ends_if_runs_go_on_proving_nothing(day_runs: list[DayRun], proven: dict[str, ListProof]) -> None:
    """However a day began, only a limited number of runs completes it."""
    now = NIGHT + 201 * MINUTE
    patient = CompletionLimits(
        LIMITS.max_runs, LIMITS.max_fruitless, LIMITS.interval, now + timedelta(days=1), LIMITS.feedback_age
    )
    for _ in range(LIMITS.max_runs + 1):
        completion = next_completion(assess_day(LISTS, day_runs, proven, ()), patient, now)
        if not completion.stage.is_ahead or any(run.end is IN_PROGRESS for run in day_runs):
            return
        now += 6 * MINUTE
        day_runs = [*day_runs, run(int((now - NIGHT) / MINUTE), completes=True)]
    raise AssertionError("it never ends")
