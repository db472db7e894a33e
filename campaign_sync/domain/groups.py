"""Groups of a mandator's lists, each replaced by a run of its own at the same time as the others."""

from collections.abc import Collection, Mapping, Sequence
from statistics import mean


def divide_lists(lists: Sequence[str], sizes: Mapping[str, int], groups: Collection[int]) -> dict[int, tuple[str, ...]]:
    """Divide lists into groups that take about the same time, the largest first, each to the smallest group so far.

    Args:
        lists: the lists, in the order in which they are replaced; within a group they keep it.
        sizes: how many recipients each had at last; one without is taken for an average one.
        groups: the numbers of the groups.

    Returns:
        The lists of each group that has any.
    """
    known = [sizes[name] for name in lists if name in sizes]
    average = mean(known) if known else 0
    # A list takes some time however small it is, so that empty ones are spread as well.
    weights = {name: sizes.get(name, average) + 1 for name in lists}
    loads = dict.fromkeys(sorted(groups), 0.0)
    group_of: dict[str, int] = {}
    for name in sorted(lists, key=lambda name: -weights[name]):
        group = min(loads, key=lambda number: (loads[number], number))
        group_of[name] = group
        loads[group] += weights[name]
    divided = {group: tuple(name for name in lists if group_of[name] == group) for group in loads}
    return {group: of_group for group, of_group in divided.items() if of_group}
