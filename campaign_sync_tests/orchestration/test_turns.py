"""Lists of a mandator are replaced one completely after the other, urgent ones first."""

from hypothesis import given
from hypothesis import strategies as st

from campaign_sync.domain.asset_names import LIST_CHAIN, AssetKind
from campaign_sync.orchestration.turns import turns_of


@given(st.lists(st.integers(0, 3), min_size=1, max_size=8))
def test_a_list_is_finished_before_another_begins_and_urgent_ones_come_first(priorities: list[int]) -> None:
    turns = turns_of({f"l{position}": priority for position, priority in enumerate(priorities)})
    steps = {
        (name, kind): int(turn.op_tags(kind)["dagster/priority"]) for name, turn in turns.items() for kind in LIST_CHAIN
    }
    assert len(set(steps.values())) == len(steps)
    started: list[tuple[str, AssetKind]] = []
    ready = {(name, LIST_CHAIN[0]) for name in turns}
    while ready:  # as Dagster's executor chooses
        step = max(ready, key=lambda step: steps[step])
        started.append(step)
        ready.remove(step)
        name, kind = step
        ready |= {(name, later) for later in LIST_CHAIN[LIST_CHAIN.index(kind) + 1 :][:1]}
    names = [f"l{position}" for position in sorted(range(len(priorities)), key=lambda place: -priorities[place])]
    assert started == [(name, kind) for name in names for kind in LIST_CHAIN]
