"""Many calls to the vendor at once, at the pace that it keeps."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from typing import TypeVar

from campaign_sync.optimizely.client import Optimizely
from campaign_sync.replacement.target import Target
from campaign_sync.telemetry.spans import carried

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_parallel(
    target: Target, vendor: Optimizely, call: Callable[[Item], Result], items: Iterable[Item]
) -> Iterator[tuple[Item, Result]]:
    """Yield each item with its result as they come in. After a failure no further call is begun."""
    failures: list[BaseException] = []

    def unless_failed(item: Item) -> Result:
        if failures:  # it has waited for its turn while another one failed
            raise failures[0]
        try:
            return call(item)
        except BaseException as error:
            failures.append(error)  # before the next one's turn comes
            raise

    with ThreadPoolExecutor(target.parallel_calls) as pool:
        there = carried(vendor.limiter.limit(unless_failed))
        futures: dict[Future[Result], Item] = {pool.submit(there, item): item for item in items}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BaseException as error:
            failures.append(error)
            pool.shutdown(wait=True, cancel_futures=True)
            raise
