"""The calls that change a vendor's list, each recorded before and after."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from campaign_sync.domain.message import Message
from campaign_sync.domain.recipient import ADDRESS, RECIPIENT_ID
from campaign_sync.domain.rejection import ACCEPTED, ALREADY_STORED, GENERAL_ERROR, VENDOR_REASONS
from campaign_sync.domain.row_digests import column_chunks
from campaign_sync.optimizely.client import Optimizely
from campaign_sync.optimizely.errors import TransientError
from campaign_sync.optimizely.services import MAX_ROWS, Batch
from campaign_sync.replacement.errors import NotClearedError, UnprovenError
from campaign_sync.replacement.list_settings import ListSettings
from campaign_sync.replacement.parallel import in_parallel
from campaign_sync.replacement.plan import Plan, Positions
from campaign_sync.storage.locks import ListLock
from campaign_sync.storage.replacement_steps import ADD_ALL, CLEAR, PlannedCall, StepLog
from campaign_sync.telemetry.instruments import instruments
from campaign_sync.telemetry.metrics import ROWS_ACCEPTED, ROWS_REFUSED, ROWS_SENT
from campaign_sync.telemetry.spans import attempted

_TRIES = 4

Codes = npt.NDArray[np.int_]
"""The vendor's answer code for every row of a snapshot."""

Result = TypeVar("Result")


@dataclass(frozen=True)
class PreparedBatch:
    """Rows of a snapshot (by position) in the form in which they go over the wire."""

    positions: Positions
    batch: Batch
    part: str
    """Its number, of how many."""


def prepare(
    settings: ListSettings, vendor: Optimizely, rows: pd.DataFrame, positions: Positions
) -> list[PreparedBatch]:
    """Turn rows into batches, while the list is still full: after `clear` nothing happens but sending."""
    size = settings.optimizely.batch_size
    sent = rows if len(positions) == len(rows) else rows.iloc[positions]
    columns = [RECIPIENT_ID, ADDRESS, *settings.schema.list_columns]
    parts = -(-len(positions) // size)
    return [
        PreparedBatch(
            positions[number * size : (number + 1) * size], _batch(settings, vendor, chunk), f"{number + 1} of {parts}"
        )
        for number, chunk in enumerate(column_chunks(sent, columns, size))
    ]


@dataclass(frozen=True)
class ListWriter:
    """Carries out plans on one list. Nothing is sent without the lock."""

    settings: ListSettings
    vendor: Optimizely
    steps: StepLog
    lock: ListLock

    def carry_out(
        self,
        plan: Plan,
        rows: pd.DataFrame,
        batches: Sequence[PreparedBatch],
        on_rows: Callable[[int], None],
        *,
        resuming: bool = False,
    ) -> Codes:
        """Do what the plan says.

        Rows that needn't be sent count as accepted. Rows on which the vendor itself failed (code 7) are sent once more.

        Args:
            plan: what to do.
            rows: the snapshot.
            batches: the prepared rows of `plan.send`.
            on_rows: called with the number of rows whenever some are done.
            resuming: whether a row that is in the list already was stored by a call whose answer never came.

        Raises:
            OptimizelyError: a call couldn't be made; no further one is begun.
            ListLockLostError: another run may be changing the list by now.
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
        again = prepare(self.settings, self.vendor, rows, failed)
        for batch, answers in self._send_all(again, resuming=True):
            codes[batch.positions] = answers
        self._count(codes[plan.send])
        return codes

    def clear(self) -> None:
        """Empty the list. It is tried again only while the lock is held, for a late repeat would empty a full list.

        Raises:
            UnprovenError: the vendor says that it has cleared the list, and it isn't empty.
        """
        for attempt in _retrying():
            with attempt, attempted(attempt.retry_state.attempt_number):
                self._changing(CLEAR, self._clear_once)

    def _clear_once(self) -> None:
        list_id, recipients = self.settings.recipient_list_id, self.vendor.recipients
        recipients.clear(list_id)
        left = recipients.count(list_id)
        if left:  # or a person signed up at this very moment, who is gone after the next try
            raise NotClearedError(
                Message(
                    "clear has changed nothing: the vendor took {calls} calls, and the list still holds {left} "
                    "recipients. Ask the vendor's support why recipient list {list_id} can't be cleared",
                    calls=_TRIES,
                    left=left,
                    list_id=list_id,
                )
            )

    def sweep(self) -> dict[str, int]:
        """Have the vendor take out everybody it wouldn't write to; return how many, by reason."""
        list_id, recipients = self.settings.recipient_list_id, self.vendor.recipients
        return {
            "unsubscribed": self._changing("removeUnsubscribed", lambda: recipients.remove_unsubscribed(list_id)),
            "bounced": self._changing("removeBounced", lambda: recipients.remove_bounced(list_id)),
            "blocklisted": self._changing("removeBlacklisted", lambda: recipients.remove_blacklisted(list_id)),
        }

    def take_out(self, ids: Sequence[str]) -> int:
        """Remove these recipients from the list; return how many of them were in it."""
        return sum(sum(self._remove(ids[start : start + MAX_ROWS])) for start in range(0, len(ids), MAX_ROWS))

    def require_known_codes(self, rows: pd.DataFrame, codes: Codes) -> None:
        """Check that the vendor answered every row with a documented code.

        Rows with other codes are taken out again, so that a rerun that resumes the fill has to send them anew.

        Raises:
            UnprovenError: it answered with undocumented codes, so it isn't known whether it stored these rows, and
                whether it would send mail to them.
        """
        unknown = np.isin(codes, [ACCEPTED, *VENDOR_REASONS], invert=True)
        if not unknown.any():
            return
        self.take_out(rows.loc[unknown, RECIPIENT_ID].tolist())
        counts = ", ".join(
            f"code {code}: {number}" for code, number in sorted(Counter(codes[unknown].tolist()).items())
        )
        raise UnprovenError(
            Message(
                "addAll3 answered codes that aren't documented ({counts}), so these rows were taken out again. Ask the "
                "vendor's support what the codes mean",
                counts=counts,
            )
        )

    def _remove(self, ids: Sequence[str]) -> list[bool]:
        list_id = self.settings.recipient_list_id
        return self._changing("take out", lambda: self.vendor.recipients.remove_all(list_id, ids), rows=len(ids))

    def _change(self, rows: pd.DataFrame, positions: Positions) -> None:
        """Overwrite attributes; no recipient leaves the list for it."""
        schema, list_id = self.settings.schema, self.settings.recipient_list_id

        def overwrite(position: int) -> None:
            row = rows.iloc[position]
            self.lock.require()
            self.vendor.recipients.set_attributes(
                list_id, row[RECIPIENT_ID], schema.list_attributes, [row[column] for column in schema.list_columns]
            )

        if len(positions):
            with self.steps.step("setAttributes", rows=len(positions)):
                for _ in in_parallel(self.vendor, self._parallel_calls, overwrite, positions.tolist()):
                    pass

    def _changing(self, step: str, call: Callable[[], Result], rows: int | None = None) -> Result:
        self.lock.require()
        with self.steps.step(step, rows=rows) as notes:
            result = call()
            if isinstance(result, int):
                notes.add(f"{result} rows")
        return result

    def _send_all(self, batches: Sequence[PreparedBatch], resuming: bool) -> Iterator[tuple[PreparedBatch, list[int]]]:
        """Send all batches; each is recorded before the first one is sent."""
        calls = [PlannedCall(batch.part, len(batch.positions), batch.batch.digest) for batch in batches]
        numbers = self.steps.plan_calls(ADD_ALL, calls)
        numbered = {id(batch): number for batch, number in zip(batches, numbers, strict=True)}
        try:
            yield from in_parallel(
                self.vendor,
                self._parallel_calls,
                lambda batch: self._send(batch, numbered[id(batch)], resuming),
                batches,
            )
        finally:
            self.steps.finish_calls()

    def _send(self, batch: PreparedBatch, number: int, resuming: bool) -> list[int]:
        """Send one batch. Once an answer was lost, a row that is already in the list counts as stored by that call."""
        answer_lost = resuming
        for attempt in _retrying():
            again = attempt.retry_state.attempt_number > 1
            with attempt, attempted(attempt.retry_state.attempt_number):
                self.lock.require()
                rows, digest = len(batch.positions), batch.batch.digest
                with (
                    self.steps.step(ADD_ALL, part=batch.part, rows=rows, digest=digest)
                    if again
                    else self.steps.planned_call(number)
                ) as notes:
                    self._count_sent(rows)
                    try:
                        codes = self.vendor.recipients.add_all(self.settings.recipient_list_id, batch.batch)
                    except TransientError as error:
                        answer_lost |= error.outcome_unknown
                        raise
                    notes.add_answers(codes)
        return [ACCEPTED if answer_lost and code == ALREADY_STORED else code for code in codes]

    @property
    def _parallel_calls(self) -> int:
        return self.settings.optimizely.parallel_calls

    def _count_sent(self, rows: int) -> None:
        instruments().count(ROWS_SENT, rows, mandator=self.settings.mandator, list=self.settings.name)

    def _count(self, answers: Codes) -> None:
        """Count the vendor's answers. Codes that aren't documented count as one."""
        labels = {"mandator": self.settings.mandator, "list": self.settings.name}
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


def _batch(settings: ListSettings, vendor: Optimizely, columns: Sequence[pa.Array]) -> Batch:
    ids, addresses, *values = columns
    return vendor.recipients.prepare(
        settings.recipient_list_id, ids, addresses, settings.schema.list_attributes, values
    )
