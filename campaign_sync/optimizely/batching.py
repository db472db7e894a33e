"""Many rows in few calls: what one call carries, and what has to come back for it."""

from collections.abc import Iterator, Sequence

from campaign_sync.optimizely.array_encoder import Texts
from campaign_sync.optimizely.errors import TransientError
from campaign_sync.optimizely.session import Session

MAX_ROWS = 1000
"""The most rows that one call carries, in either direction."""


def call_in_batches(
    session: Session, service: str, operation: str, texts: Texts, *, first: Sequence[object] = ()
) -> list[bool]:
    """What an operation answers about each text, in their order; `first` are the arguments before the texts.

    Raises:
        TransientError: a call or its answer was lost, and again when repeated, or an answer is missing.
    """
    answers: list[bool] = []
    for chunk in chunks(texts):
        found = session.call(service, operation, *first, chunk)
        expect_one_each(found, len(chunk), operation)
        answers += found
    return answers


def chunks(texts: Texts) -> Iterator[Texts]:
    """The texts in pieces that fit into one call."""
    for start in range(0, len(texts), MAX_ROWS):
        yield texts[start : start + MAX_ROWS]


def expect_one_each(answers: Sequence[object], rows: int, operation: str) -> None:
    """Make sure that each row got an answer.

    Raises:
        TransientError: one didn't.
    """
    if len(answers) != rows or None in answers:
        raise TransientError(
            f"{operation} gave {len(answers)} answers for {rows} rows. Try again; if it stays, ask its support.",
            outcome_unknown=True,
        )
