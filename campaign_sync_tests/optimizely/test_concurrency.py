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


def exchange(limiter: ConcurrencyLimiter, clock: Clock, *, seconds: float = 0.0, fails: bool = False) -> None:
    with limiter.observe(TransientError):
        clock.now += seconds
        if fails:
            raise TransientError("busy", outcome_unknown=False)


def test_a_failure_halves_the_calls_and_good_answers_bring_them_back() -> None:
    clock = Clock()
    limiter = ConcurrencyLimiter(8, 10, clock)
    with pytest.raises(TransientError):
        exchange(limiter, clock, fails=True)
    assert limiter.allowed == 4
    for _ in range(4 + 5):
        exchange(limiter, clock)
    assert limiter.allowed == 6


def test_a_slow_answer_counts_as_a_failure() -> None:
    clock = Clock()
    limiter = ConcurrencyLimiter(8, 10, clock)
    exchange(limiter, clock, seconds=11)
    assert limiter.allowed == 4


def test_calls_that_fail_together_count_once() -> None:
    clock = Clock()
    limiter = ConcurrencyLimiter(8, 10, clock)
    together = [limiter.observe(TransientError) for _ in range(8)]
    for exchange_of_call in together:
        exchange_of_call.__enter__()
    for exchange_of_call in together:
        exchange_of_call.__exit__(TransientError, TransientError("busy", outcome_unknown=False), None)
    assert limiter.allowed == 4


@given(st.integers(1, 40), st.lists(st.tuples(st.floats(0, 30), st.booleans())))
def test_there_is_always_one_call_and_never_more_than_allowed(most: int, answers: list[tuple[float, bool]]) -> None:
    clock = Clock()
    limiter = ConcurrencyLimiter(most, 10, clock)
    for seconds, fails in answers:
        try:
            exchange(limiter, clock, seconds=seconds, fails=fails)
        except TransientError:
            assert fails
        assert 1 <= limiter.allowed <= most


def test_no_more_calls_run_at_once_than_allowed() -> None:
    limiter, together, most = ConcurrencyLimiter(4, 10), 0, 0
    lock = threading.Lock()
    limiter.allowed = 2

    def call(_: int) -> None:
        nonlocal together, most
        with lock:
            together += 1
            most = max(most, together)
        threading.Event().wait(0.002)
        with lock:
            together -= 1

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(limiter.limit(call), range(30)))
    assert most == 2
