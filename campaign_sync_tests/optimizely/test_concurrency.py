import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaign_sync.optimizely.concurrency import ConcurrencyLimiter
from campaign_sync.optimizely.errors import TransientError


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 0.001
        return self.now


def exchange(pace: ConcurrencyLimiter, clock: Clock, *, seconds: float = 0.0, fails: bool = False) -> None:
    with pace.watching(TransientError):
        clock.now += seconds
        if fails:
            raise TransientError("busy", outcome_unknown=False)


def test_a_failure_halves_the_calls_and_good_answers_bring_them_back() -> None:
    clock = Clock()
    pace = ConcurrencyLimiter(8, 10, clock)
    with pytest.raises(TransientError):
        exchange(pace, clock, fails=True)
    assert pace.allowed == 4
    for _ in range(4 + 5):
        exchange(pace, clock)
    assert pace.allowed == 6


def test_an_answer_that_takes_long_is_as_bad_as_none() -> None:
    clock = Clock()
    pace = ConcurrencyLimiter(8, 10, clock)
    exchange(pace, clock, seconds=11)
    assert pace.allowed == 4


def test_calls_that_fail_together_count_once() -> None:
    clock = Clock()
    pace = ConcurrencyLimiter(8, 10, clock)
    together = [pace.watching(TransientError) for _ in range(8)]
    for each in together:
        each.__enter__()
    for each in together:
        each.__exit__(TransientError, TransientError("busy", outcome_unknown=False), None)
    assert pace.allowed == 4


@given(st.integers(1, 40), st.lists(st.tuples(st.floats(0, 30), st.booleans())))
def test_there_is_always_one_call_and_never_more_than_allowed(most: int, answers: list[tuple[float, bool]]) -> None:
    clock = Clock()
    pace = ConcurrencyLimiter(most, 10, clock)
    for seconds, fails in answers:
        try:
            exchange(pace, clock, seconds=seconds, fails=fails)
        except TransientError:
            assert fails
        assert 1 <= pace.allowed <= most


def test_no_more_calls_are_under_way_than_are_allowed() -> None:
    pace, together, most = ConcurrencyLimiter(4, 10), 0, 0
    lock = threading.Lock()
    pace.allowed = 2

    def call(_: int) -> None:
        nonlocal together, most
        with lock:
            together += 1
            most = max(most, together)
        threading.Event().wait(0.002)
        with lock:
            together -= 1

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(pace.keeping(call), range(30)))
    assert most == 2
