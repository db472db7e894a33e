"""Many calls to the vendor at once, as many as its answers allow."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextvars import copy_context
from typing import TypeVar

from campaign_sync.optimizely.client import Optimizely

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_parallel(
    vendor: Optimizely, parallel_calls: int, call: Callable[[Item], Result], items: Iterable[Item]
) -> Iterator[tuple[Item, Result]]:
    """Yield each item with its result in the order in which the calls end. After a failure no further call is begun.

    Calls have the context variables of the caller: their spans are children of its span, its watcher gets their
    progress.
    """
    failures: list[BaseException] = []

    def unless_failed(item: Item) -> Result:
        if failures:  # it has waited for its turn while another call failed
            raise failures[0]
        try:
            return call(item)
        except BaseException as error:
            failures.append(error)  # before the next call's turn comes
            raise

    with ThreadPoolExecutor(parallel_calls) as pool:
        limited, context = vendor.limiter.limit(unless_failed), copy_context()
        # A context can be entered once at a time, so every call has its own copy.
        futures: dict[Future[Result], Item] = {pool.submit(context.copy().run, limited, item): item for item in items}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BaseException as error:
            failures.append(error)
            pool.shutdown(wait=True, cancel_futures=True)
            raise
