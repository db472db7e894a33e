"""How long opt-outs take."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from campaign_sync.domain.propagation import Delays, OptOut, ReplacementTimes, delays_to_crm, delays_to_removal

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
LEFT = OptOut(NOON, NOON + HOUR)


def proof(frozen: float, proven: float) -> ReplacementTimes:
    return ReplacementTimes(NOON + frozen * HOUR, NOON + proven * HOUR)


def test_the_way_to_the_crm_ends_when_the_crm_has_it() -> None:
    assert delays_to_crm([LEFT]) == [HOUR]


def test_somebody_is_out_when_the_last_list_was_proven_with_rows_selected_after_the_crm_knew() -> None:
    proofs = {
        "newsletter": [proof(0.5, 2), proof(24, 25)],  # the first one's rows are older than the opt-out's entry
        "products": [proof(1, 3), proof(24, 26)],
    }
    assert delays_to_removal([LEFT], proofs, NOON + 99 * HOUR) == [25 * HOUR]


def test_an_opt_out_that_a_list_still_waits_for_has_taken_at_least_till_now() -> None:
    assert delays_to_removal([LEFT], {"newsletter": [proof(2, 3)], "products": []}, NOON + 40 * HOUR) == [40 * HOUR]


def test_without_an_opt_out_there_is_nothing_to_tell() -> None:
    assert Delays.summarize([]) is None


@given(st.lists(st.integers(0, 10_000), min_size=1))
def test_percentiles_are_delays_that_really_occurred_in_their_order(hours: list[int]) -> None:
    delays = Delays.summarize([number * HOUR for number in hours])
    assert delays is not None
    assert delays.count == len(hours)
    assert delays.median <= delays.p95 <= delays.longest == max(hours) * HOUR
    assert {delays.median / HOUR, delays.p95 / HOUR} <= set(hours)
    assert sum(number * HOUR <= delays.median for number in hours) * 2 >= len(hours)
