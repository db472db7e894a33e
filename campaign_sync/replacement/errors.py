"""How a replace can end otherwise than in a proof."""

from collections.abc import Sequence

from campaign_sync.domain.checks import CheckOutcome


class ReplacementRefusedError(Exception):
    """The replace isn't admitted. Nothing was changed; the message says what is wrong and what helps.

    `outcomes` are those of the gate, as far as it came. `passing` tells whether the same replace may be admitted later.
    """

    def __init__(self, message: str, outcomes: Sequence[CheckOutcome] = (), *, passing: bool = False) -> None:
        super().__init__(message)
        self.outcomes = tuple(outcomes)
        self.passing = passing


class IncompleteListError(Exception):
    """The vendor's list isn't what it should be. The message says since when, and why.

    `worth_retrying` tells whether the same replace, begun again, may well succeed.
    """

    def __init__(self, message: str, *, worth_retrying: bool, outcomes: Sequence[CheckOutcome] = ()) -> None:
        super().__init__(message)
        self.worth_retrying = worth_retrying
        self.outcomes = tuple(outcomes)


class UnprovenError(Exception):
    """A list, read back, isn't what was put into it."""


class NotClearedError(UnprovenError):
    """The vendor says that it has cleared a list, and it isn't empty."""

    outcome_unknown = False
