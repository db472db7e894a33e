from types import SimpleNamespace
from typing import cast

import pytest

from campaign_sync.domain.progress import Progress, report, watching
from campaign_sync.optimizely.client import Optimizely
from campaign_sync.optimizely.concurrency import ConcurrencyLimiter
from campaign_sync.replacement.parallel import in_parallel


def test_no_call_that_waits_for_its_turn_is_made_once_another_has_failed() -> None:
    limiter, made = ConcurrencyLimiter(4, 60), list[int]()
    limiter.allowed = 1  # four threads, of which three wait

    def call(item: int) -> None:
        made.append(item)
        raise ConnectionError(str(item))

    vendor = cast(Optimizely, SimpleNamespace(limiter=limiter))
    for _ in range(50):
        made.clear()
        with pytest.raises(ConnectionError) as caught:
            list(in_parallel(vendor, 4, call, range(20)))
        assert [str(item) for item in made] == [str(caught.value)]


def test_the_watcher_of_the_caller_gets_the_progress_of_all_threads_and_no_other_does() -> None:
    vendor = cast(Optimizely, SimpleNamespace(limiter=ConcurrencyLimiter(4, 60)))
    seen, outside = list[Progress](), list[Progress]()

    def call(item: int) -> None:
        report(Progress("nord", "newsletter", "fill", item, 20))

    with watching(outside.append), watching(seen.append):
        list(in_parallel(vendor, 4, call, range(20)))
    report(Progress("nord", "newsletter", "fill", 20, 20))
    assert sorted(progress.done for progress in seen) == list(range(20))
    assert outside == []
