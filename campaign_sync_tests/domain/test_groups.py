"""Groups of lists that take about the same time."""

from hypothesis import given
from hypothesis import strategies as st

from campaign_sync.domain.groups import divide_lists

names = st.lists(st.sampled_from("abcdefghijklmnop"), unique=True)
numbers = st.sets(st.integers(1, 8), min_size=1)


@given(names, st.dictionaries(st.sampled_from("abcdefghijklmnop"), st.integers(0, 5_000_000)), numbers)
def test_every_list_is_in_one_group_in_its_order_and_no_group_could_give_a_list_away(
    lists: list[str], sizes: dict[str, int], groups: set[int]
) -> None:
    divided = divide_lists(lists, sizes, groups)
    assert sorted(name for of_group in divided.values() for name in of_group) == sorted(lists)
    assert divided.keys() <= groups
    assert len(divided) == min(len(groups), len(lists)), "no group is empty while another has two"
    for of_group in divided.values():
        assert list(of_group) == [name for name in lists if name in of_group]
    if len(divided) == len(groups) and all(name in sizes for name in lists):
        loads = {group: sum(sizes[name] + 1 for name in of_group) for group, of_group in divided.items()}
        for group, of_group in divided.items():
            smallest = min(sizes[name] + 1 for name in of_group)
            assert loads[group] - smallest <= min(loads.values()), "a move of its smallest list would help"


def test_the_largest_list_is_alone_and_a_list_of_unknown_size_counts_as_an_average_one() -> None:
    sizes = {"huge": 9000, "a": 1000, "b": 1000, "c": 1000}
    assert divide_lists(["a", "b", "huge", "c", "new"], sizes, (1, 2)) == {1: ("huge",), 2: ("a", "b", "c", "new")}
    assert divide_lists(["a", "b", "c", "d"], {}, (2, 3)) == {2: ("a", "c"), 3: ("b", "d")}
