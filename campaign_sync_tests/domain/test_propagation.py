"""Delays of opt-outs."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from campaign_sync.domain.propagation import Delays, OptOut, ReplacementTimes, delays_to_crm, delays_to_removal

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
OPT_OUT = OptOut(NOON, NOON + HOUR)


def proof(frozen: float, proven: float) -> ReplacementTimes:
    return ReplacementTimes(NOON + frozen * HOUR, NOON + proven * HOUR)


def test_the_delay_to_the_crm_ends_with_the_entry() -> None:
    assert delays_to_crm([OPT_OUT]) == [HOUR]


def test_the_delay_to_removal_ends_when_the_last_list_is_proven_with_later_rows() -> None:
    proofs = {
        "newsletter": [proof(0.5, 2), proof(24, 25)],  # the first one's rows are older than the opt-out's entry
        "products": [proof(1, 3), proof(24, 26)],
    }
    assert delays_to_removal([OPT_OUT], proofs, NOON + 99 * HOUR) == [25 * HOUR]


def test_an_opt_out_that_is_not_in_effect_yet_counts_up_to_now() -> None:
    assert delays_to_removal([OPT_OUT], {"newsletter": [proof(2, 3)], "products": []}, NOON + 40 * HOUR) == [40 * HOUR]


def test_without_opt_outs_there_is_no_distribution() -> None:
    assert Delays.summarize([]) is None


@given(st.lists(st.integers(0, 10_000), min_size=1))
def test_percentiles_are_existing_delays_in_ascending_order(hours: list[int]) -> None:
    delays = Delays.summarize([number * HOUR for number in hours])
    assert delays is not None
    assert delays.count == len(hours)
    assert delays.median <= delays.p95 <= delays.longest == max(hours) * HOUR
    assert {delays.median / HOUR, delays.p95 / HOUR} <= set(hours)
    assert sum(number * HOUR <= delays.median for number in hours) * 2 >= len(hours)
