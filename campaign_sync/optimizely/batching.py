"""Batches of rows: how many one call carries, and the check that each row was answered."""

from collections.abc import Iterator, Sequence

from campaign_sync.optimizely.array_encoder import Texts
from campaign_sync.optimizely.errors import TransientError
from campaign_sync.optimizely.session import Session

MAX_ROWS = 1000
"""The most rows of one call, in either direction."""


def call_in_batches(
    session: Session, service: str, operation: str, texts: Texts, *, first: Sequence[object] = ()
) -> list[bool]:
    """Return what an operation answers for each text, in their order; `first` are the arguments before the texts.

    Raises:
        TransientError: a call or its answer was lost despite retries, or an answer is missing.
    """
    answers: list[bool] = []
    for batch in batches(texts):
        of_batch = session.call(service, operation, *first, batch)
        require_answer_per_row(of_batch, len(batch), operation)
        answers += of_batch
    return answers


def batches(texts: Texts) -> Iterator[Texts]:
    """Yield the texts in slices that fit into one call."""
    for start in range(0, len(texts), MAX_ROWS):
        yield texts[start : start + MAX_ROWS]


def require_answer_per_row(answers: Sequence[object], rows: int, operation: str) -> None:
    """Raise TransientError unless each row got an answer."""
    if len(answers) != rows or None in answers:
        raise TransientError(
            f"{operation} gave {len(answers)} answers for {rows} rows. Try again; if it stays, ask its support.",
            outcome_unknown=True,
        )
