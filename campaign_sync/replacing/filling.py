"""The steps that change and read a vendor's list: fill, sweep, read back."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from campaign_sync.domain.checks import Contract
from campaign_sync.domain.recipient import ADDRESS, RECIPIENT_ID, TechnicalField
from campaign_sync.domain.rejection import ACCEPTED, ALREADY_STORED, GENERAL_ERROR
from campaign_sync.optimizely.client import Optimizely
from campaign_sync.optimizely.faults import TransientError
from campaign_sync.optimizely.services import Batch
from campaign_sync.replacing.target import Target

READ_BACK_ROWS = 1000
"""Rows per page when a list is read back; the vendor names no limit for it."""

_TRIES = 4


@dataclass(frozen=True)
class PreparedBatch:
    """Rows of a snapshot (by position) in the form in which they go over the wire."""

    positions: range
    batch: Batch


def prepare(target: Target, vendor: Optimizely, rows: pd.DataFrame) -> list[PreparedBatch]:
    """Turn a snapshot into batches, while the list is still full: after `clear` nothing happens but sending."""
    return [
        _prepared(target, vendor, rows, range(start, min(start + target.batch_size, len(rows))))
        for start in range(0, len(rows), target.batch_size)
    ]


def fill(
    target: Target,
    vendor: Optimizely,
    rows: pd.DataFrame,
    batches: Sequence[PreparedBatch],
    on_batch: Callable[[int], None],
) -> npt.NDArray[np.int_]:
    """Send all batches, several at a time, and return the vendor's code for every row of the snapshot.

    Rows that the vendor failed on by itself (code 7) are sent once more. `on_batch` is told each batch's rows.

    Raises:
        OptimizelyError: a batch couldn't be sent; no further batch is begun.
    """
    codes = np.full(len(rows), GENERAL_ERROR)
    for positions, answers in _send_all(target, vendor, batches):
        codes[positions.start : positions.stop] = answers
        on_batch(len(positions))
    failed = np.flatnonzero(codes == GENERAL_ERROR)
    for positions, answers in _send_all(target, vendor, prepare(target, vendor, rows.iloc[failed])):
        stored = [ACCEPTED if code == ALREADY_STORED else code for code in answers]
        codes[failed[positions.start : positions.stop]] = stored
    return codes


def sweep(target: Target, vendor: Optimizely) -> dict[str, int]:
    """Have the vendor take out everybody it wouldn't write to. Returns how many, by why."""
    list_id, recipients = target.recipient_list_id, vendor.recipients
    return {
        "unsubscribed": recipients.remove_unsubscribed(list_id),
        "bounced": recipients.remove_bounced(list_id),
        "blocklisted": recipients.remove_blacklisted(list_id),
    }


def read_back(
    target: Target, vendor: Optimizely, count: int, on_page: Callable[[int], None], page_rows: int = READ_BACK_ROWS
) -> pd.DataFrame:
    """What the list holds now: the contract's `list_columns`, one row per recipient, `count` of them expected.

    Pages are ordered by the entity id, so that they shift as little as can be. The last one reaches beyond `count`, so
    that rows too many show. `on_page` is told each page's rows.
    """
    contract = target.contract
    starts = range(0, count + 1, page_rows)

    def page(start: int) -> list[list[str | None]]:
        order = contract.technical[TechnicalField.ENTITY_ID]
        return vendor.recipients.page(target.recipient_list_id, contract.list_attributes, order, start, page_rows)

    with ThreadPoolExecutor(target.parallel_calls) as pool:
        rows: list[list[str | None]] = []
        for part in pool.map(page, starts):
            rows += part
            on_page(len(part))
    return pd.DataFrame(rows, columns=contract.list_columns, dtype="str")


def _prepared(target: Target, vendor: Optimizely, rows: pd.DataFrame, positions: range) -> PreparedBatch:
    chunk = rows.iloc[positions.start : positions.stop]
    batch = vendor.recipients.prepare(
        target.recipient_list_id,
        chunk[RECIPIENT_ID].tolist(),
        chunk[ADDRESS].tolist(),
        target.contract.list_attributes,
        _values(chunk, target.contract),
    )
    return PreparedBatch(positions, batch)


def _values(chunk: pd.DataFrame, contract: Contract) -> list[tuple[str, ...]]:
    return list(zip(*(chunk[column].tolist() for column in contract.list_columns), strict=True))


def _send_all(
    target: Target, vendor: Optimizely, batches: Sequence[PreparedBatch]
) -> Iterator[tuple[range, list[int]]]:
    """Yield each batch's positions and codes as they arrive. After a failure no further batch is begun."""
    with ThreadPoolExecutor(target.parallel_calls) as pool:
        futures = {pool.submit(_send, target, vendor, batch.batch): batch.positions for batch in batches}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _send(target: Target, vendor: Optimizely, batch: Batch) -> list[int]:
    """Send one batch. Once an answer was lost, a row that is already in the list counts as stored by that call."""
    answer_lost = False
    for attempt in Retrying(
        retry=retry_if_exception_type(TransientError),
        stop=stop_after_attempt(_TRIES),
        wait=wait_random_exponential(multiplier=0.5, max=10),
        reraise=True,
    ):
        with attempt:
            try:
                codes = vendor.recipients.add_all(target.recipient_list_id, batch)
            except TransientError as error:
                answer_lost |= error.outcome_unknown
                raise
    return [ACCEPTED if answer_lost and code == ALREADY_STORED else code for code in codes]
