"""Pictures are valid, escaped, and the same every time."""

from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from campaign_sync.reports.charts import Bar, Column, Mark, Picture, Point, bars, line, scale, stacked, steps

PICTURE = Picture("sizes", "A <title> & more", "Described “so”")
NASTY = "<script>alert('x')</script>"


@given(st.integers(0, 10**9), st.integers(0, 10**7))
def test_the_lines_across_are_round_whole_numbers_that_hold_every_value(low: int, more: int) -> None:
    values = steps(low, low + more)
    assert values[0] <= low
    assert values[-1] >= low + more
    assert 2 <= len(values) <= 6
    assert all(value == int(value) for value in values)


def test_every_picture_is_well_formed_named_and_escaped() -> None:
    pictures = [
        line(PICTURE, [Point(NASTY, 5), Point("b", None, broken=True), Point("c", 6)], [(0, NASTY), (10, "10")]),
        stacked(PICTURE, [Column(NASTY, [1, 2])], [(0, "0"), (5, "5")]),
        bars(PICTURE, [Bar(NASTY, 3, NASTY), Bar("b", 0, "0")]),
        scale(PICTURE, [Bar(NASTY, 99, NASTY)], [Mark(24, NASTY), Mark(36, "36")]),
    ]
    for picture in pictures:
        root = etree.fromstring(picture)
        assert root.get("role") == "img"
        named = {element.get("id"): element.text for element in root if element.get("id")}
        assert [named[each] for each in root.get("aria-labelledby").split()] == ["A <title> & more", "Described “so”"]
        assert not root.findall(".//script")


def test_a_line_has_a_gap_where_nothing_is_known() -> None:
    points = [Point("a", 1), Point("b", 2), Point("c", None), Point("d", 3), Point("e", 4)]
    root = etree.fromstring(line(PICTURE, points, [(0, "0"), (5, "5")]))
    assert len(root.findall("polyline")) == 2
    assert len(root.findall("circle")) == 4
