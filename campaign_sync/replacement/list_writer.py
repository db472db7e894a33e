"""The calls that change a vendor's list, each written down before and after."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from campaign_sync.domain.recipient import ADDRESS, RECIPIENT_ID
from campaign_sync.domain.rejection import ACCEPTED, ALREADY_STORED, GENERAL_ERROR, VENDOR_REASONS
from campaign_sync.domain.row_digests import column_chunks
from campaign_sync.optimizely.client import Optimizely
from campaign_sync.optimizely.errors import TransientError
from campaign_sync.optimizely.services import MAX_ROWS, Batch
from campaign_sync.replacement.errors import NotClearedError, UnprovenError
from campaign_sync.replacement.parallel import in_parallel
from campaign_sync.replacement.plan import Plan, Positions
from campaign_sync.replacement.target import Target
from campaign_sync.storage.locks import ListLock
from campaign_sync.storage.replacement_steps import ADD_ALL, CLEAR, PlannedCall, StepLog
from campaign_sync.telemetry.instruments import instruments
from campaign_sync.telemetry.metrics import ROWS_ACCEPTED, ROWS_REFUSED, ROWS_SENT
from campaign_sync.telemetry.spans import attempted

_TRIES = 4

Codes = npt.NDArray[np.int_]
"""The vendor's answer for every row of a snapshot."""

Result = TypeVar("Result")


@dataclass(frozen=True)
class PreparedBatch:
    """Rows of a snapshot (by position) in the form in which they go over the wire."""

    positions: Positions
    batch: Batch
    part: str
    """Which of how many it is."""


def prepare(target: Target, vendor: Optimizely, rows: pd.DataFrame, positions: Positions) -> list[PreparedBatch]:
    """Turn rows into batches, while the list is still full: after `clear` nothing happens but sending."""
    size = target.batch_size
    sent = rows if len(positions) == len(rows) else rows.iloc[positions]
    columns = [RECIPIENT_ID, ADDRESS, *target.contract.list_columns]
    parts = -(-len(positions) // size)
    return [
        PreparedBatch(
            positions[number * size : (number + 1) * size], _batch(target, vendor, chunk), f"{number + 1} of {parts}"
        )
        for number, chunk in enumerate(column_chunks(sent, columns, size))
    ]


@dataclass(frozen=True)
class ListWriter:
    """Carries out plans on one list. Nothing is sent without the lease."""

    target: Target
    vendor: Optimizely
    steps: StepLog
    lease: ListLock

    def carry_out(
        self,
        plan: Plan,
        rows: pd.DataFrame,
        batches: Sequence[PreparedBatch],
        on_rows: Callable[[int], None],
        *,
        resuming: bool = False,
    ) -> Codes:
        """Do what the plan says. `batches` are the prepared rows of `plan.send`; `on_rows` is told how many are done.

        Rows that needn't be sent count as accepted. Rows that the vendor failed on by itself (code 7) are sent once
        more. When `resuming`, a row that is there after all was stored by a call whose answer never came.

        Raises:
            OptimizelyError: a call couldn't be made; no further one is begun.
            ListLockLostError: somebody else may be at the list by now.
            UnprovenError: the vendor says that it has cleared the list, and it isn't empty.
        """
        if plan.clear:
            self.clear()
        for start in range(0, len(plan.remove), MAX_ROWS):
            self._remove(plan.remove[start : start + MAX_ROWS])
        self._change(rows, plan.change)
        on_rows(len(rows) - len(plan.send))
        codes = np.full(len(rows), ACCEPTED)
        codes[plan.send] = GENERAL_ERROR
        for batch, answers in self._send_all(batches, resuming):
            codes[batch.positions] = answers
            on_rows(len(batch.positions))
        failed = plan.send[codes[plan.send] == GENERAL_ERROR]
        again = prepare(self.target, self.vendor, rows, failed)
        for batch, answers in self._send_all(again, resuming=True):
            codes[batch.positions] = answers
        self._count(codes[plan.send])
        return codes

    def clear(self) -> None:
        """Empty the list. It is tried again only while the lease is held, for a late repeat would empty a full list.

        Raises:
            UnprovenError: the vendor says that it has cleared the list, and it isn't empty.
        """
        for attempt in _retrying():
            with attempt, attempted(attempt.retry_state.attempt_number):
                self._changing(CLEAR, self._clear_once)

    def _clear_once(self) -> None:
        list_id, recipients = self.target.recipient_list_id, self.vendor.recipients
        recipients.clear(list_id)
        left = recipients.count(list_id)
        if left:  # or somebody signed up at this very moment, who isn't there any more after the next try
            raise NotClearedError(
                f"clear has changed nothing: the vendor took {_TRIES} calls, and the list still holds {left} "
                f"recipients. Ask the vendor's support why recipient list {list_id} can't be cleared"
            )

    def sweep(self) -> dict[str, int]:
        """Have the vendor take out everybody it wouldn't write to. Returns how many, by why."""
        list_id, recipients = self.target.recipient_list_id, self.vendor.recipients
        return {
            "unsubscribed": self._changing("removeUnsubscribed", lambda: recipients.remove_unsubscribed(list_id)),
            "bounced": self._changing("removeBounced", lambda: recipients.remove_bounced(list_id)),
            "blocklisted": self._changing("removeBlacklisted", lambda: recipients.remove_blacklisted(list_id)),
        }

    def take_out(self, ids: Sequence[str]) -> int:
        """Remove these recipients from the list; returns how many of them were in it."""
        return sum(sum(self._remove(ids[start : start + MAX_ROWS])) for start in range(0, len(ids), MAX_ROWS))

    def require_known_codes(self, rows: pd.DataFrame, codes: Codes) -> None:
        """Make sure that the vendor said of every row what became of it.

        Rows of which it didn't are taken out again, so that whoever goes on filling the list has to ask anew.

        Raises:
            UnprovenError: it answered with codes that its documentation doesn't have, so nobody knows whether it stored
                these rows, and whether it would send mail to them.
        """
        unknown = np.isin(codes, [ACCEPTED, *VENDOR_REASONS], invert=True)
        if not unknown.any():
            return
        self.take_out(rows.loc[unknown, RECIPIENT_ID].tolist())
        told = ", ".join(f"code {code}: {number}" for code, number in sorted(Counter(codes[unknown].tolist()).items()))
        raise UnprovenError(
            f"addAll3 answered codes that aren't documented ({told}), so these rows were taken out again. Ask the "
            "vendor's support what the codes mean"
        )

    def _remove(self, ids: Sequence[str]) -> list[bool]:
        list_id = self.target.recipient_list_id
        return self._changing("take out", lambda: self.vendor.recipients.remove_all(list_id, ids), rows=len(ids))

    def _change(self, rows: pd.DataFrame, positions: Positions) -> None:
        """Overwrite attributes; nobody is gone from the list for it."""
        contract, list_id = self.target.contract, self.target.recipient_list_id

        def overwrite(position: int) -> None:
            row = rows.iloc[position]
            self.lease.require()
            self.vendor.recipients.set_attributes(
                list_id, row[RECIPIENT_ID], contract.list_attributes, [row[column] for column in contract.list_columns]
            )

        if len(positions):
            with self.steps.step("setAttributes", rows=len(positions)):
                for _ in in_parallel(self.target, self.vendor, overwrite, positions.tolist()):
                    pass

    def _changing(self, step: str, call: Callable[[], Result], rows: int | None = None) -> Result:
        self.lease.require()
        with self.steps.step(step, rows=rows) as notes:
            result = call()
            if isinstance(result, int):
                notes.add(f"{result} rows")
        return result

    def _send_all(self, batches: Sequence[PreparedBatch], resuming: bool) -> Iterator[tuple[PreparedBatch, list[int]]]:
        """Send all batches, of which each is in the journal before the first one goes."""
        calls = [PlannedCall(each.part, len(each.positions), each.batch.digest) for each in batches]
        numbers = self.steps.plan_calls(ADD_ALL, calls)
        numbered = {id(batch): number for batch, number in zip(batches, numbers, strict=True)}
        try:
            yield from in_parallel(
                self.target, self.vendor, lambda batch: self._send(batch, numbered[id(batch)], resuming), batches
            )
        finally:
            self.steps.finish_calls()

    def _send(self, batch: PreparedBatch, number: int, resuming: bool) -> list[int]:
        """Send one batch. Once an answer was lost, a row that is already in the list counts as stored by that call."""
        answer_lost = resuming
        for attempt in _retrying():
            again = attempt.retry_state.attempt_number > 1
            with attempt, attempted(attempt.retry_state.attempt_number):
                self.lease.require()
                rows, digest = len(batch.positions), batch.batch.digest
                with (
                    self.steps.step(ADD_ALL, part=batch.part, rows=rows, digest=digest)
                    if again
                    else self.steps.planned_call(number)
                ) as notes:
                    self._count_sent(rows)
                    try:
                        codes = self.vendor.recipients.add_all(self.target.recipient_list_id, batch.batch)
                    except TransientError as error:
                        answer_lost |= error.outcome_unknown
                        raise
                    notes.add_answers(codes)
        return [ACCEPTED if answer_lost and code == ALREADY_STORED else code for code in codes]

    def _count_sent(self, rows: int) -> None:
        instruments().count(ROWS_SENT, rows, mandator=self.target.mandator, list=self.target.name)

    def _count(self, answers: Codes) -> None:
        """Count what the vendor made of the rows. Codes that its documents don't have count as one."""
        labels = {"mandator": self.target.mandator, "list": self.target.name}
        for code, rows in Counter(answers.tolist()).items():
            if code == ACCEPTED:
                instruments().count(ROWS_ACCEPTED, rows, **labels)
            else:
                known = str(code) if code in VENDOR_REASONS else "other"
                instruments().count(ROWS_REFUSED, rows, **labels, code=known)


def _retrying() -> Retrying:
    return Retrying(
        retry=retry_if_exception_type((TransientError, NotClearedError)),
        stop=stop_after_attempt(_TRIES),
        wait=wait_random_exponential(multiplier=0.5, max=10),
        reraise=True,
    )


def _batch(target: Target, vendor: Optimizely, columns: Sequence[pa.Array]) -> Batch:
    ids, addresses, *values = columns
    return vendor.recipients.prepare(target.recipient_list_id, ids, addresses, target.contract.list_attributes, values)
