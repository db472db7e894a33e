"""Unsubscribes that are older than the consents concerned."""

from hypothesis import given
from hypothesis import strategies as st

from campaign_sync.domain.outdated_unsubscribes import OutdatedUnsubscribes

withdrawals = st.lists(st.tuples(st.integers(0, 30), st.sampled_from("abcdef")), max_size=60)


@given(withdrawals, st.sets(st.sampled_from("abcdef")))
def test_an_unsubscribe_is_outdated_if_all_consents_concerned_are_still_granted(
    withdrawals: list[tuple[int, str]], withdrawn: set[str]
) -> None:
    people = {person for person, _ in withdrawals}
    effective = {person for person, consent in withdrawals if consent in withdrawn}

    assert OutdatedUnsubscribes.count(withdrawals, withdrawn) == OutdatedUnsubscribes(
        len(people - effective), len(people)
    )


def test_from_five_percent_on_they_are_suspicious() -> None:
    assert not OutdatedUnsubscribes(0, 0).suspicious
    assert not OutdatedUnsubscribes(0, 100).suspicious
    assert not OutdatedUnsubscribes(4, 100).suspicious
    assert OutdatedUnsubscribes(5, 100).suspicious
    assert OutdatedUnsubscribes(1, 20).suspicious
    assert not OutdatedUnsubscribes(1, 21).suspicious
